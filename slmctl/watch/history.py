"""What is known of a run, built from the news of follower.py: its stages, their numbers by step, alarms, samples, pace.

The same whether the run is followed from its first step or opened when it is long over, and whatever a resume took
back (engine.rundir.directory.effective).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
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
    number,
)
from engine.core.pace import RECENT_STEPS, Pace
from engine.rundir.directory import STAGES
from slmctl.watch.follower import WORKING, Item, ProcessState, RunInfo, Steps, StepSamples, Update

NOTHING = -1  # the step past which all lies

_MARKS = count()

Stepped = TypeVar("Stepped", EvalCompleted, AlarmRaised, CheckpointSaved, StepSamples)


@dataclass
class StageHistory:
    """What a stage said, in the order of its steps; `mark` is another after every change."""

    name: str
    steps: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    began_at: float | None = None
    done: list[int] = field(default_factory=list)
    evals: list[EvalCompleted] = field(default_factory=list)
    alarms: list[AlarmRaised] = field(default_factory=list)
    saves: list[CheckpointSaved] = field(default_factory=list)
    drawn: list[StepSamples] = field(default_factory=list)
    finished: StageFinished | None = None
    mark: int = field(default_factory=lambda: next(_MARKS))
    _metrics: list[Mapping[str, Any]] = field(default_factory=list)
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
        known += _numbers([row.get(metric, math.nan) for row in self._metrics[len(known) :]])
        return self.done, known

    def metrics(self) -> list[str]:
        """The names of all metrics of this stage, in the order in which it says them."""
        said = [*self._metrics[:1], *self._metrics[-1:], *(event.metrics for event in self.evals)]
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
        found = {name: number(value) for name, value in self._metrics[-1].items()} if self._metrics else {}
        for event in self.evals:
            found.update(event.metrics)
        return found | (self.finished.metrics if self.finished else {})

    def _cut(self, count: int) -> None:
        del self.done[count:], self._metrics[count:]
        for known in self._columns.values():
            del known[count:]


class RunHistory:
    """What is known of one run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pulse, self.about = ProcessState(), RunInfo()
        self._forget()

    def _forget(self) -> None:
        self.stages: dict[str, StageHistory] = {}
        self.heard: dict[int, str] = {}
        self.ending: RunPaused | RunFinished | RunFailed | None = None
        self.pace = Pace()
        self._spoke = ""

    def take(self, news: Update) -> bool:
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

    def stage(self, name: str) -> StageHistory:
        """A stage by name, empty where nothing was said of it."""
        return self.stages.get(name) or StageHistory(name)

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
        name = self.current
        if self.pulse.word not in ("running", "slow") or self.pace.stage != name or self.stage(name).finished:
            return None
        return self.pace.left_s(self.steps_of(name), now)

    def step_s(self) -> float | None:
        """Seconds a step of the current stage; None where they are not known."""
        return self.pace.step_s() if self.pace.stage == self.current else None

    def _hear(self, item: Item) -> None:
        if isinstance(item, Steps):
            for step, at in zip(item.steps[-RECENT_STEPS - 1 :], item.at[-RECENT_STEPS - 1 :], strict=True):
                self.pace.complete(item.stage, step, at)
        elif not isinstance(item, StepSamples):
            self.pace.take(item)
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
                    self.stages[item.stage] = StageHistory(item.stage, drawn=drawn)
            elif item.stage in self.stages:
                self.stages[item.stage].go_back(item.from_step)
        elif (name := getattr(item, "stage", None)) is not None:
            self._of(name).take(item)
            self._spoke = name

    def _draw(self, item: Item) -> None:
        if isinstance(item, RunResumed):
            _keep_until(self.stage(item.stage).drawn, item.from_step or NOTHING)
        elif isinstance(item, StepSamples):
            drawn = self._of(item.stage).drawn
            while drawn and drawn[-1].step >= item.step:
                drawn.pop()
            drawn.append(item)

    def _of(self, name: str) -> StageHistory:
        return self.stages.setdefault(name, StageHistory(name))


def _keep_until(said: list[Stepped], step: int) -> None:
    """Drops the items past a step, in place."""
    if any(item.step > step for item in said):
        said[:] = [item for item in said if item.step <= step]


def _numbers(values: Sequence[Any]) -> list[float]:
    try:
        return list(map(float, values))
    except (TypeError, ValueError, OverflowError):
        return list(map(number, values))
