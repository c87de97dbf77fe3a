"""What a person hands to a stage: recorded by hash, kept, refused where it has changed."""

from pathlib import Path

import pytest

from engine.errors import ConfigError, FileError, RunConflictError
from engine.rundir import STAGES, RunDir
from tests.planned import finish, model_in, own_preset, plan, start


def test_data_is_recorded_by_path_and_hash_and_kept(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text("[1]")
    prepared = plan(tmp_path, "sft", inputs={"data": str(data)})
    assert prepared.stages == ("pretrain", "sft")
    assert prepared.inputs("sft")["data"] == str(data.resolve())
    start(prepared.rundir, "sft")
    assert plan(tmp_path, "sft").inputs("sft") == prepared.inputs("sft")
    assert plan(tmp_path, "sft", inputs={"data": str(data)}).stages == ("pretrain", "sft")


def test_other_data_on_a_started_stage_is_refused(tmp_path: Path) -> None:
    data, other = tmp_path / "d.json", tmp_path / "e.json"
    data.write_text("[1]")
    other.write_text("[2]")
    start(plan(tmp_path, "sft", inputs={"data": str(data)}).rundir, "sft")
    with pytest.raises(RunConflictError, match=r"started sft with .*d\.json, and now it is .*e\.json"):
        plan(tmp_path, "sft", inputs={"data": str(other)})
    data.write_text("[1, 2]")
    with pytest.raises(RunConflictError, match="the file has changed since"):
        plan(tmp_path, "sft", inputs={"data": str(data)})


def test_data_on_a_stage_that_started_without_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text("[1]")
    start(plan(tmp_path, "sft").rundir, "sft")
    with pytest.raises(RunConflictError, match="started sft with no --data"):
        plan(tmp_path, "sft", inputs={"data": str(data)})


def test_inputs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="--data: there is no file nope"):
        plan(tmp_path, "sft", inputs={"data": "nope"})
    with pytest.raises(ConfigError, match="slmctl pretrain takes no --reward"):
        plan(tmp_path, "pretrain", inputs={"reward": "pocket:judge"})


def test_what_a_stage_was_given_stays_when_it_is_done_afresh_or_in_a_new_round(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text("[1]")
    first = plan(tmp_path, "sft", inputs={"data": str(data)})
    finish(first.rundir, *STAGES)
    data.write_text("[2]")  # a finished stage does not mind
    child = plan(tmp_path, "sft", run="b", parent="tiny", overrides={"sft.lr": "0.5"})
    assert child.inputs("sft")["data"] == str(data.resolve())
    again = plan(tmp_path, "sft", fresh=True)
    assert again.inputs("sft")["data"] == str(data.resolve())
    assert again.inputs("sft")["data_sha256"] != first.inputs("sft")["data_sha256"]


def test_what_a_stage_has_begun_with_may_not_change(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text("[1]")
    start(plan(tmp_path, "sft", inputs={"data": str(data)}).rundir, "sft")
    data.write_text("[2]")
    with pytest.raises(RunConflictError, match=r"started sft with .*d\.json, which has changed since"):
        plan(tmp_path, "ppo")


def test_a_model_that_was_handed_over_is_recorded_by_hash(tmp_path: Path) -> None:
    finish(plan(tmp_path).rundir, "pretrain", "sft")
    prepared = plan(tmp_path, "ppo", run="b", inputs={"init": "tiny:sft", "reward": "pocket:judge"})
    assert prepared.stages == ("ppo",)
    assert prepared.inputs("ppo")["init"] == "tiny:sft"
    start(prepared.rundir, "ppo")
    (RunDir(tmp_path / "tiny").final("sft") / "model.safetensors").write_text("other")
    with pytest.raises(RunConflictError, match="started ppo with tiny:sft, which has changed since"):
        plan(tmp_path, "ppo", run="b")


def test_a_model_that_is_not_there_is_noticed_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no run named 'typo'"):
        plan(tmp_path, "ppo", inputs={"reward": "typo:rm"})
    assert list(tmp_path.iterdir()) == []


def test_ones_own_demonstrations_are_prompts_enough(tmp_path: Path) -> None:
    data = tmp_path / "d.json"
    data.write_text("[1]")
    given = {"init": model_in(tmp_path), "data": str(data)}
    finish(plan(tmp_path, "sft", preset=own_preset(tmp_path), inputs=given).rundir, "sft")
    assert plan(tmp_path, "ppo", run="bare", inputs={"reward": "pocket:judge"}).stages == ("ppo",)


def test_a_scorer_that_is_no_file_is_recorded_as_typed(tmp_path: Path) -> None:
    prepared = plan(tmp_path, "ppo", inputs={"reward": "pocket:concise"})
    assert prepared.inputs("ppo") == {"reward": "pocket:concise"}
    assert prepared.stages == ("pretrain", "sft", "ppo")
