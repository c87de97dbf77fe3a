"""The pace of a stage: recent steps count, pauses and restarts do not."""

import pytest

from engine.core.events import ControlAcknowledged, Event, RunResumed, StageStarted, StepCompleted
from engine.core.pace import RECENT_STEPS, Pace, seconds_left


def step(number: int, at: float, stage: str = "ppo") -> StepCompleted:
    return StepCompleted(stage, number, {}, at)


def pace_of(*events: Event) -> Pace:
    pace = Pace()
    for event in events:
        pace.take(event)
    return pace


def test_the_first_step_counts_from_the_start_of_its_stage() -> None:
    pace = pace_of(StageStarted("ppo", 9, at=10.0), step(1, 12.0))
    assert (pace.stage, pace.step, pace.steps, pace.step_s()) == ("ppo", 1, 9, 2.0)
    assert (pace.left_s(), pace.left_s(now=13.0), pace.left_s(steps=3)) == (16.0, 15.0, 4.0)


def test_the_pace_is_unknown_before_a_step_was_timed() -> None:
    assert pace_of().step_s() is None
    assert pace_of(StageStarted("ppo", 9, at=1.0)).left_s() is None
    assert pace_of(step(7, 1.0)).step_s() is None, "a step whose start is not known"


def test_recent_steps_alone_count() -> None:
    slow = [step(n, 100.0 * n) for n in range(1, 9)]
    fast = [step(8 + n, 800.0 + 2 * n) for n in range(1, RECENT_STEPS + 1)]
    assert pace_of(StageStarted("ppo", 99, at=0.0), *slow, *fast).step_s() == 2.0


def test_repeated_and_overlapping_requests_do_not_count_either() -> None:
    pace = pace_of(StageStarted("sft", 9, at=0.0), step(5, 12.0, "sft"), step(6, 14.0, "sft"))
    for number, (request, at) in enumerate(
        [("pause", 14.0), ("pause", 20.0), ("save", 30.0), ("resume", 114.0), ("save", 115.0), ("resume", 115.5)]
    ):
        pace.take(ControlAcknowledged(number, request, at))
    pace.take(step(7, 116.0, "sft"))
    assert pace.step_s() == 2.0


def test_pauses_do_not_count() -> None:
    pace = pace_of(StageStarted("ppo", 9, at=0.0), step(1, 2.0), ControlAcknowledged(1, "pause", at=3.0))
    assert pace.paused
    for event in (ControlAcknowledged(2, "resume", at=500.0), step(2, 501.0), step(3, 503.0)):
        pace.take(event)
    assert not pace.paused and pace.step_s() == 2.0


def test_the_time_between_two_processes_does_not_count() -> None:
    before: list[Event] = [StageStarted("ppo", 9, at=0.0), step(1, 50.0), step(2, 100.0), step(3, 150.0)]
    after: list[Event] = [RunResumed("ppo", 2, at=900.0), StageStarted("ppo", 9, at=905.0), step(3, 908.0)]
    assert pace_of(*before, *after).step_s() == 3.0


def test_a_machine_that_slept_does_not_ruin_the_pace() -> None:
    steps = [step(n, 2.0 * n) for n in range(1, 5)]
    pace = pace_of(StageStarted("ppo", 50, at=0.0), *steps, step(5, 900.0))
    assert pace.step_s() == pytest.approx((4 * 2 + 10) / 5)


def test_a_late_step_takes_off_no_more_than_itself() -> None:
    assert [seconds_left(2.0, 5, within) for within in (0.0, 1.0, 900.0, -3.0)] == [10.0, 9.0, 8.0, 10.0]
    assert seconds_left(2.0, 0, 1.0) == 0.0
