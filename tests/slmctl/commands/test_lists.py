"""`runs`, `presets`, `data` and `doctor`."""

import json
from pathlib import Path

import pytest

from engine.pocket.prompts import all_requests
from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import RunDir, write_text
from engine.rundir.heartbeat import Heartbeat
from tests.slmctl.conftest import Cli


def make_run(home: Path, name: str) -> RunDir:
    run = prepare(RunRequest("run", run=name), home, {"OMP_NUM_THREADS": "1"}).rundir
    run.final("pretrain").mkdir(parents=True)
    return run


def test_no_runs_yet_names_the_first_command(cli: Cli, home: Path) -> None:
    outcome = cli("runs")
    assert outcome.code == 0
    assert "slmctl run --preset tiny" in outcome.out
    assert json.loads(cli("runs", "--json").out) == {"home": str(home), "runs": []}


def test_runs_say_how_they_stand(cli: Cli, home: Path) -> None:
    make_run(home, "a")
    run = make_run(home, "b")
    write_text(run.result, json.dumps({"win_rate": 0.815}))
    with Heartbeat(run) as beat:
        beat.update(stage="sft", step=3, steps=9, state="finished")
    rows = {row["run"]: row for row in json.loads(cli("runs", "--json").out)["runs"]}
    assert (rows["a"]["state"], rows["a"]["finished"], rows["a"]["win_rate"]) == ("not begun", ["pretrain"], None)
    assert (rows["b"]["state"], rows["b"]["finished"], rows["b"]["win_rate"]) == (
        "finished",
        ["pretrain", "eval"],
        0.815,
    )
    text = cli("runs").out
    assert "sft 3/9" in text and "81.5%" in text
    assert [json.loads(line)["run"] for line in cli("runs", "--jsonl").out.splitlines()] == ["a", "b"]


def test_one_run_shows_where_its_models_lie(cli: Cli, home: Path) -> None:
    run = make_run(home, "a")
    assert str(run.final("pretrain")) in cli("runs", "a").out
    assert json.loads(cli("runs", "a", "--json").out)["models"] == {"pretrain": str(run.final("pretrain"))}
    missing = cli("runs", "c")
    assert (missing.code, missing.out) == (3, "")
    assert "no run named 'c'" in missing.err


@pytest.mark.parametrize(
    ("state", "told"), [("running", True), ("stopped", True), ("failed", True), ("finished", False)]
)
def test_a_run_that_has_ended_before_its_end_says_how_to_go_on(cli: Cli, home: Path, state: str, told: bool) -> None:
    run = make_run(home, "a")
    with Heartbeat(run, "rm") as beat:
        beat.update(stage="sft", step=3, steps=9, state=state)
        beat._write()
        left = json.loads(run.status.read_text())
    write_text(run.status, json.dumps(left | {"pid_started": "another"}))  # as a process that was killed leaves it
    out = cli("runs", "a").out
    assert ("resume      slmctl rm --run a\n" in out) == told
    assert ("dead" in out) == (state == "running")


def test_presets(cli: Cli) -> None:
    assert "tiny" in cli("presets", "list").out
    assert set(json.loads(cli("presets", "list", "--json").out)) >= {"tiny"}
    shown = json.loads(cli("presets", "show", "tiny", "--set", "ppo.kl_coef=0.07", "--json").out)
    assert shown["ppo.kl_coef"] == {"value": 0.07, "origin": "--set"}
    assert shown["world.name"] == {"value": "pocket", "origin": "preset tiny"}
    line = next(line for line in cli("presets", "show", "tiny").out.splitlines() if line.startswith("ppo.lam "))
    assert "lambda of generalized advantage estimation" in line
    assert cli("presets", "show", "none").code == 2


