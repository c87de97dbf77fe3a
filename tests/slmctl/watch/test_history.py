"""What is known of a run: the same whether it was followed or opened late, and whatever a resume took back."""

import json
import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core.events import (
    AlertRaised,
    CheckpointSaved,
    ControlAcknowledged,
    EvalCompleted,
    Event,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    SamplesDrawn,
    StageFinished,
    StageStarted,
    StepCompleted,
)
from engine.rundir.directory import RunDir, effective
from slmctl.watch.follower import Follower, ProcessState, RunInfo, Steps, Update, read_events, read_samples
from slmctl.watch.history import RunHistory, StageHistory
from tests.support.recorded_runs import alert, begin_ppo, drawn, lines_of, make_run, ppo_step, sample, say


def told(*events: Event, process: ProcessState | None = None) -> RunHistory:
    story = RunHistory("tiny")
    lines = lines_of(*events)
    story.add(Update(read_events(lines), read_samples(lines), process or ProcessState(), RunInfo()))
    return story


STAGES = st.sampled_from(["sft", "ppo"])
NUMBERS = st.integers(0, 9)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """What runs say: steps that go on by one, with saves, alerts, measurements, samples and resumes in between."""
    at: dict[str, int] = {"sft": 0, "ppo": 0}
    said: list[Event] = []
    for _ in range(draw(st.integers(0, 40))):
        stage = draw(STAGES)
        kind = draw(st.sampled_from("ttttttseacdrfpg"))
        step = at[stage]
        if kind == "t":
            at[stage] += 1
            said.append(StepCompleted(stage, step + 1, {f"{stage}/a": draw(st.floats(width=32))}, at=1.0))
        elif kind == "r":
            at[stage] = draw(st.integers(0, step))
            said.append(RunResumed(stage, at[stage]))
        else:
            made: dict[str, Event] = {
                "s": StageStarted(stage, 9, at=2.0),
                "e": EvalCompleted(stage, step, {f"{stage}/b": 1.0}),
                "a": AlertRaised(stage, step, "x", "y"),
                "c": CheckpointSaved(stage, step, "p"),
                "d": SamplesDrawn(stage, step, [{"prompt": "p"}]),
                "f": StageFinished(stage, step, {f"{stage}/c": 2.0}),
                "p": RunPaused(stage, step, "z"),
                "g": RunStarted("tiny", 0, {}),
            }
            said.append(made[kind])
    return said


def plain(stage: StageHistory) -> dict[str, Any]:
    """A stage as a test compares it; NaN is written out, for it equals nothing."""
    column = [str(value) for value in stage.column(f"{stage.name}/a")[1]]
    said = {name: getattr(stage, name) for name in ("steps", "evals", "alerts", "checkpoints", "finished")}
    return said | {"a": column, "began": stage.began_at, "drawn": [item.step for item in stage.samples]}


def slow_truth(events: Sequence[Event], name: str) -> dict[str, Any]:
    """The same by engine.rundir.directory.effective alone."""
    mine = [event for event in effective(events) if getattr(event, "stage", None) == name]
    steps = [event for event in mine if isinstance(event, StepCompleted)]
    ends = [event for event in mine if isinstance(event, StageFinished)]
    samples: dict[int, SamplesDrawn] = {}
    for event in mine:
        if isinstance(event, SamplesDrawn):
            samples = {step: old for step, old in samples.items() if step < event.step} | {event.step: event}
    return {
        "steps": [event.step for event in steps],
        "a": [str(event.metrics[f"{name}/a"]) for event in steps],
        "evals": [event for event in mine if isinstance(event, EvalCompleted)],
        "alerts": [event for event in mine if isinstance(event, AlertRaised)],
        "checkpoints": [event for event in mine if isinstance(event, CheckpointSaved)],
        "finished": ends[-1] if ends else None,
        "began": next((event.at for event in mine if isinstance(event, StageStarted)), None),
        "drawn": list(samples),
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories(), st.integers(0, 40))
def test_followed_or_opened_late_it_is_what_the_engine_says(tmp_path: Path, events: list[Event], cut: int) -> None:
    run = RunDir(tmp_path)
    run.events.write_bytes(b"")
    run.samples.write_bytes(b"")
    follower, followed = Follower(run), RunHistory("tiny")
    for part in (events[:cut], events[cut:]):
        for event in part:
            RunDir(tmp_path).append(event)
        followed.add(follower.poll())
    late = RunHistory("tiny")
    late.add(Follower(run).poll())
    for name in ("sft", "ppo"):
        assert plain(followed.stage(name)) == plain(late.stage(name)) == slow_truth(events, name)


def test_numbers_are_parsed_as_the_engine_writes_them() -> None:
    values = [0.1, -1e-7, 3.0, math.nan, math.inf, -math.inf, 12345.678901234567]
    story = told(*(ppo_step(step, score=value) for step, value in enumerate(values, start=1)))
    steps, column = story.stage("ppo").column("ppo/score")
    assert (list(steps), [str(value) for value in column]) == (list(range(1, 8)), [str(value) for value in values])
    assert story.stage("ppo").latest()["ppo/score"] == values[-1]
    assert "ppo/tokens_per_s" in story.stage("ppo").metrics()


