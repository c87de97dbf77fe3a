"""The commands of a new round: names, what it starts from, settings by the number of labels, how it stands."""

import asyncio
from pathlib import Path

import pytest

from engine.core.errors import ConfigError, EngineError
from engine.core.events import EvalCompleted, StageFinished, StageStarted, StepCompleted
from engine.data.files import Source
from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import RunDir
from slmctl.label.rounds import Round, first_name, next_name, plan_round, progress_of, run_round

ENVIRON = {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the run `tiny`, whose sft, rm and ppo are finished."""
    run = prepare(RunRequest("run"), tmp_path, ENVIRON).rundir
    for stage in ("sft", "rm", "ppo"):
        run.final(stage).mkdir(parents=True)
    return tmp_path


def settings(words: tuple[str, ...]) -> dict[str, float]:
    """What a command sets."""
    pairs = [words[at + 1].split("=") for at, word in enumerate(words) if word == "--set"]
    return {name: float(value) for name, value in pairs}


def options(words: tuple[str, ...]) -> dict[str, str]:
    """The other options of a command."""
    return {words[at]: words[at + 1] for at in range(1, len(words) - 1) if words[at][:2] == "--" != words[at][:5]}


def test_a_round_of_a_hundred_labels_on_tiny(home: Path) -> None:
    planned = plan_round("tiny:sft", "", Path("l.db"), 100, home)
    rm, ppo = planned.commands
    assert (rm[0], ppo[0]) == ("rm", "ppo")
    assert {name: value for name, value in options(rm).items() if name != "--set"} == {
        "--run": "tiny-2",
        "--from": "tiny",
        "--data": "l.db",
        "--init": "tiny:rm",
    }
    assert settings(rm) == {
        "rm.epochs": 6.0,
        "rm.lr": 3e-4,
        "rm.muon_lr": 0.0,
        "rm.warmup_steps": 2.0,
        "rm.validation_share": 0.15,
    }
    assert options(ppo)["--run"] == "tiny-2" and "--init" not in ppo
    assert settings(ppo) == {"ppo.steps": 30}
    assert (planned.models, planned.scorer) == (("tiny-2:ppo",), "tiny-2:rm")


@pytest.mark.parametrize(("labels", "epochs"), [(10, 10.0), (60, 10.0), (200, 3.0), (600, 1.0), (5000, 1.0)])
def test_few_labels_are_seen_more_often(home: Path, labels: int, epochs: float) -> None:
    assert settings(plan_round("tiny:sft", "", Path("l.db"), labels, home).commands[0])["rm.epochs"] == epochs


def test_a_round_goes_on_from_what_was_labeled(home: Path) -> None:
    rm, ppo = plan_round("tiny:ppo", "tiny:rm", Path("l.db"), 50, home).commands
    assert (options(rm)["--init"], options(ppo)["--init"]) == ("tiny:rm", "tiny:ppo")
    rm, ppo = plan_round("tiny:ppo", "pocket:judge", Path("l.db"), 50, home).commands
    assert options(rm)["--init"] == "tiny:rm", "a judge is no model to go on from"


def test_what_ppo_was_handed_before_is_not_taken_over(tmp_path: Path) -> None:
    run = prepare(RunRequest("ppo", inputs={"reward": "pocket:judge"}), tmp_path, ENVIRON).rundir
    run.final("sft").mkdir(parents=True)
    rm, ppo = plan_round("tiny:sft", "", Path("l.db"), 50, tmp_path).commands
    assert options(rm)["--init"] == "tiny:sft", "without a reward model one grows from the policy"
    assert "rm.lr" not in settings(rm), "a new one has not learnt yet what a large step could spoil"
    assert options(ppo)["--reward"] == "none", "the labels' reward model is what scores"


def test_a_model_by_its_path_becomes_a_run_of_its_own(tmp_path: Path) -> None:
    model = tmp_path / "models" / "stories"
    model.mkdir(parents=True)
    source = Source("openings.jsonl", {"prompt": "text"})
    planned = plan_round(str(model), "", Path("l.db"), 40, tmp_path, source)
    rm, ppo = planned.commands
    assert planned.name == "stories"
    assert (options(rm)["--preset"], options(rm)["--init"]) == ("slm-25m", str(model))
    assert options(ppo)["--init"] == str(model)
    assert "ppo.max_new_tokens" not in settings(ppo)
    shorter = plan_round(str(model), "", Path("l.db"), 40, tmp_path, source, 50).commands[1]
    assert settings(shorter)["ppo.max_new_tokens"] == 50
    assert (options(ppo)["--prompts"], options(ppo)["--map"]) == ("openings.jsonl", "prompt=text")
    (tmp_path / "stories").mkdir()
    assert plan_round(str(model), "", Path("l.db"), 40, tmp_path, source).name == "stories-2"


def test_too_few_labels_make_no_round(home: Path) -> None:
    with pytest.raises(ConfigError, match="needs at least 10 labels, and there are 9"):
        plan_round("tiny:sft", "", Path("l.db"), 9, home)


@pytest.mark.parametrize(
    ("taken", "name", "following"),
    [
        ((), "tiny", "tiny-2"),
        (("tiny-2",), "tiny", "tiny-3"),
        ((), "tiny-2", "tiny-3"),
        (("tiny-3", "tiny-4"), "tiny-2", "tiny-5"),
        ((), "a-b", "a-b-2"),
        ((), "-3", None),
    ],
)
def test_the_next_free_name(tmp_path: Path, taken: tuple[str, ...], name: str, following: str | None) -> None:
    for other in taken:
        (tmp_path / other).mkdir()
    if following is None:
        with pytest.raises(ConfigError):
            next_name(tmp_path, name)
    else:
        assert next_name(tmp_path, name) == following
    assert first_name(tmp_path, "free") == "free"


def test_progress_of_a_stage_is_read_from_its_events(home: Path) -> None:
    run = RunDir(home / "tiny")
    assert progress_of(run, "rm").steps == 0
    run.append(StageStarted("rm", 9, {"rankings": 85, "validation": 15}))
    run.append(StepCompleted("rm", 4, {"rm/accuracy": 0.75}))
    run.append(StepCompleted("ppo", 7, {"ppo/score": 2.0}))
    now = progress_of(run, "rm")
    assert (now.step, now.steps, now.held_out, now.done, now.headline) == (4, 9, 15, False, "accuracy 0.75")
    run.append(EvalCompleted("rm", 9, {"rm/validation_accuracy": 0.8}))
    run.append(StageFinished("rm", 9, {"rm/validation_accuracy": 0.8}))
    assert progress_of(run, "rm").done
    assert progress_of(run, "rm").metrics["rm/validation_accuracy"] == 0.8
    assert progress_of(RunDir(home / "none"), "rm").steps == 0


def test_how_long_responses_were_and_are_is_a_mean_of_some_steps(home: Path) -> None:
    run = RunDir(home / "tiny")
    assert progress_of(run, "ppo").lengths is None
    for step, tokens in enumerate((14.0, 13.0, 12.0, 30.0, 9.0, 8.0, 7.0), start=1):
        run.append(StepCompleted("ppo", step, {"ppo/response_tokens": tokens}))
    assert progress_of(run, "ppo").lengths == (13.0, 8.0)
    run.append(StageFinished("ppo", 7, {"ppo/response_tokens": 99.0}))
    assert progress_of(run, "ppo").lengths == (13.0, 8.0), "what is said again at the end is no step"


def test_a_round_from_a_model_of_the_hub_is_a_run_of_its_name(tmp_path: Path) -> None:
    planned = plan_round("hf:nobody/words@main", "", Path("l.db"), 50, tmp_path)
    assert planned.name == "words" and planned.commands[1][:5] == (
        "ppo",
        "--run",
        "words",
        "--init",
        "hf:nobody/words@main",
    )


def test_the_new_policy_is_compared_on_world_or_labeled_prompts(tmp_path: Path) -> None:
    run = prepare(RunRequest("run"), tmp_path, ENVIRON).rundir
    run.final("sft").mkdir(parents=True)
    words = ("eval", "tiny:sft", "tiny-2:ppo")
    assert plan_round("tiny:sft", "", Path("l.db"), 50, tmp_path).comparison == (*words, "--judge", "tiny-2:rm")
    own = (*words, "--prompts", "l.db", "--judge", "tiny-2:rm")
    assert plan_round("tiny:sft", "", Path("l.db"), 50, tmp_path, Source("mine.txt")).comparison == own


def test_a_failed_command_reports_its_last_line(home: Path) -> None:
    async def main() -> None:
        planned = Round("new", "tiny:sft", "", 50, (("rm", "--run", "new", "--from", "nobody"),))
        with pytest.raises(EngineError, match=r"slmctl rm --run new --from nobody: no run named 'nobody'"):
            async for _ in run_round(planned, home, ENVIRON):
                pass

    asyncio.run(main())
