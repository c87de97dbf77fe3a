"""The command that a form makes up: its words, its settings, what it would do; and starting it for good."""

import inspect
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from engine.core.errors import ConfigError, EngineError, FileError
from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import liveness, read_status
from slmctl.runs.command_form import TAKES, CommandDraft, effective_draft, preview, settings_of
from slmctl.runs.launch import LaunchedCommand, command_line, launch
from tests.end_to_end.conftest import PRESET, wait_for
from tests.support.recorded_runs import make_run

THREADS = {"OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("draft", "command"),
    [
        (CommandDraft(), "slmctl run"),
        (CommandDraft(preset="tiny"), "slmctl run --preset tiny"),
        (CommandDraft("ppo", run="b", parent="a"), "slmctl ppo --run b --from a"),
        (CommandDraft("ppo", inputs={"reward": "a:rm", "data": "not taken"}), "slmctl ppo --reward a:rm"),
        (CommandDraft("rm", inputs={"data": "my file.jsonl"}, fresh=True), "slmctl rm --data 'my file.jsonl' --fresh"),
        (
            CommandDraft(settings={"seed": "1", "max_steps": "3", "ppo.kl_coef": "0.1"}),
            "slmctl run --seed 1 --max-steps 3 --set ppo.kl_coef=0.1",
        ),
        (CommandDraft(settings={"comparisons.persona": "a b"}), "slmctl run --set 'comparisons.persona=a b'"),
    ],
)
def test_a_draft_is_the_command_that_a_person_would_type(draft: CommandDraft, command: str) -> None:
    assert command_line(draft.words()) == command
    assert tuple(shlex.split(command)[1:]) == draft.words()


def test_settings_have_origin_meaning_and_bounds(tmp_path: Path) -> None:
    draft = CommandDraft("ppo", preset="tiny", settings={"ppo.kl_coef": "0.1", "seed": "4"})
    found = settings_of(draft, tmp_path, {"SLMCTL_PPO_GAMMA": "0.9"})
    assert found[0].name.startswith("ppo.")
    by_name = {setting.name: setting for setting in found}
    assert (by_name["ppo.kl_coef"].text, by_name["ppo.kl_coef"].origin) == ("0.1", "--set")
    assert (by_name["seed"].text, by_name["seed"].origin) == ("4", "--seed")
    assert (by_name["ppo.steps"].text, by_name["ppo.steps"].origin) == ("50", "preset tiny")
    assert (by_name["ppo.gamma"].text, by_name["ppo.gamma"].origin) == ("0.9", "SLMCTL_PPO_GAMMA")
    assert by_name["ppo.gamma"].allowed == "at least 0, at most 1"
    assert by_name["ppo.kl_controller"].choices == ("fixed", "adaptive")
    assert by_name["model.tied"].choices == ("true", "false")
    assert by_name["threads"].text == ""
    names = [setting.name for setting in found]
    assert names.index("seed") < names.index("world.name") < names.index("sft.lr")


def test_every_value_of_a_preset_can_be_typed_again(tmp_path: Path) -> None:
    plain = settings_of(CommandDraft(), tmp_path, {})
    typed = {setting.name: setting.text for setting in plain if setting.text}
    again = settings_of(CommandDraft(settings=typed), tmp_path, {})
    assert [setting.text for setting in again] == [setting.text for setting in plain]


def test_settings_follow_the_run_that_there_is(tmp_path: Path) -> None:
    prepare(RunRequest("run", run="a", overrides={"ppo.steps": "7"}), tmp_path, THREADS)
    for draft in (CommandDraft("run", run="a"), CommandDraft("ppo", run="b", parent="a")):
        assert {x.name: x.text for x in settings_of(draft, tmp_path, {})}["ppo.steps"] == "7"
    assert effective_draft(CommandDraft("ppo", "tiny", "b", "a"), tmp_path).words() == (
        "ppo",
        "--run",
        "b",
        "--from",
        "a",
    )
    assert effective_draft(CommandDraft("ppo", "tiny", "c"), tmp_path).words() == (
        "ppo",
        "--preset",
        "tiny",
        "--run",
        "c",
    )