def test_a_metric_that_a_step_left_out_is_a_gap() -> None:
    bare = StepCompleted("ppo", 2, {"ppo/kl_nats": 40.0}, at=1.0)
    column = told(ppo_step(1), bare, ppo_step(3)).stage("ppo").column("ppo/score")[1]
    assert [str(value) for value in column] == ["0.1", "nan", "0.3"]


@pytest.mark.parametrize("odd", [
    {"ppo/kl_nats": math.nan, "ppo/score": math.inf},
    {"ppo/score": 3.5},
    {"ppo/kl_nats": 1.0, "ppo/score": 2.0},
])  # fmt: skip
def test_a_column_read_early_grows_into_the_one_read_late(odd: dict[str, float]) -> None:
    said = [ppo_step(1), ppo_step(2), StepCompleted("ppo", 3, odd, at=1.0), ppo_step(4)]
    names = ("ppo/score", "ppo/tokens_per_s", "ppo/kl_nats", "ppo/never_said")
    early, late = told(*said).stage("ppo"), told(*said).stage("ppo")
    for name in names:
        early.column(name)
    early.add(Steps("ppo", ["ppo/score"], [5], [2.0], array("d", [9.0])))
    late.add(Steps("ppo", ["ppo/score"], [5], [2.0], array("d", [9.0])))
    for name in names:
        steps, values = early.column(name)
        assert (str(steps), str(values)) == tuple(map(str, late.column(name))), name
        assert str(list(values)[:4]) == str([event.metrics.get(name, math.nan) for event in said])


def test_columns_grow_and_are_cut_with_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    follower, story = Follower(run), RunHistory("tiny")
    for part, expected in (
        ([ppo_step(1), ppo_step(2)], [0.1, 0.2]),
        ([ppo_step(3), alert(3)], [0.1, 0.2, 0.3]),
        ([RunResumed("ppo", 1), ppo_step(2, score=7.0)], [0.1, 7.0]),
    ):
        say(run, *part)
        assert story.add(follower.poll())
        assert story.stage("ppo").column("ppo/score")[1] == expected
    assert story.alerts == []
    assert not story.add(follower.poll()), "nothing is new"


def test_held_out_measures_have_steps_of_their_own() -> None:
    stage = told(ppo_step(1), EvalCompleted("ppo", 1, {"ppo/b": 5.0}), ppo_step(2)).stage("ppo")
    assert stage.column("ppo/b") == ([1], [5.0])


def test_where_the_run_is_and_how_it_ended() -> None:
    assert told().current == ""
    events: list[Event] = [
        StageStarted("sft", 3, at=1.0),
        StageFinished("sft", 3, {}, at=2.0),
        StageStarted("ppo", 50, at=2.0),
    ]
    assert told(*events).current == "ppo"
    assert told(*events, process=ProcessState("running", "eval", 0, 5)).current == "eval"
    assert told(*events, process=ProcessState("finished", "sft")).current == "ppo"
    assert told(*events, process=ProcessState("running", "ppo", 3, 80)).steps_of("ppo") == 80
    failed = RunFailed("ppo", "out of memory")
    assert told(*events, failed).ending == failed
    assert told(*events, failed, RunResumed("ppo", 0)).ending is None
    assert told(RunFinished("ppo")).ending == RunFinished("ppo")
    assert told(ControlAcknowledged(4, "save")).acknowledged == {4: "save"}


def test_the_time_that_is_left() -> None:
    begun = StageStarted("ppo", 50, at=100.0)
    live = ProcessState("running", "ppo", 4, 50)
    steps = [ppo_step(step, at=100.0 + 2 * step) for step in (1, 2, 3, 4)]
    story = told(begun, *steps, process=live)
    assert story.step_s() == pytest.approx(2.0)
    assert story.eta_s(now=108.0) == pytest.approx(46 * 2.0)
    assert story.eta_s(now=109.0) == pytest.approx(46 * 2.0 - 1.0)
    assert story.eta_s(now=10_000.0) == pytest.approx(45 * 2.0), "a step that takes long is not taken off for ever"
    assert told(begun, *steps, process=ProcessState("paused", "ppo", 4, 50)).eta_s(108.0) is None
    assert told(begun, process=live).eta_s(108.0) is None
    late = [*steps, ppo_step(5, at=1000.0)]
    assert told(begun, *late, process=live).step_s() == pytest.approx((4 * 2 + 10) / 5), "a pause is no pace"


def test_samples_keep_to_their_step(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    begin_ppo(run)
    say(run, drawn(1, sample("a", "b")), drawn(5, sample("a", "c")), RunResumed("ppo", 3), drawn(4, sample("a", "d")))
    story = RunHistory("tiny")
    story.add(Follower(run).poll())
    assert [item.step for item in story.stage("ppo").samples] == [1, 4]
    assert json.loads(story.stage("ppo").samples[-1].line)["samples"][0]["response"] == "d"
