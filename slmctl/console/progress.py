"""Events to text: progress bars on a terminal, plain lines off it, JSON rows on request.

Progress and notes go to stderr, the rows of --jsonl to stdout. All text passes console.safe. Times come from the
events, so that a replayed run looks like a live one.
"""

import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Protocol

from engine.core.events import (
    AlertRaised,
    ControlAcknowledged,
    EvalCompleted,
    Event,
    PhaseProgress,
    RunPaused,
    RunResumed,
    StageFinished,
    StageStarted,
    StepCompleted,
)
from engine.core.metrics import headline
from engine.core.pace import Pace
from slmctl.console.safe import one_line

LINE_EVERY_S = 5.0


@dataclass(frozen=True)
class OutputOptions:
    """What a command prints: one JSON object, JSON rows, plain lines, or only results, alerts and errors."""

    json: bool = False
    jsonl: bool = False
    plain: bool = False
    quiet: bool = False


class Reporter(Protocol):
    """Reports the events of a run, one by one."""

    def show(self, event: Event) -> None:
        """Reports one event."""

    def close(self) -> None:
        """Leaves the terminal as it was."""


class LineReporter:
    """Writes a line for each event that `line_of` has one for."""

    def __init__(self, out: IO[str], line_of: Callable[[Event], str]) -> None:
        self._out, self._line_of = out, line_of

    def show(self, event: Event) -> None:
        """Writes the line of one event."""
        if line := self._line_of(event):
            self._out.write(line.rstrip() + "\n")
            self._out.flush()

    def close(self) -> None:
        """Nothing is open."""


class EventLines:
    """The line of an event: one where something begins, ends or goes wrong, and one every few seconds in between."""

    def __init__(self, run: str, every_s: float = LINE_EVERY_S, stages: Sequence[str] = ()) -> None:
        self._every_s = every_s
        self._progress = StageProgress(run, stages)
        self._last_at = 0.0

    def __call__(self, event: Event) -> str:
        """The line, "" if none is due."""
        progress, due = self._progress, event.at - self._last_at >= self._every_s
        progress.take(event)
        line = progress.note(event)
        if isinstance(event, StepCompleted) and (due or event.step >= progress.pace.steps):
            line = f"{event.stage} {event.step}/{progress.pace.steps}  {progress.headline()}  {progress.time_left()}"
        elif isinstance(event, PhaseProgress) and due:
            line = f"{event.stage} {event.phase} {event.done}/{event.total}"
        if line:
            self._last_at = event.at
        return line


def alert_line(event: Event) -> str:
    """The line of an alert, "" for other events."""
    return note(event) if isinstance(event, AlertRaised) else ""


class UntilPipeCloses:
    """Reports for as long as somebody reads; a reader that goes away does not stop the run."""

    def __init__(self, inner: Reporter, out: IO[str]) -> None:
        self._inner, self._out = inner, out

    def show(self, event: Event) -> None:
        """Reports one event, or nothing once the pipe is closed."""
        self._try(lambda: self._inner.show(event))

    def close(self) -> None:
        """Leaves the terminal as it was."""
        self._try(self._inner.close)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
            self._inner = LineReporter(self._out, alert_line)


class StageProgress:
    """The current stage of `run` as text: its place among all `stages`, latest metrics, pace, whether it is paused."""

    def __init__(self, run: str, stages: Sequence[str] = ()) -> None:
        self._run, self._stages = run, stages
        self.pace = Pace()
        self.metrics: dict[str, float] = {}

    def take(self, event: Event) -> None:
        """Updates it with the next event."""
        self.pace.take(event)
        if isinstance(event, StageStarted):
            self.metrics = {}
        elif isinstance(event, (StepCompleted, EvalCompleted)):
            self.metrics.update(event.metrics)

    def title(self, stage: str) -> str:
        """A stage's name with its number among several: 2/6 sft."""
        several = len(self._stages) > 1 and stage in self._stages
        return f"{self._stages.index(stage) + 1}/{len(self._stages)} {stage}" if several else stage

    def note(self, event: Event) -> str:
        """The sentence that an event deserves, or ""; for a pause, with the way to end it."""
        if isinstance(event, StageStarted):
            return note(replace(event, stage=self.title(event.stage)))
        if not isinstance(event, ControlAcknowledged):
            return note(event)
        step, watch = self.pace.step, shlex.join(("slmctl", "watch", self._run))
        notes = {
            "pause": f"paused after step {step}; to resume, press p in {watch}; Ctrl-C saves and stops",
            "resume": f"resumed after step {step}",
            "save": f"saving after step {step}",
        }
        return one_line(f"{self.pace.stage}: {notes[event.request]}") if event.request in notes else ""

    def headline(self) -> str:
        """The two or three metrics that matter most in this stage, as far as they were reported."""
        return headline_of(self.pace.stage, self.metrics)

    def time_left(self) -> str:
        """Steps per second and time left, "" before they are known, or that the run is paused."""
        if self.pace.paused:
            return "paused"
        step_s, left_s = self.pace.step_s(), self.pace.left_s()
        if step_s is None or left_s is None:
            return ""
        rate = f"{1 / step_s:.2g}/s " if step_s else ""
        return f"{rate}{duration(left_s)} left"


def headline_of(stage: str, metrics: Mapping[str, float]) -> str:
    """The two or three metrics that matter most in a stage, as far as they were reported."""
    found = [(metric.headline, metrics.get(metric.name, math.nan)) for metric in headline(stage)]
    return "  ".join(f"{label} {value:.3g}" for label, value in found if not math.isnan(value))


def note(event: Event) -> str:
    """The sentence that an event deserves, or ""."""
    if isinstance(event, StageStarted):
        about = ", ".join(f"{name.replace('_', ' ')} {_formatted(value)}" for name, value in event.about.items())
        return one_line(f"{event.stage}: {event.steps} steps" + (f" ({about})" if about else ""))
    if isinstance(event, AlertRaised):
        return one_line(f"alert at {event.stage} step {event.step}: {event.message}")
    if isinstance(event, RunResumed):
        return f"{event.stage}: resuming after step {event.from_step}" if event.from_step else ""
    if isinstance(event, RunPaused):
        return one_line(f"{event.stage}: stopped after step {event.step}, {event.reason}")
    if isinstance(event, StageFinished):
        return f"{event.stage}: finished  {headline_of(event.stage, event.metrics)}".rstrip()
    return ""


def duration(seconds: float) -> str:
    """Seconds in words: 42 s, 3:05 min, 2:10 h."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def _formatted(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
