"""Events to text: progress bars on a terminal, plain lines off it, JSON rows where asked for.

Progress and notes go to stderr, rows of --jsonl to stdout. All text passes tui/safe.py. Times come from the events, so
that a replayed run looks like the one that was lived.
"""

import math
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Protocol

from engine.core.events import (
    AlarmRaised,
    ControlAcknowledged,
    EvalCompleted,
    Event,
    RunPaused,
    RunResumed,
    StageFinished,
    StageStarted,
    StepCompleted,
    to_json,
)
from slmctl.console.safe import one_line

KEY_METRICS: dict[str, tuple[str, ...]] = {
    "pretrain": ("loss", "validation_loss"),
    "sft": ("loss", "validation_loss"),
    "comparisons": ("response_tokens", "utility"),
    "rm": ("accuracy", "validation_accuracy"),
    "ppo": ("score", "kl_nats", "response_tokens"),
    "eval": (),
}
SHORT = {"validation_loss": "held-out", "validation_accuracy": "held-out", "kl_nats": "KL", "response_tokens": "tokens"}
LINE_EVERY_S = 5.0


@dataclass(frozen=True)
class View:
    """How a command reports: one object, rows, plain lines, or only results and errors."""

    json: bool = False
    jsonl: bool = False
    plain: bool = False
    quiet: bool = False


class Reporter(Protocol):
    """Takes the events of a run, one by one."""

    def show(self, event: Event) -> None:
        """Reports one event."""

    def close(self) -> None:
        """Leaves the terminal as it was."""


class Silent:
    """Says nothing but alarms."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def show(self, event: Event) -> None:
        """Writes an alarm as one line."""
        if isinstance(event, AlarmRaised):
            self._out.write(note(event) + "\n")
            self._out.flush()

    def close(self) -> None:
        """Nothing is open."""


class UntilUnread:
    """Passes events on for as long as somebody reads; a reader who goes away does not stop a run."""

    def __init__(self, inner: Reporter, out: IO[str]) -> None:
        self._inner, self._out = inner, out

    def show(self, event: Event) -> None:
        """Reports one event, or nothing once nobody reads."""
        self._try(lambda: self._inner.show(event))

    def close(self) -> None:
        """Leaves the terminal as it was."""
        self._try(self._inner.close)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
            self._inner = Silent(self._out)


class Rows:
    """Writes each event as a JSON row."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def show(self, event: Event) -> None:
        """Writes one row."""
        self._out.write(to_json(event) + "\n")
        self._out.flush()

    def close(self) -> None:
        """Nothing is open."""


class Lines:
    """Plain lines: one where something begins, ends or goes wrong, and one every few seconds in between."""

    def __init__(self, out: IO[str], run: str, every_s: float = LINE_EVERY_S) -> None:
        self._out, self._every_s = out, every_s
        self._pace = Pace(run)
        self._last_at = 0.0

    def show(self, event: Event) -> None:
        """Writes a line where one is due."""
        self._pace.take(event)
        if isinstance(event, StepCompleted):
            if event.at - self._last_at < self._every_s and event.step < self._pace.steps:
                return
            self._write(f"{event.stage} {event.step}/{self._pace.steps}  {self._pace.numbers()}  {self._pace.timing()}")
            self._last_at = event.at
        elif line := self._pace.note(event):
            self._last_at = event.at
            self._write(line)

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, line: str) -> None:
        self._out.write(line.rstrip() + "\n")
        self._out.flush()


class Pace:
    """The stage of `run` that is worked on now: its steps, latest metrics and speed, and whether it is paused."""

    def __init__(self, run: str) -> None:
        self._run, self._paused = run, False
        self.stage, self.steps, self.step = "", 0, 0
        self.metrics: dict[str, float] = {}
        self._first: tuple[int, float] | None = None
        self._now = 0.0

    def take(self, event: Event) -> None:
        """Remembers what an event says."""
        self._now = event.at
        if isinstance(event, StageStarted):
            self.stage, self.steps, self.step, self.metrics = event.stage, event.steps, 0, {}
            self._first = None
        elif isinstance(event, StepCompleted):
            self.step = event.step
            self._first = self._first or (event.step, event.at)
            self.metrics.update(event.metrics)
        elif isinstance(event, EvalCompleted):
            self.metrics.update(event.metrics)
        elif isinstance(event, ControlAcknowledged) and event.request != "save":
            self._paused, self._first = event.request == "pause", None

    def note(self, event: Event) -> str:
        """The sentence that an event is worth, or nothing; of a pause, how to end it."""
        if not isinstance(event, ControlAcknowledged):
            return note(event)
        again = shlex.join(("slmctl", "watch", self._run))
        told = {
            "pause": f"paused after step {self.step}; to go on: p in {again}; Ctrl-C saves and stops",
            "resume": f"going on after step {self.step}",
            "save": f"asked to save after step {self.step}",
        }
        return one_line(f"{self.stage}: {told[event.request]}") if event.request in told else ""

    def numbers(self) -> str:
        """The two or three numbers that matter in this stage, where they have been reported."""
        return numbers_of(self.stage, self.metrics)

    def step_s(self) -> float | None:
        """Seconds a step since this process joined the stage, or None before two steps."""
        if self._first is None or self.step <= self._first[0]:
            return None
        return max(0.0, self._now - self._first[1]) / (self.step - self._first[0])

    def timing(self) -> str:
        """Steps a second and time left, or nothing before they are known; or that it is paused."""
        if self._paused:
            return "paused"
        step_s = self.step_s()
        if step_s is None:
            return ""
        rate = f"{1 / step_s:.2g}/s " if step_s else ""
        return f"{rate}{duration((self.steps - self.step) * step_s)} left"


def numbers_of(stage: str, metrics: Mapping[str, float]) -> str:
    """The two or three numbers that matter in a stage, where they have been reported."""
    found = [(name, metrics.get(f"{stage}/{name}")) for name in KEY_METRICS.get(stage, ())]
    told = [(name, value) for name, value in found if value is not None and not math.isnan(value)]
    return "  ".join(f"{SHORT.get(name, name)} {value:.3g}" for name, value in told)


def note(event: Event) -> str:
    """The sentence that an event is worth, or nothing."""
    if isinstance(event, StageStarted):
        about = ", ".join(f"{name} {_shown(value)}" for name, value in event.about.items())
        return one_line(f"{event.stage}: {event.steps} steps" + (f" ({about})" if about else ""))
    if isinstance(event, AlarmRaised):
        return one_line(f"alarm at {event.stage} step {event.step}: {event.message} [{event.alarm}]")
    if isinstance(event, RunResumed):
        return f"{event.stage}: going on after step {event.from_step}" if event.from_step else ""
    if isinstance(event, RunPaused):
        return one_line(f"{event.stage}: stopped after step {event.step}, {event.reason}")
    if isinstance(event, StageFinished):
        return f"{event.stage}: done  {numbers_of(event.stage, event.metrics)}".rstrip()
    return ""


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 3:05 min, 2:10 h."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def reporter(view: View, run: str) -> Reporter:
    """The reporter for a view of a run: bars where stderr is a terminal, lines where it is not."""
    if view.jsonl:
        return Rows(sys.stdout)
    if view.quiet:
        return Silent(sys.stderr)
    if view.plain or not sys.stderr.isatty():
        return Lines(sys.stderr, run)
    from slmctl.console.progress_bars import Bars

    return Bars(run)


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
