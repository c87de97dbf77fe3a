"""What the driver makes of a run's events."""

from engine.events import ControlAcknowledged, Event, RunPaused, RunResumed, RunStarted, StageStarted, StepCompleted
from engine.run import stage_seconds


def test_time_away_and_time_paused_are_not_work() -> None:
    said: list[Event] = [
        RunStarted("r", 0, {}, 10.0),
        StageStarted("sft", 3, {}, 11.0),
        StepCompleted("sft", 1, {}, 13.0),
        ControlAcknowledged(1, "pause", 13.5),
        ControlAcknowledged(2, "resume", 113.5),
        StepCompleted("sft", 2, {}, 115.0),
        RunPaused("sft", 2, "interrupted", 115.25),
        RunResumed("sft", 2, 999.0),
        StepCompleted("sft", 3, {}, 1000.0),
        StageStarted("rm", 1, {}, 1002.0),
    ]
    assert stage_seconds(said) == {"sft": 1.0 + 2.0 + 0.5 + 1.5 + 0.25 + 1.0, "rm": 2.0}
