"""Events round-trip through JSON lines, and readers skip what they do not know."""

import json
import math
import struct
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import events
from engine.core.events import Event, StepCompleted, from_json, rounded, stamp, to_json, without_clock

EXAMPLES: list[Event] = [
    events.RunStarted("tiny", 0, {"torch": "2.13.0"}, 1.5),
    events.RunResumed("ppo", 20, 2.0),
    events.RunPaused("ppo", 21, "Ctrl-C", 3.0),
    events.RunFinished("eval", 4.0),
    events.RunFailed("rm", "the loss became nan", 5.0),
    events.StageStarted("sft", 120, {"demonstrations": 4000}, 6.0),
    events.StepCompleted("sft", 3, {"sft/loss": 0.25}, 7.0),
    events.PhaseProgress("rm", "normalization", 2, 11, 8.0),
    events.SamplesDrawn("ppo", 5, [{"prompt": "a\u2028b", "response": "\x1b[0m", "score": 1.0}], 8.0),
    events.EvalCompleted("rm", 25, {"rm/validation_accuracy": 0.75}, 9.0),
    events.CheckpointSaved("rm", 25, "rm/step-000025", 10.0),
    events.AlertRaised("ppo", 9, "kl", "KL is 12 nats", 11.0),
    events.StageFinished("ppo", 40, {"ppo/kl_nats": 2.0}, 12.0),
    events.ControlAcknowledged(3, "save", 13.0),
]


def test_there_is_an_example_of_every_kind() -> None:
    assert {type(event) for event in EXAMPLES} == set(get_args(Event))


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_round_trip_on_one_line(event: Event) -> None:
    line = to_json(event)
    assert len(line.split("\n")) == 1
    assert json.loads(line)["schema"] == 1
    assert from_json(line) == event


def test_non_finite_numbers_survive_as_strings() -> None:
    line = to_json(StepCompleted("ppo", 1, {"a": math.nan, "b": math.inf, "c": -math.inf}))
    assert json.loads(line)["metrics"] == {"a": "nan", "b": "inf", "c": "-inf"}
    back = from_json(line)
    assert isinstance(back, StepCompleted)
    assert math.isnan(back.metrics["a"])
    assert (back.metrics["b"], back.metrics["c"]) == (math.inf, -math.inf)


def test_unknown_kinds_schemas_and_fields_are_skipped() -> None:
    assert from_json('{"schema": 1, "event": "ModelDreamt", "at": 1}') is None
    assert from_json(to_json(EXAMPLES[1]).replace('"schema":1', '"schema":2')) is None
    assert from_json(
        '{"schema":1,"event":"RunResumed","stage":"rm","from_step":2,"at":0.0,"new":1}'
    ) == events.RunResumed("rm", 2)


@pytest.mark.parametrize("line", ["", "{", "[]", "7", '{"schema":1,"event":"RunResumed"}', to_json(EXAMPLES[6])[:-9]])
def test_a_line_that_is_no_event_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError):
        from_json(line)


def test_the_stamp_sets_the_time_alone() -> None:
    assert stamp(events.RunResumed("rm", 2), 9.5) == events.RunResumed("rm", 2, 9.5)


@given(st.floats(width=32, allow_nan=False))
def test_rounded_metrics_are_the_same_numbers_in_float32(value: float) -> None:
    metrics = rounded(StepCompleted("ppo", 1, {"a": value})).metrics
    assert struct.pack("f", metrics["a"]) == struct.pack("f", value)
    assert len(to_json(StepCompleted("", 1, metrics))) <= len(to_json(StepCompleted("", 1, {"a": value})))


def test_clock_fields_are_left_out_wherever_they_are() -> None:
    row = {
        "at": 1.0,
        "step": 2,
        "metrics": {"ppo/step_s": 1.0, "ppo/tokens_per_s": 2.0, "ppo/score": 3.0},
        "list": [{"peak_rss_mb": 1}],
    }
    assert without_clock(row) == {"step": 2, "metrics": {"ppo/score": 3.0}, "list": [{}]}


@given(st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False)), st.text(max_size=20))
def test_any_metrics_round_trip(metrics: dict[str, float], stage: str) -> None:
    event = StepCompleted(stage, 1, metrics)
    assert from_json(to_json(event)) == event
