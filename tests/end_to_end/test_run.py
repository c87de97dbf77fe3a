"""The whole pipeline in real processes: the object that `--json` ends with, the run directory, and what repeats."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from statistics import mean, stdev

import pytest

from engine.core.events import Event, RunFinished, RunStarted, StageStarted, StepCompleted
from engine.core.metrics import describe
from engine.run.driver import execute
from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import STAGES, RunDir
from tests.end_to_end.conftest import (
    PRESET,
    Nursery,
    Reference,
    arguments,
    assert_same_files,
    cut_before,
    ended,
    environ,
    result_of,
    rows,
    slmctl,
)

CONTRACT = (
    "run", "seed", "parameters", "prompts", "wins", "ties", "losses", "win_rate", "win_rate_low",
    "win_rate_high", "best_of_4_win_rate", "kl_nats", "length_ratio", "distinct_2_sft", "distinct_2_ppo",
    "rm_accuracy", "rm_ceiling", "rm_longer_baseline", "rm_correctness_accuracy", "correct_base", "correct_sft",
    "correct_ppo", "agreement", "alerts", "stage_s", "elapsed_s", "peak_rss_mb",
)  # fmt: skip
COMPONENTS = ("utility", "helpful", "honest", "harmless", "courteous", "concise")
ABSENT = "cuda" if sys.platform == "darwin" else "mps"
PLAYERS = ("base", "sft", "best_of_4", "ppo")


def test_json_is_one_object_with_every_key_of_the_contract(reference: Reference) -> None:
    result = json.loads(reference.ended.out)
    wanted = {*CONTRACT, *(f"{part}_{player}" for part in COMPONENTS for player in ("base", "sft", "ppo"))}
    assert wanted - result.keys() == set()
    assert [name for name in wanted if result[name] is None] == []
    assert (result["run"], result["seed"], result["prompts"]) == ("reference", 0, 20)
    assert result["wins"] + result["ties"] + result["losses"] == 20
    assert result["win_rate"] == (result["wins"] + result["ties"] / 2) / 20
    assert 0 <= result["win_rate_low"] < result["win_rate"] < result["win_rate_high"] <= 1
    assert set(result["stage_s"]) == set(STAGES)
    assert result["elapsed_s"] == pytest.approx(sum(result["stage_s"].values()))
    assert all(isinstance(word, str) for word in result["alerts"])
    assert reference.ended.err == ""


def test_every_metric_of_every_event_is_registered(reference: Reference) -> None:
    said = [event.metrics for event in reference.run.read_events() if hasattr(event, "metrics")]
    for name in sorted({name for metrics in said for name in metrics}):
        describe(name)
    assert {"ppo/ratio_max", "rm/calibration_error", "eval/peak_rss_mb"} <= {name for m in said for name in m}


def test_parameters_are_counted_as_the_checkpoint_holds_them(reference: Reference) -> None:
    from safetensors.torch import load_file

    tensors = load_file(reference.run.final("ppo") / "model.safetensors")
    assert json.loads(reference.ended.out)["parameters"] == sum(tensor.numel() for tensor in tensors.values())


def test_eval_rows_are_whole_and_agree_with_the_result(reference: Reference) -> None:
    judged = [json.loads(line) for line in reference.run.eval.read_text().splitlines()]
    result = json.loads(reference.ended.out)
    assert len({row["prompt"] for row in judged}) == len(judged) == 20
    for row in judged:
        assert row.keys() >= {"prompt", "kind", "group", "kl_nats", "verdict", *PLAYERS}
        for player in PLAYERS:
            assert row[player].keys() >= {"response", "tokens", "finished", "score", "correct", *COMPONENTS}
    for verdict, count in (("win", "wins"), ("tie", "ties"), ("loss", "losses")):
        assert sum(row["verdict"] == verdict for row in judged) == result[count]
    for player in PLAYERS:
        assert result[f"utility_{player}"] == pytest.approx(mean(row[player]["utility"] for row in judged))
    assert result["kl_nats"] == pytest.approx(sum(row["kl_nats"] for row in judged) / 20)
    longer = [row["ppo"]["tokens"] - row["sft"]["tokens"] for row in judged]
    assert result["tokens_difference"] == pytest.approx(mean(longer))
    half = (result["tokens_difference_high"] - result["tokens_difference_low"]) / 2
    assert half == pytest.approx(1.96 * stdev(longer) / 20**0.5, rel=1e-3)


def test_the_run_directory_is_the_one_that_was_promised(reference: Reference) -> None:
    run = reference.run
    files = {path.name for path in run.path.iterdir() if path.is_file()}
    assert files >= {"run.toml", "events.jsonl", "samples.jsonl", "eval.jsonl", "status.json", "result.json"}
    for stage in STAGES[:-1]:
        assert len(run.saved_steps(stage)) in (1, 2)
        about = json.loads((run.final(stage) / "slmctl.json").read_text())
        assert about["stage"] == stage
        assert about.keys() >= {"step", "chosen", "parents", "config", "metrics"}
    for folder in (run.final("sft"), run.final("rm"), run.final("ppo"), run.final("ppo") / "value"):
        names = {path.name for path in folder.iterdir()}
        assert names >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "slmctl.json"}
    record = tomllib.loads(run.run_toml.read_text())
    assert (record["config"]["threads"], record["origins"]["threads"]) == (1, "--threads")
    assert record["origins"]["ppo.steps"] == "preset small"
    assert json.loads(run.status.read_text())["state"] == "finished"
    suffixes = {path.suffix for path in run.path.rglob("*") if path.is_file()}
    assert suffixes <= {"", ".toml", ".jsonl", ".json", ".safetensors"}, "no pickle, ever"


def test_a_finished_run_is_printed_again_without_training(reference: Reference, nursery: Nursery) -> None:
    before = reference.run.events.read_bytes()
    outcome = nursery.run(*arguments("reference", "run", "--json"))
    assert (outcome.code, outcome.out) == (0, reference.ended.out)
    assert reference.run.events.read_bytes() == before
    table = nursery.run(*arguments("reference", "run", "--plain"))
    for words in ("judge score", "best of 4", "win rate", "next: slmctl chat reference:sft reference:ppo"):
        assert words in table.out


def test_the_stages_alone_make_the_same_models(reference: Reference, nursery: Nursery) -> None:
    for target in ("pretrain", "sft", "rm", "ppo", "run"):
        assert nursery.run(*arguments("alone", target)).code == 0
    alone = RunDir(nursery.home / "alone")
    for stage in STAGES[:-1]:
        assert_same_files(reference.run.stage_dir(stage), alone.stage_dir(stage))
        assert rows(alone.read_events(), stage) == rows(reference.run.read_events(), stage)
    assert result_of(alone) == result_of(reference.run)


def test_a_real_process_gives_the_same_events_unless_reseeded(reference: Reference, nursery: Nursery) -> None:
    outcome = ended(slmctl(nursery.home, *arguments("seed0", "sft", "--seed", "0")))
    assert outcome.code == 0, outcome.err
    assert nursery.run(*arguments("seed1", "sft", "--seed", "1")).code == 0
    said = {seed: RunDir(nursery.home / f"seed{seed}").read_events() for seed in ("0", "1")}
    for stage in ("pretrain", "sft"):
        assert rows(said["0"], stage) == rows(reference.run.read_events(), stage)
        losses = [
            [x.metrics[f"{stage}/loss"] for x in events if isinstance(x, StepCompleted) and x.stage == stage]
            for events in said.values()
        ]
        assert all(one != other for one, other in zip(*losses, strict=True))
    assert [x.seed for x in said["1"] if isinstance(x, RunStarted)] == [1]


def test_a_new_round_shares_what_it_does_not_change(reference: Reference, nursery: Nursery) -> None:
    command = arguments("round2", "run", "--json", "--from", "reference", "--set", "ppo.kl_coef=0.5")
    outcome = nursery.run(*command)
    assert outcome.code == 0, outcome.err
    run, result = RunDir(nursery.home / "round2"), json.loads(outcome.out)
    assert {x.stage for x in run.read_events() if isinstance(x, StageStarted)} == {"ppo", "eval"}
    assert not run.stage_dir("sft").exists()
    first = json.loads(reference.ended.out)
    assert result["parameters"] == first["parameters"]
    assert (result["utility_sft"], result["rm_accuracy"]) == (first["utility_sft"], first["rm_accuracy"])
    assert set(result["stage_s"]) == {"ppo", "eval"}
    parents = json.loads((run.final("ppo") / "slmctl.json").read_text())["parents"]
    assert parents == json.loads((reference.run.final("ppo") / "slmctl.json").read_text())["parents"]


def test_a_cap_on_the_steps_holds_for_what_is_left(reference: Reference, nursery: Nursery) -> None:
    run = cut_before(reference.run, nursery.home / "capped", "ppo")
    outcome = nursery.run(*arguments("capped", "ppo", "--max-steps", "2"))
    assert outcome.code == 0, outcome.err
    assert [x.steps for x in run.read_events() if isinstance(x, StageStarted)][-1] == 2
    assert nursery.run(*arguments("capped", "sft")).code == 0


def test_fresh_does_it_again_and_ends_the_same(reference: Reference, nursery: Nursery) -> None:
    path = nursery.home / "again"
    shutil.copytree(reference.run.path, path)
    assert nursery.run(*arguments("again", "ppo", "--fresh")).code == 0
    run = RunDir(path)
    assert_same_files(reference.run.final("ppo"), run.final("ppo"))
    assert rows(run.read_events(), "ppo") == rows(reference.run.read_events(), "ppo")
    assert not run.result.exists()


@pytest.mark.parametrize(
    ("target", "typed", "code", "words"),
    [
        ("run", ("--device", ABSENT), 2, f"device {ABSENT!r} is not available"),
        ("ppo", ("--reward", "reference:sft"), 3, "reference:sft is a policy"),
        ("run", ("--judge", "reference:sft"), 3, "reference:sft is a policy"),
        ("sft", ("--init", "reference:rm"), 3, "reference:rm is a reward model"),
        ("ppo", ("--ref", "reference:rm"), 3, "reference:rm is a reward model"),
        ("ppo", ("--init", "kept:ppo"), 2, "--fresh deletes kept:ppo, which is the --init of ppo"),
        ("ppo", ("--init", "kept/ppo/final"), 2, "ppo/final, which is the --init of ppo"),
        ("rm", ("--data", "one.jsonl"), 3, "at least two different prompts"),
        ("ppo", ("--set", "ppo.max_new_tokens=95"), 2, "no prompt leaves room"),
    ],
)
def test_a_mistake_is_noticed_before_fresh_deletes_anything(
    target: str, typed: tuple[str, str], code: int, words: str, reference: Reference, nursery: Nursery, tmp_path: Path
) -> None:
    (tmp_path / "one.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    shutil.rmtree(nursery.home / "kept", ignore_errors=True)
    kept = shutil.copytree(reference.run.path, nursery.home / "kept")
    places = {"one.jsonl": tmp_path / "one.jsonl", "kept/ppo/final": kept / "ppo" / "final"}
    words_typed = [str(places.get(word, word)) for word in typed]
    outcome = nursery.run(target, "--run", "kept", "--fresh", "--quiet", *words_typed)
    assert (outcome.code, outcome.err.count("\n")) == (code, 1) and words in outcome.err, outcome
    (kept / "lock").write_bytes((reference.run.path / "lock").read_bytes())  # it names the process that held it
    assert_same_files(reference.run.path, kept)


def test_what_is_finished_is_shown_without_torch(reference: Reference, nursery: Nursery) -> None:
    code = (
        "import sys\nfrom slmctl.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as ended:\n"
        "    assert not ended.code\nprint([name for name in ('torch', 'numpy', 'tokenizers') if name in sys.modules])"
    )
    for typed in (["runs"], ["runs", "reference"], list(arguments("reference")), ["ppo", "--run", "reference"]):
        command = [sys.executable, "-c", code, *typed]
        shown = subprocess.run(command, env=environ(nursery.home), capture_output=True, text=True, check=True)
        assert "reference" in shown.stdout
        assert shown.stdout.splitlines()[-1] == "[]", typed


def test_a_stop_that_comes_with_the_last_step_is_an_end(tmp_path: Path) -> None:
    request = RunRequest("pretrain", preset=PRESET, run="short", flags={"max_steps": 1, "threads": 1})
    said: list[Event] = []
    assert execute(prepare(request, tmp_path, {}), lambda: True, said.append)
    assert isinstance(said[-1], RunFinished)
    assert RunDir(tmp_path / "short").finished("pretrain") is not None
