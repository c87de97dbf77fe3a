"""The events of a run, and their one-line JSON form.

Stages yield them; the driver stamps them with the time, appends them to the run directory and passes them on. Readers
drop what a resume supersedes (rundir/directory.py); metrics.py describes the metrics.
"""

import json
import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, get_args

import pydantic_core

SCHEMA = 1
CLOCK_FIELDS = ("at", "eta_s", "elapsed_s")
DIGITS = 9  # enough to tell any two float32 numbers apart


@dataclass(frozen=True)
class RunStarted:
    """A new run began, with the versions of its libraries."""

    run: str
    seed: int
    versions: dict[str, str]
    at: float = 0.0


@dataclass(frozen=True)
class RunResumed:
    """A stage resumes after `from_step` completed steps; its earlier events past that step are superseded.

    `fresh` means that a person restarted it, so that the time it took before does not count.
    """

    stage: str
    from_step: int
    at: float = 0.0
    fresh: bool = False


@dataclass(frozen=True)
class RunPaused:
    """The run was stopped: it finished its step and saved."""

    stage: str
    step: int
    reason: str
    at: float = 0.0


@dataclass(frozen=True)
class RunFinished:
    """All requested stages are finished; `stage` is the last of them."""

    stage: str | None = None
    at: float = 0.0


@dataclass(frozen=True)
class RunFailed:
    """The run ended with an error, in one sentence."""

    stage: str
    error: str
    at: float = 0.0


@dataclass(frozen=True)
class StageStarted:
    """A stage began; `steps` is the number of steps it will take, `about` what to show of it."""

    stage: str
    steps: int
    about: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True)
class StepCompleted:
    """A step was completed; `step` counts from 1, the metrics are named as in the registry."""

    stage: str
    step: int
    metrics: dict[str, float]
    at: float = 0.0


@dataclass(frozen=True)
class PhaseProgress:
    """Work between or after the steps of a stage, such as a reward model's normalization: `done` of `total` parts.

    It is passed on and not recorded: once the phase is over, nobody needs it.
    """

    stage: str
    phase: str
    done: int
    total: int
    at: float = 0.0


@dataclass(frozen=True)
class SamplesDrawn:
    """Prompts, responses and scores of one step; these go to samples.jsonl."""

    stage: str
    step: int
    samples: list[dict[str, Any]]
    at: float = 0.0


@dataclass(frozen=True)
class EvalCompleted:
    """Metrics on held-out data."""

    stage: str
    step: int
    metrics: dict[str, float]
    at: float = 0.0


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint, or the final model, is complete on disk; `path` is relative to the run directory."""

    stage: str
    step: int
    path: str
    at: float = 0.0


@dataclass(frozen=True)
class AlertRaised:
    """An alert: something looks wrong. `alert` is a short name, `message` one sentence with the value seen."""

    stage: str
    step: int
    alert: str
    message: str
    at: float = 0.0


@dataclass(frozen=True)
class StageFinished:
    """A stage is finished and its final directory is in place."""

    stage: str
    step: int
    metrics: dict[str, float]
    at: float = 0.0


@dataclass(frozen=True)
class ControlAcknowledged:
    """A numbered request of control.jsonl was carried out."""

    number: int
    request: str
    at: float = 0.0


Event = (
    RunStarted
    | RunResumed
    | RunPaused
    | RunFinished
    | RunFailed
    | StageStarted
    | StepCompleted
    | PhaseProgress
    | SamplesDrawn
    | EvalCompleted
    | CheckpointSaved
    | AlertRaised
    | StageFinished
    | ControlAcknowledged
)
E = TypeVar("E", bound=Event)
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Event)}


def stamp(event: E, at: float) -> E:
    """The event with its time set, in Unix seconds."""
    return replace(event, at=at)


def rounded(event: StepCompleted) -> StepCompleted:
    """The event with its metrics rounded to nine digits, all that float32 has, so that long runs are read faster."""
    return replace(event, metrics={name: float(f"{value:.{DIGITS}g}") for name, value in event.metrics.items()})


def to_row(event: Event) -> dict[str, Any]:
    """The event as a JSON-ready dictionary; NaN and infinities become "nan", "inf" and "-inf"."""
    row: dict[str, Any] = {"schema": SCHEMA, "event": type(event).__name__}
    row.update((item.name, _plain(getattr(event, item.name))) for item in fields(event))
    return row


def to_json(event: Event) -> str:
    """The event as one line of JSON without a line break."""
    return json.dumps(to_row(event), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(line: str | bytes) -> Event | None:
    """The event of one line, or None for a kind or a schema that this version does not know.

    Raises: ValueError if the line is not an event (torn, or not JSON).
    """
    return from_row(pydantic_core.from_json(line))


def from_row(row: Any) -> Event | None:
    """The event of a parsed line, or None for a kind or a schema that this version does not know.

    Unknown fields are dropped. Raises: ValueError if the row is not an event.
    """
    if not isinstance(row, dict) or "event" not in row:
        raise ValueError(f"not an event: {str(row)[:80]!r}")
    kind = _KINDS.get(row["event"])
    if kind is None or row.get("schema") != SCHEMA:
        return None
    known = {item.name for item in fields(kind)}
    values = {name: value for name, value in row.items() if name in known}
    if "metrics" in values:
        values["metrics"] = {name: number(value) for name, value in values["metrics"].items()}
    try:
        event: Event = kind(**values)
    except TypeError as error:
        raise ValueError(f"not a complete event: {str(row)[:80]!r}") from error
    return event


def is_clock(name: str) -> bool:
    """Whether a field or metric measures the machine's speed or memory rather than the run."""
    return name in CLOCK_FIELDS or name.endswith(("_s", "_mb"))


def without_clock(row: Any) -> Any:
    """A copy of a row, nested dictionaries and lists included, without clock fields, for comparing two runs."""
    if isinstance(row, dict):
        return {name: without_clock(value) for name, value in row.items() if not is_clock(name)}
    if isinstance(row, list):
        return [without_clock(value) for value in row]
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def number(value: Any) -> float:
    """A JSON value as a number, also one of the words "nan", "inf" and "-inf"; NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
