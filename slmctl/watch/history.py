"""What is known of a run, built from the news of follower.py: its stages, their numbers by step, alarms, samples, pace.

The same whether the run is followed from its first step or opened when it is long over, and whatever a resume took
back (engine.rundir.directory.effective). Metrics are parsed when they are asked for, once.
"""

import math
import re
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise, takewhile
from typing import Any, TypeVar

from engine.core.events import (
    AlarmRaised,
    CheckpointSaved,
    ControlAcknowledged,
    EvalCompleted,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    StageFinished,
    StageStarted,
)
from engine.rundir.directory import STAGES
from slmctl.watch.follower import WORKING, About, Drawn, Item, News, Pulse, Steps

RECENT_STEPS = 30  # from which the pace is told
NOTHING = -1  # the step past which all lies
CHUNK = 500  # rows read at once, so that their memory is used again: a third faster than all at once
SLOWEST = 5.0  # a gap so many times the usual one is a pause or a restart, not pace

_MARKS = count()

Stepped = TypeVar("Stepped", EvalCompleted, AlarmRaised, CheckpointSaved, Drawn)


@dataclass
class Stage:
    """What a stage said, in the order of its steps; `mark` is another after every change."""

    name: str
    steps: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    began_at: float | None = None
    done: list[int] = field(default_factory=list)
    done_at: list[float] = field(default_factory=list)
    evals: list[EvalCompleted] = field(default_factory=list)
    alarms: list[AlarmRaised] = field(default_factory=list)
    saves: list[CheckpointSaved] = field(default_factory=list)
    drawn: list[Drawn] = field(default_factory=list)
    finished: StageFinished | None = None
    mark: int = field(default_factory=lambda: next(_MARKS))
    _metrics: list[bytes | Mapping[str, float]] = field(default_factory=list)
    _columns: dict[str, list[float]] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """The last step that is done, 0 before the first."""
        return self.done[-1] if self.done else 0

    def take(self, item: Item) -> None:
        """Remembers what was said; a step said again takes the place of the former and of what came after it."""
        self.mark = next(_MARKS)
        if isinstance(item, Steps):
            if self.done and item.steps[0] <= self.done[-1]:
                self._cut(bisect_left(self.done, item.steps[0]))
            self.done += item.steps
            self.done_at += item.at
            self._metrics += item.metrics
        elif isinstance(item, StageStarted):
            self.steps = item.steps
            if self.began_at is None:
                self.began_at, self.about = item.at, item.about
        elif isinstance(item, StageFinished):
            self.finished = item
        elif isinstance(item, EvalCompleted):
            self.evals.append(item)
        elif isinstance(item, AlarmRaised):
            self.alarms.append(item)
        elif isinstance(item, CheckpointSaved):
            self.saves.append(item)

    def go_back(self, step: int) -> None:
        """Takes back what was said past a step, and the end; samples apart."""
        self.mark = next(_MARKS)
        self.finished = None
        self._cut(bisect_right(self.done, step))
        _keep_until(self.evals, step)
        _keep_until(self.alarms, step)
        _keep_until(self.saves, step)

    def column(self, metric: str) -> tuple[Sequence[int], Sequence[float]]:
        """(steps, values) of a metric; what is not finite, or was not said at a step, is NaN or as it was said."""
        if said := [event for event in self.evals if metric in event.metrics]:
            return [event.step for event in said], [event.metrics[metric] for event in said]
        if metric in self.end_metrics and self.finished is not None:
            return [self.finished.step], [self.finished.metrics[metric]]
        known = self._columns.setdefault(metric, [])
        known += _values(self._metrics[len(known) :], metric)
        return self.done, known

    def read(self, metrics: Iterable[str]) -> None:
        """Reads the columns of several metrics in one go: of a long run in half the time that `column` takes."""
        self._columns |= _table(self._metrics, [metric for metric in metrics if metric not in self._columns])

    def metrics(self) -> list[str]:
        """The names of all metrics of this stage, in the order in which it says them."""
        said = [_parsed(row) for row in (*self._metrics[:1], *self._metrics[-1:])]
        said += [event.metrics for event in self.evals]
        return list(dict.fromkeys(name for metrics in said for name in metrics))

    @property
    def end_metrics(self) -> dict[str, float]:
        """What was said at the end of the stage alone."""
        if self.finished is None:
            return {}
        before = self.metrics()
        return {name: value for name, value in self.finished.metrics.items() if name not in before}

    def latest(self) -> dict[str, float]:
        """The newest value of every metric."""
        found = dict(_parsed(self._metrics[-1])) if self._metrics else {}
        for event in self.evals:
            found.update(event.metrics)
        return found | (self.finished.metrics if self.finished else {})

    def step_s(self) -> float | None:
        """Seconds a step of late, pauses left out; None before there is a step to tell it from."""
        ends = self.done_at[-RECENT_STEPS - 1 :]
        if len(ends) <= RECENT_STEPS and self.began_at is not None and self.done and self.done[0] == 1:
            ends = [self.began_at, *ends]
        gaps = [max(0.0, b - a) for a, b in pairwise(ends)]
        if not gaps:
            return None
        usual = statistics.median(gaps)
        return statistics.fmean(min(gap, SLOWEST * usual) for gap in gaps)

    def _cut(self, count: int) -> None:
        del self.done[count:], self.done_at[count:], self._metrics[count:]
        for known in self._columns.values():
            del known[count:]