def test_data_check_reports_and_exits_3_for_bad_rows(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    good = cli("data", "check", str(file), "--against", str(file))
    assert good.code == 0
    assert "comparisons, 1 rows, 1 good" in good.out and "shared          1 rows" in good.out
    with file.open("a") as out:
        out.write('{"prompt": "\\u001b[2J", "chosen": 3, "rejected": "c"}\n')
    bad = cli("data", "check", str(file))
    assert bad.code == 3
    assert f"bad: {file}, line 2: chosen must be a string, got 3" in bad.out
    report = json.loads(cli("data", "check", str(file), "--json").out)
    assert (report["good"], len(report["problems"])) == (1, 1)


def test_data_check_shows_what_it_found_within_eighty_columns(cli: Cli, tmp_path: Path) -> None:
    file, other = tmp_path / "c.jsonl", tmp_path / "o.jsonl"
    rows = [("Hi", "a", "b\x1b"), ("hi", "b\x1b", "a"), ("x " * 90, "c", "c"), *[(f"p{i}", "d", "e") for i in range(4)]]
    pairs = [{"prompt": prompt, "chosen": a, "rejected": b, "source": "me"} for prompt, a, b in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    other.write_text("".join(json.dumps(row | {"prompt": str(row["prompt"]).upper()}) + "\n" for row in pairs[2:]))
    outcome = cli("data", "check", str(file), "--against", str(other))
    assert outcome.code == 0 and "\x1b" not in outcome.out
    lines = outcome.out.splitlines()
    assert all(len(line) <= 80 or str(tmp_path) in line for line in lines)
    for line in (
        "repeated        2 responses that another row gives to the same prompt",
        "pairs           7, 1 ties, 1 with two identical responses",
        "judged again    1 pairs have several judgments, 0.0% of them agree",
        "contradictions  1 pairs judged both ways",
        "                Hi",
        "                  line 1 prefers a",
        "                  line 2 prefers b␛",
        "unused fields   source in 7 rows",
        "                line 3 here, line 1 there",
        "                ... and 2 more (--json lists all)",
    ):
        assert line in lines
    assert "line 6" not in outcome.out
    report = json.loads(cli("data", "check", str(file), "--against", str(other), "--json").out)
    assert (report["repeated"], report["unused"], len(report["shared"])) == (2, {"source": 7}, 5)
    assert report["consistency"]["contradictions"][0]["places"] == [f"{file}, line 1", f"{file}, line 2"]


def test_data_check_and_show_leave_out_what_was_judged_bad(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "kto.jsonl"
    rows = [{"prompt": "Hi", "completion": text, "label": text == "Yo"} for text in ("Yo", "Go")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    checked = cli("data", "check", str(file))
    assert checked.code == 0
    assert "labeled bad     1 rows with label false, skipped" in checked.out.splitlines()
    shown = cli("data", "show", str(file), "--jsonl").out.splitlines()
    assert [json.loads(line)["response"] for line in shown] == ["Yo"]


def test_data_check_names_fields_that_prompts_do_not_have(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"prompt": "a", "answer": "b"}\n')
    out = cli("data", "check", str(file)).out
    assert "prompts, 1 rows" in out
    assert "unused fields   answer in 1 rows; demonstrations have prompt and completion" in out


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ('{"prompt": "a", "chosen": "b", "rejected": "c"}', "comparisons"),
        ('{"prompt": "a", "completion": "b"}', "demonstrations"),
        ('{"prompt": "a"}', "prompts"),
        ('{"text": "a"}', "text"),
        ('{"prompt": "a", "choosen": "b", "rejected": "c"}', "comparisons"),
        ('{"prompt": "a", "responses": ["b", "c"], "ranking": [1]}', "comparisons"),
        ('{"prompt": "a", "completon": "b"}', "demonstrations"),
        ('{"Prompt": "a", "Completion": "b"}', "demonstrations"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "prompts"),
        ('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": 3}]}', "demonstrations"),
    ],
)
def test_the_kind_is_guessed_from_the_first_row(cli: Cli, tmp_path: Path, row: str, kind: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(row + "\n")
    assert json.loads(cli("data", "check", str(file), "--json").out)["kind"] == kind


def test_prompts_are_shared_with_a_file_of_whatever_kind(cli: Cli, tmp_path: Path) -> None:
    rows = {
        "c": {"prompt": "Hi", "chosen": "b", "rejected": "c"},
        "d": {"instruction": "Hi", "input": "", "output": "b"},
        "m": {"messages": [{"role": "user", "content": "hi"}]},
    }
    for name, row in rows.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "q.jsonl").write_text('{"question": "Hi", "completion": "b"}\n')
    (tmp_path / "bad.jsonl").write_text('{"prompt": 5}\n{"prompt": "Hi"}\n')
    for one in rows:
        for other in (*rows, "q"):
            file, against = (str(tmp_path / f"{name}.jsonl") for name in (one, other))
            report = json.loads(cli("data", "check", file, "--against", against, "--json").out)
            assert len(report["shared"]) == (other != "q"), (one, other)
    mapped = cli("data", "check", str(tmp_path / "q.jsonl"), "--map", "prompt=question", "--against", file)
    assert mapped.code == 0 and "shared          1 rows" in mapped.out
    unread = cli("data", "check", file, "--against", str(tmp_path / "bad.jsonl"))
    assert unread.code == 3 and "1 of its rows have no readable prompt" in unread.out


def test_a_row_of_no_kind_asks_for_one(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"question": "a"}\n')
    outcome = cli("data", "check", str(file))
    assert outcome.code == 2 and "line 1: the fields question match no kind of data" in outcome.err
    file.write_text("")
    assert cli("data", "check", str(file)).code == 3


def test_a_broken_first_row_is_reported_with_the_others(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"prompt": \n{"prompt": "a", "completion": "b"}\n{"prompt": "c"}\n')
    outcome = cli("data", "check", str(file))
    assert outcome.code == 3
    assert "demonstrations, 3 rows, 1 good" in outcome.out
    assert [f"line {n}" in outcome.out for n in (1, 2, 3)] == [True, False, True]
    file.write_text("{\n[\n")
    nothing = cli("data", "check", str(file))
    assert nothing.code == 3 and "line 1: not valid JSON" in nothing.err


def test_a_preset_that_is_no_text_is_a_sentence(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_bytes(b"\xff\xfe")
    outcome = cli("presets", "show", str(file))
    assert outcome.code == 3 and f"cannot read preset {file}" in outcome.err


def test_a_file_in_place_of_the_folder_of_runs_is_named(cli: Cli, home: Path) -> None:
    home.write_text("")
    for words in (("runs",), ("runs", "tiny"), ("watch", "--once"), ("chat", "tiny:sft")):
        found = cli(*words)
        assert (found.code, found.out) == (3, "")
        assert found.err == f"error: {home} is a file, not a folder of runs: move it, or set SLMCTL_RUNS\n"
    assert "is a file, not a folder" in cli("doctor").out


def test_a_damaged_run_does_not_hide_the_others(cli: Cli, home: Path) -> None:
    for name, text in (("good", "schema = 2\n"), ("torn", "schema = ")):
        write_text(home / name / "run.toml", text)
    rows = json.loads(cli("runs", "--json").out)["runs"]
    assert {row["run"]: row["state"] for row in rows} == {"good": "not begun", "torn": "damaged"}
    assert "damaged" in cli("runs").out
    assert cli("runs", "torn").code == 3


def test_data_show_cleans_what_it_prints(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"prompt": "a\\u001b[2J", "completion": "b"}\n' * 3)
    outcome = cli("data", "show", str(file), "-n", "2")
    assert outcome.out.count("a␛[2J") == 2
    rows = [json.loads(line) for line in cli("data", "show", str(file), "--jsonl").out.splitlines()]
    assert rows == [{"prompt": "a\x1b[2J", "response": "b"}] * 3


def test_data_show_pocket_prints_prompts_of_a_split(cli: Cli) -> None:
    splits = {}
    for split in ("train", "test"):
        rows = [
            json.loads(line)
            for line in cli("data", "show", "pocket", "--split", split, "-n", "50", "--jsonl").out.splitlines()
        ]
        assert len(rows) == 50
        splits[split] = {row["prompt"] for row in rows}
    assert not splits["train"] & splits["test"]
    assert len(cli("data", "show", "pocket", "--split", "test").out.splitlines()) == len(all_requests("test"))
    wrong = cli("data", "show", "pocket", "--split", "dev")
    assert wrong.code == 2 and "train, validation, test" in wrong.err


def test_doctor_says_what_a_run_would_use(cli: Cli) -> None:
    facts = json.loads(cli("doctor", "--json").out)
    assert facts["threads"] == 1 and facts["device"] in ("cpu", "cuda", "mps")
    assert facts["versions"]["torch"][0].isdigit()
    assert "torch" in cli("doctor").out
