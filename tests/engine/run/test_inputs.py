"""What a person hands to a stage: recorded by hash, kept, refused where it has changed."""

from pathlib import Path

import pytest

from engine.core.errors import ConfigError, DataError, FileError, RunConflictError
from engine.rundir.directory import STAGES, RunDir
from engine.rundir.runtoml import Input
from tests.support.planned_runs import OTHER_ROWS, ROWS, finish, model_in, own_preset, plan, start


def test_data_is_recorded_by_path_and_hash_and_kept(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text(ROWS)
    prepared = plan(tmp_path, "sft", inputs={"data": str(data)})
    assert prepared.stages == ("pretrain", "sft")
    assert prepared.inputs("sft")["data"].reference == str(data.resolve())
    start(prepared.rundir, "sft")
    assert plan(tmp_path, "sft").inputs("sft") == prepared.inputs("sft")
    assert plan(tmp_path, "sft", inputs={"data": str(data)}).stages == ("pretrain", "sft")


def test_other_data_on_a_started_stage_is_refused(tmp_path: Path) -> None:
    data, other = tmp_path / "d.json", tmp_path / "e.json"
    data.write_text(ROWS)
    other.write_text(OTHER_ROWS)
    start(plan(tmp_path, "sft", inputs={"data": str(data)}).rundir, "sft")
    with pytest.raises(RunConflictError, match=r"started sft with .*d\.json, and now it is .*e\.json"):
        plan(tmp_path, "sft", inputs={"data": str(other)})
    data.write_text(OTHER_ROWS)
    with pytest.raises(RunConflictError, match="which has changed since"):
        plan(tmp_path, "sft", inputs={"data": str(data)})


def test_data_on_a_stage_that_started_without_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text(ROWS)
    start(plan(tmp_path, "sft").rundir, "sft")
    with pytest.raises(RunConflictError, match="started sft with no --data"):
        plan(tmp_path, "sft", inputs={"data": str(data)})


def test_a_dataset_is_recorded_with_the_hash_of_its_rows_and_map(tmp_path: Path) -> None:
    folder, other = tmp_path / "own", tmp_path / "d.json"
    folder.mkdir()
    (folder / "train.json").write_text(ROWS.replace("prompt", "question"))
    other.write_text(OTHER_ROWS)
    with pytest.raises(DataError, match=r'own, row 1: field "prompt" is missing'):
        plan(tmp_path, "sft", inputs={"data": str(folder)})
    typed = {"data": str(folder), "map": "prompt=question"}
    given = plan(tmp_path, "sft", inputs=typed).inputs("sft")
    data = given["data"]
    assert (data.reference, data.fields, len(data.sha256), data.rows) == (str(folder), "prompt=question", 64, 1)
    start(plan(tmp_path, "sft", inputs=typed).rundir, "sft")
    assert plan(tmp_path, "sft", inputs={"data": str(folder), "map": "prompt=question"}).inputs("sft") == given
    with pytest.raises(
        RunConflictError, match="started sft with --map prompt=question, and now it is --map prompt=chosen"
    ):
        plan(tmp_path, "sft", inputs={"map": "prompt=chosen"})
    assert not plan(tmp_path, "sft", run="b", inputs={"data": str(other)}).inputs("sft")["data"].fields
    plan(tmp_path, "sft", run="c", inputs=typed)
    assert not plan(tmp_path, "sft", run="c", inputs={"data": str(other)}).inputs("sft")["data"].fields


def test_inputs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="--data: file nope not found"):
        plan(tmp_path, "sft", inputs={"data": "nope"})
    with pytest.raises(ConfigError, match="--map renames the fields of --data, and there is none"):
        plan(tmp_path, "sft", inputs={"map": "prompt=question"})
    with pytest.raises(ConfigError, match="slmctl pretrain takes no --reward"):
        plan(tmp_path, "pretrain", inputs={"reward": "pocket:judge"})