class Story:
    """What is known of one run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pulse, self.about = Pulse(), About()
        self._forget()

    def _forget(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.heard: dict[int, str] = {}
        self.ending: RunPaused | RunFinished | RunFailed | None = None
        self._spoke = ""

    def take(self, news: News) -> bool:
        """Adds what is new; whether anything is."""
        changed = bool(news.said or news.drawn or news.anew) or (news.pulse, news.about) != (self.pulse, self.about)
        if news.anew:
            self._forget()
        self.pulse, self.about = news.pulse, news.about
        for item in news.said:
            self._hear(item)
        for item in news.drawn:
            self._draw(item)
        return changed

    def stage(self, name: str) -> Stage:
        """A stage by name, empty where nothing was said of it."""
        return self.stages.get(name) or Stage(name)

    @property
    def names(self) -> list[str]:
        """The stages of the pipeline in order, then any others that were heard of."""
        return [*STAGES, *(name for name in self.stages if name not in STAGES)]

    @property
    def current(self) -> str:
        """The stage that is worked on, else the last that said anything; nothing where none did."""
        return self.pulse.stage if self.pulse.word in WORKING and self.pulse.stage else self._spoke

    @property
    def alarms(self) -> list[AlarmRaised]:
        """All alarms that hold, oldest first."""
        return sorted((alarm for stage in self.stages.values() for alarm in stage.alarms), key=lambda alarm: alarm.at)

    def steps_of(self, name: str) -> int:
        """How many steps a stage takes."""
        return self.pulse.steps if self.pulse.stage == name and self.pulse.steps else self.stage(name).steps

    def eta_s(self, now: float) -> float | None:
        """Seconds until the current stage ends at its pace; None where it is not known or nothing goes on."""
        stage = self.stage(self.current)
        pace = stage.step_s()
        if self.pulse.word not in ("running", "slow") or pace is None or stage.finished:
            return None
        left = pace * (self.steps_of(stage.name) - stage.step)
        return max(0.0, left - max(0.0, min(now - stage.done_at[-1], pace))) if stage.done else None

    def _hear(self, item: Item) -> None:
        if isinstance(item, ControlAcknowledged):
            self.heard[item.number] = item.request
        elif isinstance(item, (RunPaused, RunFinished, RunFailed)):
            self.ending = item
        elif isinstance(item, RunResumed):
            self.ending = None
            if item.from_step == 0:
                drawn = self.stage(item.stage).drawn
                self.stages.pop(item.stage, None)
                if drawn:
                    self.stages[item.stage] = Stage(item.stage, drawn=drawn)
            elif item.stage in self.stages:
                self.stages[item.stage].go_back(item.from_step)
        elif (name := getattr(item, "stage", None)) is not None:
            self._of(name).take(item)
            self._spoke = name

    def _draw(self, item: Item) -> None:
        if isinstance(item, RunResumed):
            _keep_until(self.stage(item.stage).drawn, item.from_step or NOTHING)
        elif isinstance(item, Drawn):
            drawn = self._of(item.stage).drawn
            while drawn and drawn[-1].step >= item.step:
                drawn.pop()
            drawn.append(item)

    def _of(self, name: str) -> Stage:
        return self.stages.setdefault(name, Stage(name))


def _keep_until(said: list[Stepped], step: int) -> None:
    """Drops the items past a step, in place."""
    if any(item.step > step for item in said):
        said[:] = [item for item in said if item.step <= step]


def _table(rows: Sequence[bytes | Mapping[str, float]], metrics: Sequence[str]) -> dict[str, list[float]]:
    """Those of the metrics that the first row says, as far as the rows after it have its fields in its order."""
    if not rows or not metrics or not isinstance(rows[0], bytes):
        return {}
    wanted = {f'"{metric}"'.encode(errors="replace"): metric for metric in metrics}
    fields = [pair.rpartition(b":")[0] for pair in rows[0].split(b",")]
    shown = [wanted[name] for name in fields if name in wanted]
    match = re.compile(b",".join(re.escape(name) + b":([^,]+)" if name in wanted else b"[^,]*" for name in fields))
    columns: list[list[float]] = [[] for _ in shown]
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        found = takewhile(bool, (match.fullmatch(row) if isinstance(row, bytes) else None for row in chunk))
        texts = [matched.groups() for matched in found if matched]
        for column, said in zip(columns, zip(*texts, strict=True), strict=False):
            column += _numbers(said)
        if len(texts) < len(chunk):
            break
    return dict(zip(shown, columns, strict=True))


def _numbers(texts: Sequence[bytes]) -> list[float]:
    try:
        return list(map(float, texts))
    except ValueError:
        return list(map(_worded, texts))


def _values(rows: Sequence[bytes | Mapping[str, float]], metric: str) -> list[float]:
    """One metric of each row; NaN where it was not said."""
    find = re.compile(re.escape(b'"' + metric.encode("utf-8", errors="replace") + b'":') + rb"([^,]+)").search
    found = []
    for row in rows:
        if not isinstance(row, bytes):
            found.append(row.get(metric, math.nan))
        elif match := find(row):
            try:
                found.append(float(match[1]))
            except ValueError:
                found.append(_worded(match[1]))
        else:
            found.append(math.nan)
    return found


def _worded(text: bytes) -> float:
    """ "nan", "inf" and "-inf", as JSON must hold them; NaN for anything else."""
    try:
        return float(text.strip().strip(b'"'))
    except ValueError:
        return math.nan


def _parsed(row: bytes | Mapping[str, float]) -> Mapping[str, float]:
    if not isinstance(row, bytes):
        return row
    pairs = (pair.rpartition(b":") for pair in row.split(b","))
    return {name.strip(b' "').decode("utf-8", errors="replace"): _worded(text) for name, mark, text in pairs if mark}
