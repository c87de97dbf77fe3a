"""What the driver makes of a run's events."""

from pathlib import Path

from engine.core.events import (
    AlertRaised,
    CheckpointSaved,
    ControlAcknowledged,
    Event,
    RunPaused,
    RunResumed,
    RunStarted,
    StageStarted,
    StepCompleted,
)
from engine.run.driver import alerts_of, stage_seconds
from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import STAGES


def test_time_away_and_time_paused_are_not_work() -> None:
    said: list[Event] = [
        RunStarted("r", 0, {}, 10.0),
        StageStarted("sft", 3, {}, 11.0),
        StepCompleted("sft", 1, {}, 13.0),
        ControlAcknowledged(1, "pause", 13.5),
        ControlAcknowledged(2, "save", 20.0),
        CheckpointSaved("sft", 1, "sft/step-000001", 21.0),
        ControlAcknowledged(3, "resume", 113.5),
        StepCompleted("sft", 2, {}, 115.0),
        RunPaused("sft", 2, "by a signal", 115.25),
        RunResumed("sft", 2, 999.0),
        StepCompleted("sft", 3, {}, 1000.0),
        StageStarted("rm", 1, {}, 1002.0),
    ]
    assert stage_seconds(said) == {"sft": 1.0 + 2.0 + 0.5 + 1.5 + 0.25 + 1.0, "rm": 2.0}


def test_time_before_a_restart_does_not_count() -> None:
    said: list[Event] = [
        StageStarted("sft", 1, {}, 10.0),
        StepCompleted("sft", 1, {}, 50.0),
        RunResumed("sft", 0, fresh=True, at=60.0),
        RunResumed("sft", 0, at=61.0),
        StageStarted("sft", 1, {}, 62.0),
        StepCompleted("sft", 1, {}, 65.0),
    ]
    assert stage_seconds(said) == {"sft": 4.0}


def test_the_alerts_of_a_shared_stage_are_the_runs_too(tmp_path: Path) -> None:
    parent = prepare(RunRequest("run"), tmp_path, {}).rundir
    for stage in STAGES:
        parent.final(stage).mkdir(parents=True)
        parent.append(AlertRaised(stage, 1, f"{stage}_alert", "."))
    child = prepare(RunRequest("run", run="b", parent="tiny", overrides={"rm.lr": "0.5"}), tmp_path, {}).rundir
    child.append(AlertRaised("ppo", 1, "of_its_own", "."))
    assert sorted(alerts_of(child)) == ["comparisons_alert", "of_its_own", "pretrain_alert", "sft_alert"]