def test_inputs_stay_for_a_restart_or_a_new_round(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text(ROWS)
    first = plan(tmp_path, "sft", inputs={"data": str(data)})
    finish(first.rundir, *STAGES)
    data.write_text(OTHER_ROWS)  # a finished stage does not mind
    child = plan(tmp_path, "sft", run="b", parent="tiny", overrides={"sft.lr": "0.5"})
    assert child.inputs("sft")["data"].reference == str(data.resolve())
    again = plan(tmp_path, "sft", fresh=True)
    assert again.inputs("sft")["data"].reference == str(data.resolve())
    assert again.inputs("sft")["data"].sha256 != first.inputs("sft")["data"].sha256


def test_what_a_stage_has_begun_with_may_not_change(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text(ROWS)
    start(plan(tmp_path, "sft", inputs={"data": str(data)}).rundir, "sft")
    data.write_text(OTHER_ROWS)
    with pytest.raises(RunConflictError, match=r"started sft with .*d\.json, which has changed since"):
        plan(tmp_path, "ppo")


def test_a_model_that_was_handed_over_is_recorded_by_hash(tmp_path: Path) -> None:
    finish(plan(tmp_path).rundir, "pretrain", "sft")
    prepared = plan(tmp_path, "ppo", run="b", inputs={"init": "tiny:sft", "reward": "pocket:judge"})
    assert prepared.stages == ("ppo",)
    assert prepared.inputs("ppo")["init"].reference == "tiny:sft"
    start(prepared.rundir, "ppo")
    (RunDir(tmp_path / "tiny").final("sft") / "model.safetensors").write_text("other")
    with pytest.raises(RunConflictError, match="started ppo with tiny:sft, which has changed since"):
        plan(tmp_path, "ppo", run="b")


def test_a_missing_model_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no run named 'typo'"):
        plan(tmp_path, "ppo", inputs={"reward": "typo:rm"})
    assert list(tmp_path.iterdir()) == []


def test_a_reward_function_is_recorded_by_hash_and_reaches_ppo(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def f(prompts, responses): return [0.0] * len(responses)")
    prepared = plan(tmp_path, inputs={"reward": f"{file}:f"})
    assert prepared.inputs("ppo")["reward"].reference == f"{file}:f"
    assert len(prepared.inputs("ppo")["reward"].sha256) == 64
    assert prepared.stages == ("pretrain", "sft", "ppo", "eval") and prepared.typed == {"reward": f"{file}:f"}
    start(prepared.rundir, "ppo")
    file.write_text("def f(prompts, responses): return [1.0] * len(responses)")
    with pytest.raises(RunConflictError, match="has changed since"):
        plan(tmp_path, inputs={"reward": f"{file}:f"})


def test_ones_own_demonstrations_are_prompts_enough(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text(ROWS)
    given = {"init": model_in(tmp_path), "data": str(data)}
    finish(plan(tmp_path, "sft", preset=own_preset(tmp_path), inputs=given).rundir, "sft")
    assert plan(tmp_path, "ppo", run="bare", inputs={"reward": "pocket:judge"}).stages == ("ppo",)


def test_a_scorer_that_is_no_file_is_recorded_as_typed(tmp_path: Path) -> None:
    prepared = plan(tmp_path, "ppo", inputs={"reward": "pocket:concise"})
    assert prepared.inputs("ppo") == {"reward": Input("pocket", "pocket:concise")}
    assert prepared.stages == ("pretrain", "sft", "ppo")


def written(path: Path, text: str) -> str:
    """A file with this text; its path as one types it."""
    path.write_text(text)
    return str(path)


def test_another_function_of_the_same_file_is_another_reward(tmp_path: Path) -> None:
    file = written(tmp_path / "mine.py", "def a(p, r): ...\ndef b(p, r): ...")
    start(plan(tmp_path, "ppo", inputs={"reward": f"{file}:a"}).rundir, "ppo")
    with pytest.raises(RunConflictError, match=r"started ppo with .*mine\.py:a, and now it is .*mine\.py:b"):
        plan(tmp_path, "ppo", inputs={"reward": f"{file}:b"})


def test_code_is_looked_at_before_anything_is_done(tmp_path: Path) -> None:
    file = written(tmp_path / "mine.py", "from math import sqrt\nlength = len\ndef f(p, r): ...")
    for name in ("f", "sqrt", "length"):
        assert plan(tmp_path, "ppo", run=name, inputs={"reward": f"{file}:{name}"}).typed
    with pytest.raises(ConfigError, match="has no function 'lenght'; did you mean 'length'"):
        plan(tmp_path, "ppo", run="x", inputs={"reward": f"{file}:lenght"})
    with pytest.raises(FileError, match="as Python"):
        plan(tmp_path, "ppo", run="x", inputs={"reward": written(tmp_path / "torn.py", "def f(") + ":f"})
    with pytest.raises(ConfigError, match=r"pass --reward .*mine\.py:f again"):
        plan(tmp_path, "ppo", run="f")


def test_an_input_that_is_gone_matters_only_where_it_is_read(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    start(plan(tmp_path, "sft", inputs={"data": written(old, ROWS)}).rundir, "pretrain")
    old.rename(new)
    assert plan(tmp_path, "pretrain").stages == ("pretrain",)
    with pytest.raises(FileError, match=r"file .*old\.json not found"):
        plan(tmp_path, "sft")
    assert plan(tmp_path, "sft", inputs={"data": str(new)}).inputs("sft")["data"].reference == str(new)


def test_a_new_round_records_the_files_as_they_are_now(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    finish(plan(tmp_path, "sft", inputs={"data": written(data, ROWS)}).rundir, "pretrain", "sft")
    data.write_text(OTHER_ROWS)
    child = plan(tmp_path, "sft", run="b", parent="tiny", overrides={"sft.lr": "0.5"})
    start(child.rundir, "sft")
    assert plan(tmp_path, "sft", run="b").inputs("sft") == child.inputs("sft")


def test_data_of_an_earlier_stage_may_not_change(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    finish(plan(tmp_path, "sft", inputs={"data": written(data, ROWS)}).rundir, "pretrain", "sft", "comparisons", "rm")
    data.write_text(OTHER_ROWS)
    with pytest.raises(RunConflictError, match=r"started sft with .*d\.json, which has changed since"):
        plan(tmp_path, "ppo")
    prompts = written(tmp_path / "p.txt", "Hi")
    assert plan(tmp_path, "ppo", inputs={"prompts": prompts}).stages == ("ppo",)


def test_none_forgets_what_was_given(tmp_path: Path) -> None:
    given = {"data": written(tmp_path / "d.json", ROWS)}
    finish(plan(tmp_path, "rm", inputs=given).rundir, "pretrain", "sft", "rm")
    with pytest.raises(RunConflictError, match=r"started rm with .*d\.json, and now it is no --data"):
        plan(tmp_path, "rm", inputs={"data": "none"})
    again = plan(tmp_path, "rm", fresh=True, inputs={"data": "none"})
    assert (again.inputs("rm"), again.stages) == ({}, ("comparisons", "rm"))


@pytest.mark.parametrize("name", ["init", "ref"])
@pytest.mark.parametrize("value", ["pocket:judge", "mine.py:f", "notes.txt"])
def test_only_a_reward_may_be_something_else_than_a_model(tmp_path: Path, name: str, value: str) -> None:
    for file in ("mine.py", "notes.txt"):
        (tmp_path / file).write_text("def f(p, r): ...")
    typed = value if value.startswith("pocket") else str(tmp_path / value)
    with pytest.raises((ConfigError, FileError)):
        plan(tmp_path, "ppo", inputs={name: typed})
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("target", "typed"),
    [
        ("rm", {"overrides": {"comparisons.persona": "grumpy"}}),
        ("ppo", {"inputs": {"reward": "pocket:concize"}}),
        ("run", {"overrides": {"eval.prompts": "99999"}}),
    ],
)
def test_a_mistake_deletes_nothing_though_it_came_with_fresh(
    tmp_path: Path, target: str, typed: dict[str, dict[str, str]]
) -> None:
    run = plan(tmp_path).rundir
    finish(run, *STAGES)
    before = run.run_toml.read_text()
    with pytest.raises(ConfigError):
        plan(tmp_path, target, fresh=True, **typed)
    assert all(run.finished(stage) for stage in STAGES) and run.run_toml.read_text() == before


def test_a_bad_row_is_noticed_before_anything_is_done_or_deleted(tmp_path: Path) -> None:
    good, bad = written(tmp_path / "good.json", ROWS), written(tmp_path / "bad.json", '[{"prompt": "a"}]')
    with pytest.raises(DataError, match=r"bad\.json, row 1"):
        plan(tmp_path, "sft", inputs={"data": bad})
    assert not (tmp_path / "tiny").exists()
    run = plan(tmp_path, "sft", inputs={"data": good}).rundir
    finish(run, "pretrain", "sft")
    with pytest.raises(DataError):
        plan(tmp_path, "sft", fresh=True, inputs={"data": bad})
    assert run.finished("sft") is not None


def test_a_file_is_read_once_for_its_hash_and_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, read = written(tmp_path / "p.txt", "Hi\nHo"), list[Path]()
    real = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    prepared = plan(tmp_path, "ppo", inputs={"prompts": prompts})
    Path(prompts).write_text("changed later")
    records = prepared.records("ppo", "prompts")
    assert records is not None and [row.prompt for row in records.records] == ["Hi", "Ho"]
    assert read == [Path(prompts)] and prepared.inputs("ppo")["prompts"].rows == 2


@pytest.mark.parametrize("option", ["reward", "judge"])
def test_code_without_a_function_is_a_sentence(tmp_path: Path, option: str) -> None:
    file = written(tmp_path / "mine.py", "def f(p, r): ...")
    with pytest.raises(ConfigError, match=r"mine\.py needs the name of a function; pass .*mine\.py:FUNCTION"):
        plan(tmp_path, "ppo", inputs={option: file})


def test_a_field_map_left_out_on_a_started_stage_is_a_change(tmp_path: Path) -> None:
    data = written(tmp_path / "d.json", ROWS.replace("prompt", "question"))
    start(plan(tmp_path, "sft", inputs={"data": data, "map": "prompt=question"}).rundir, "sft")
    with pytest.raises(RunConflictError, match="started sft with --map prompt=question, and now it is --map none"):
        plan(tmp_path, "sft", inputs={"data": data})