@pytest.mark.parametrize(
    ("draft", "error", "words"),
    [
        (CommandDraft(preset="tniy"), ConfigError, "did you mean 'tiny'"),
        (CommandDraft(preset="none.toml"), FileError, "preset file none.toml not found"),
        (
            CommandDraft(settings={"ppo.kl_coef": "much"}),
            ConfigError,
            "ppo.kl_coef (from --set) must be a valid number, got 'much'",
        ),
        (
            CommandDraft(settings={"seed": "-1"}),
            ConfigError,
            "seed (from --seed) must be greater than or equal to 0",
        ),
        (CommandDraft(run="a/b"), ConfigError, "is not a valid run name"),
        (CommandDraft("ppo", parent="a"), ConfigError, "name it with --run"),
        (CommandDraft("sft", inputs={"data": "none.jsonl"}), FileError, "file none.jsonl"),
        (CommandDraft("sft", preset="slm-25m", run="x"), FileError, "type: slmctl pretrain"),
    ],
)
def test_what_the_command_would_refuse_is_said_beforehand(
    tmp_path: Path, draft: CommandDraft, error: type[EngineError], words: str
) -> None:
    with pytest.raises(error, match=words.replace("(", "\\(").replace(")", "\\)")):
        preview(draft, tmp_path / "runs", THREADS)
    assert not (tmp_path / "runs").exists()


def test_the_plan_is_shown_and_nothing_is_written(tmp_path: Path) -> None:
    said = preview(CommandDraft("sft", run="x"), tmp_path / "runs", THREADS)
    assert said == "Creates run x. Stages: base model, SFT policy."
    assert not (tmp_path / "runs").exists()
    run = prepare(RunRequest("run", run="a"), tmp_path, THREADS).rundir
    run.final("pretrain").mkdir(parents=True)
    assert preview(CommandDraft("sft", run="a"), tmp_path, THREADS) == "Resumes run a. Stages: SFT policy."
    assert preview(CommandDraft("pretrain", run="a"), tmp_path, THREADS) == "Nothing to do: pretrain of a is finished."
    fresh = preview(CommandDraft("pretrain", run="a", fresh=True), tmp_path, THREADS)
    assert fresh == "Resumes run a. Stages: base model. Deletes first: base model."
    child = preview(CommandDraft("sft", run="b", parent="a"), tmp_path, THREADS)
    assert child == "Creates run b, sharing base model with a. Stages: SFT policy."


def test_every_input_of_a_target_is_an_option_of_its_command() -> None:
    from slmctl.commands import stages
    from slmctl.commands.options import INPUT_FLAGS

    for target, names in TAKES.items():
        typed = inspect.signature(getattr(stages, target)).parameters
        assert set(names) == {"map", *INPUT_FLAGS} & set(typed)


def environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLMCTL_", "OMP_"))}
    return kept | THREADS


def test_a_command_that_is_refused_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    launched = launch(("run", "--preset", "tniy", "--run", "x"), RunDir(tmp_path / "runs" / "x"), environ())
    wait_for(lambda: launched.ended() is not None, "the end")
    launched.settle()
    assert (launched.ended(), launched.begun()) == (2, False)
    assert launched.output().startswith("error: unknown preset 'tniy'")
    launched.discard_log()
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_launch_log_may_disappear(tmp_path: Path) -> None:
    run = make_run(tmp_path, "x")
    with subprocess.Popen(["true"]) as process:
        launched = LaunchedCommand(("run",), run, process, tmp_path / ".launch-1.txt")
        launched.settle()
        assert run.exists() and launched.output() == ""


def test_a_run_that_was_launched_is_its_own_and_keeps_its_log(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs" / "x")
    launched = launch(("pretrain", "--preset", PRESET, "--run", "x", "--max-steps", "1"), run, environ())
    wait_for(lambda: launched.begun() or launched.ended() is not None, "the heartbeat")
    launched.settle()
    assert launched.begun(), launched.output()
    assert os.getsid(launched.process.pid) == launched.process.pid
    wait_for(lambda: launched.ended() is not None, "the end")
    assert launched.ended() == 0
    assert "pretrain: finished" in run.log.read_text()
    assert not list(run.path.parent.glob(".launch*"))
    again = launch(("pretrain", "--run", "x"), run, environ())
    wait_for(lambda: again.ended() is not None, "the end")
    assert (again.ended(), again.output()) == (0, "run 'x': pretrain is already finished")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system has no /proc")
def test_a_run_that_died_unasked_after_is_dead(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs" / "x")
    launched = launch(("pretrain", "--preset", PRESET, "--run", "x"), run, environ())
    wait_for(launched.begun, "the heartbeat")
    launched.process.kill()
    pid = launched.process.pid
    wait_for(lambda: b") Z " in Path(f"/proc/{pid}/stat").read_bytes(), "the process to have ended")
    status = read_status(run)
    assert status is not None and status["state"] == "running"
    assert liveness(status, status["at"]) == "dead"
    launched.process.wait()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(FileError, match="cannot start slmctl run: "):
        launch(("run",), RunDir(tmp_path / "runs" / "x"), environ())
