"""Which run a command means: made, gone on with, refused, shared, or done again."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from engine.core.errors import ConfigError, FileError, RunConflictError
from engine.rundir.directory import STAGES, RunDir
from engine.rundir.runtoml import read_run_toml, write_run_toml
from tests.support.planned_runs import ROWS, finish, model_in, own_preset, plan, start


def test_the_default_run_is_named_after_the_preset(tmp_path: Path) -> None:
    prepared = plan(tmp_path, preset="tiny")
    assert prepared.rundir.path == tmp_path / "tiny"
    assert prepared.stages == STAGES
    assert prepared.made == ()
    assert plan(tmp_path).rundir.name == "tiny"


def test_a_preset_file_names_its_run(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[world]\nname = "pocket"\n[ppo]\nsteps = 3\n')
    prepared = plan(tmp_path, preset=str(file))
    assert (prepared.rundir.name, prepared.config.ppo.steps) == ("own", 3)


def test_a_run_keeps_the_threads_it_began_with(tmp_path: Path) -> None:
    assert plan(tmp_path, environ={"OMP_NUM_THREADS": "3"}).config.threads == 3
    assert plan(tmp_path, environ={"OMP_NUM_THREADS": "5"}).config.threads == 3
    assert read_run_toml(RunDir(tmp_path / "tiny")).origins["threads"] == "OMP_NUM_THREADS"


def test_a_run_keeps_the_day_on_which_it_began(tmp_path: Path) -> None:
    run = plan(tmp_path).rundir
    record = read_run_toml(run)
    assert date.fromisoformat(record.day) <= date.today()
    write_run_toml(run, replace(record, day="2024-02-29"))
    plan(tmp_path, overrides={"ppo.steps": "7"})
    assert read_run_toml(run).day == "2024-02-29"


def test_typed_again_it_goes_on_with_what_is_left(tmp_path: Path) -> None:
    first = plan(tmp_path, flags={"seed": 3}, overrides={"ppo.steps": "7"})
    finish(first.rundir, "pretrain", "sft")
    start(first.rundir, "comparisons")
    again = plan(tmp_path, flags={"seed": 3}, overrides={"ppo.steps": "7"})
    assert again.stages == ("comparisons", "rm", "ppo", "eval")
    bare = plan(tmp_path, preset="tiny")
    assert (bare.config.seed, bare.config.ppo.steps) == (3, 7)


def test_a_finished_run_has_nothing_left(tmp_path: Path) -> None:
    finish(plan(tmp_path).rundir, *STAGES)
    assert plan(tmp_path).stages == ()
    assert plan(tmp_path, "rm").stages == ()


def test_parents_that_the_world_can_supply_are_made_and_named(tmp_path: Path) -> None:
    prepared = plan(tmp_path, "rm", preset="tiny")
    assert prepared.stages == ("pretrain", "sft", "comparisons", "rm")
    assert prepared.made == ("pretrain", "sft", "comparisons")


def test_without_a_world_a_missing_parent_names_the_command(tmp_path: Path) -> None:
    data = tmp_path / "data.json"
    data.write_text("[]")
    own = own_preset(tmp_path)
    with pytest.raises(FileError, match=f"no base model yet .*slmctl pretrain --preset {own} --run bare --data FILE"):
        plan(tmp_path, "sft", preset=own, inputs={"data": str(data)})
    with pytest.raises(FileError, match=f"no SFT policy yet .*slmctl sft --preset {own} --run bare --data FILE"):
        plan(tmp_path, "sft", preset=own, inputs={"init": model_in(tmp_path)})
    assert not (tmp_path / "bare").exists()


def test_the_command_for_what_is_missing_works_as_typed(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="slmctl pretrain --preset slm-25m --run slm-25m --data FILE"):
        plan(tmp_path, "run", preset="slm-25m")
    data = tmp_path / "texts.txt"
    data.write_text("One.\n\nTwo.\n")
    finish(plan(tmp_path, "pretrain", preset="slm-25m", inputs={"data": str(data)}).rundir, "pretrain")
    with pytest.raises(FileError, match="slmctl sft --from slm-25m --run new --data FILE"):
        plan(tmp_path, "ppo", run="new", parent="slm-25m")


def test_changed_settings_of_a_started_stage_are_refused(tmp_path: Path) -> None:
    start(plan(tmp_path).rundir, "pretrain", "sft")
    with pytest.raises(RunConflictError) as caught:
        plan(tmp_path, overrides={"sft.lr": "0.5"})
    message = str(caught.value)
    assert "'tiny' has started sft with sft.lr = 0.001, and now it is 0.5 (from --set)" in message
    for way in ("--run NEW", "--run NEW --from tiny", "slmctl sft --run tiny --fresh"):
        assert way in message


@pytest.mark.parametrize(
    "change", [{"seed": "1"}, {"threads": "7"}, {"model.layers": "2"}, {"max_steps": "5"}, {"world.name": '""'}]
)
def test_what_matters_to_a_started_stage_is_fixed(tmp_path: Path, change: dict[str, str]) -> None:
    start(plan(tmp_path).rundir, "pretrain")
    with pytest.raises(RunConflictError, match=next(iter(change))):
        plan(tmp_path, "ppo", overrides=change)


def test_a_cap_on_the_steps_is_nothing_to_a_finished_stage(tmp_path: Path) -> None:
    run = plan(tmp_path).rundir
    finish(run, "pretrain", "sft", "comparisons")
    capped = plan(tmp_path, "rm", flags={"max_steps": 5})
    assert (capped.stages, capped.config.max_steps) == (("rm",), 5)
    start(run, "rm")
    with pytest.raises(RunConflictError, match="started rm with max_steps = 5, and now it is 9"):
        plan(tmp_path, "rm", flags={"max_steps": 9})


def test_a_new_round_with_fewer_steps_shares_what_is_finished(tmp_path: Path) -> None:
    finish(plan(tmp_path).rundir, *STAGES)
    child = plan(tmp_path, run="b", parent="tiny", flags={"max_steps": 5}, overrides={"ppo.kl_coef": "0.2"})
    assert child.stages == ("ppo", "eval")


def test_the_environment_can_conflict_too(tmp_path: Path) -> None:
    start(plan(tmp_path).rundir, "pretrain")
    with pytest.raises(RunConflictError, match="from SLMCTL_PRETRAIN_LR"):
        plan(tmp_path, environ={"SLMCTL_PRETRAIN_LR": "0.5"})


def test_a_stage_not_started_yet_takes_new_settings(tmp_path: Path) -> None:
    finish(plan(tmp_path).rundir, "pretrain")
    assert plan(tmp_path, overrides={"ppo.kl_coef": "0.2"}).config.ppo.kl_coef == 0.2
    assert read_run_toml(RunDir(tmp_path / "tiny")).origins["ppo.kl_coef"] == "--set"
    assert plan(tmp_path).config.ppo.kl_coef == 0.2


def test_another_preset_on_the_same_run_is_refused(tmp_path: Path) -> None:
    plan(tmp_path, run="mine")
    with pytest.raises(RunConflictError, match="'mine' was made with preset tiny"):
        plan(tmp_path, run="mine", preset=own_preset(tmp_path))


def test_a_persons_preset_file_is_read_anew(tmp_path: Path) -> None:
    file = own_preset(tmp_path)
    data = tmp_path / "t.txt"
    data.write_text("text")
    first = plan(tmp_path, "pretrain", preset=file, inputs={"data": str(data)})
    Path(file).write_text("[ppo]\nsteps = 9\n")
    assert plan(tmp_path, "pretrain", preset=file).config.ppo.steps == 9
    start(first.rundir, "ppo")
    Path(file).write_text("[ppo]\nsteps = 4\n")
    with pytest.raises(RunConflictError, match=r"ppo.steps = 9, and now it is 4 \(from preset bare\)"):
        plan(tmp_path, "pretrain", preset=file)


def test_a_new_round_shares_its_parents_finished_stages(tmp_path: Path) -> None:
    parent = plan(tmp_path, flags={"seed": 3}).rundir
    finish(parent, *STAGES)
    child = plan(tmp_path, "ppo", run="round2", parent="tiny", overrides={"ppo.kl_coef": "0.2"})
    assert child.stages == ("ppo",)
    assert (child.config.seed, child.config.ppo.kl_coef) == (3, 0.2)
    assert child.rundir.finished("rm") == parent.final("rm").resolve()
    assert child.rundir.finished("ppo") is None
    record = read_run_toml(child.rundir)
    assert set(record.shared) == {"pretrain", "sft", "comparisons", "rm"}
    assert record.parents["tiny"]["path"] == "../tiny"
    assert all(len(entry["sha256"]) == 64 for entry in record.shared.values())


def test_a_new_round_types_again_without_from(tmp_path: Path) -> None:
    finish(plan(tmp_path).rundir, *STAGES)
    plan(tmp_path, "ppo", run="round2", parent="tiny")
    assert plan(tmp_path, "ppo", run="round2").stages == ("ppo",)
    assert plan(tmp_path, "ppo", run="round2", parent="tiny").stages == ("ppo",)


def test_a_new_round_of_labels_keeps_what_lies_below(tmp_path: Path) -> None:
    finish(plan(tmp_path).rundir, *STAGES)
    labels = tmp_path / "labels.json"
    labels.write_text(ROWS)
    child = plan(tmp_path, "rm", run="round2", parent="tiny", inputs={"data": str(labels)})
    assert child.stages == ("rm",)
    assert plan(tmp_path, "ppo", run="round2").stages == ("rm", "ppo")


def test_a_new_round_redoes_what_its_settings_change(tmp_path: Path) -> None:
    finish(plan(tmp_path).rundir, *STAGES)
    assert plan(tmp_path, run="a", parent="tiny", overrides={"rm.lr": "0.1"}).stages == ("rm", "ppo", "eval")
    assert plan(tmp_path, run="b", parent="tiny", flags={"seed": 5}).stages == STAGES
    assert plan(tmp_path, "ppo", run="c", parent="tiny", flags={"seed": 5}).stages == ("ppo",)


def test_only_what_the_parent_has_finished_is_shared(tmp_path: Path) -> None:
    parent = plan(tmp_path).rundir
    finish(parent, "pretrain")
    start(parent, "sft")
    assert plan(tmp_path, run="b", parent="tiny").stages == STAGES[1:]


def test_a_shared_stage_that_changed_or_went_is_refused(tmp_path: Path) -> None:
    parent = plan(tmp_path).rundir
    finish(parent, "pretrain")
    plan(tmp_path, run="b", parent="tiny")
    (parent.final("pretrain") / "model.safetensors").write_text("other")
    with pytest.raises(FileError, match="base model that run 'b' shares with 'tiny' has changed"):
        plan(tmp_path, run="b")
    parent.final("pretrain").rename(tmp_path / "away")
    with pytest.raises(FileError, match="is gone"):
        plan(tmp_path, run="b")


def test_from_needs_a_name_of_its_own_and_a_parent(tmp_path: Path) -> None:
    plan(tmp_path)
    for name in (None, "tiny"):
        with pytest.raises(ConfigError, match="creates a new run; name it with --run NEW"):
            plan(tmp_path, parent="tiny", run=name)
    with pytest.raises(FileError, match="no run named 'none'"):
        plan(tmp_path, parent="none", run="b")
    plan(tmp_path, run="c")
    with pytest.raises(RunConflictError, match="'c' exists already"):
        plan(tmp_path, parent="tiny", run="c")


def test_fresh_does_a_stage_and_what_follows_again(tmp_path: Path) -> None:
    run = plan(tmp_path).rundir
    finish(run, *STAGES)
    prepared = plan(tmp_path, "rm", fresh=True, overrides={"rm.lr": "0.5"})
    assert prepared.stages == ("rm",)
    assert prepared.config.rm.lr == 0.5
    assert [stage for stage in STAGES if run.finished(stage)] == ["pretrain", "sft", "comparisons"]
    assert run.started() == {"pretrain", "sft", "comparisons"}
    assert plan(tmp_path).stages == ("rm", "ppo", "eval")


def test_fresh_redraws_comparisons_if_their_settings_changed(tmp_path: Path) -> None:
    run = plan(tmp_path).rundir
    finish(run, *STAGES)
    with pytest.raises(RunConflictError, match="slmctl rm --run tiny --fresh"):
        plan(tmp_path, "rm", overrides={"comparisons.persona": "warm"})
    prepared = plan(tmp_path, "rm", fresh=True, overrides={"comparisons.persona": "warm"})
    assert (prepared.stages, prepared.made) == (("comparisons", "rm"), ("comparisons",))


def test_fresh_does_not_excuse_changes_above_it(tmp_path: Path) -> None:
    finish(plan(tmp_path).rundir, "pretrain", "sft")
    with pytest.raises(RunConflictError, match=r"sft\.lr"):
        plan(tmp_path, "rm", fresh=True, overrides={"sft.lr": "0.5"})


def test_fresh_of_everything_takes_any_change(tmp_path: Path) -> None:
    finish(plan(tmp_path).rundir, *STAGES)
    prepared = plan(tmp_path, fresh=True, flags={"seed": 9})
    assert (prepared.stages, prepared.config.seed) == (STAGES, 9)


def test_a_run_that_is_being_written_is_not_changed(tmp_path: Path) -> None:
    run = plan(tmp_path).rundir
    start(run, "pretrain")
    before = run.run_toml.read_text()
    with run.lock(), pytest.raises(RunConflictError, match="is being written"):
        plan(tmp_path, overrides={"ppo.steps": "3"})
    assert run.run_toml.read_text() == before


def test_a_bad_setting_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        plan(tmp_path, overrides={"ppo.step": "3"})
    assert list(tmp_path.iterdir()) == []


def test_room_for_a_prompt_is_asked_of_the_model_that_is_made(tmp_path: Path) -> None:
    long = {"model.context": "64", "ppo.max_new_tokens": "64"}
    with pytest.raises(ConfigError, match=r"ppo\.max_new_tokens 64 leaves no room for a prompt in model\.context 64"):
        plan(tmp_path, "ppo", run="a", overrides=long)
    assert not (tmp_path / "a").exists()
    typed = {"init": model_in(tmp_path), "reward": "pocket:judge"}
    assert plan(tmp_path, "ppo", run="a", overrides=long, inputs=typed).stages == ("ppo",)
