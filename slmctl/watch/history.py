"""All that is known of a run, built from the updates of follower.py: its stages with their metrics by step, alerts,
samples and pace.

The result is the same whether a run is followed from its first step or opened later, and it leaves out what a resume
superseded (engine.rundir.directory.effective).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from engine.core.events import (
    AlertRaised,
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
from engine.core.pace import RECENT_STEPS, Pace
from engine.rundir.directory import STAGES
from engine.rundir.heartbeat import ACTIVE
from slmctl.watch.follower import Item, ProcessState, RunInfo, Steps, StepSamples, Update

BEFORE_ALL = -1  # a step before the first

_VERSIONS = count()

Stepped = TypeVar("Stepped", EvalCompleted, AlertRaised, CheckpointSaved, StepSamples)


@dataclass
class StageHistory:
    """What a stage reported, in the order of its steps; `version` changes with every change."""

    name: str
    total_steps: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    began_at: float | None = None
    steps: list[int] = field(default_factory=list)
    evals: list[EvalCompleted] = field(default_factory=list)
    alerts: list[AlertRaised] = field(default_factory=list)
    checkpoints: list[CheckpointSaved] = field(default_factory=list)
    samples: list[StepSamples] = field(default_factory=list)
    finished: StageFinished | None = None
    version: int = field(default_factory=lambda: next(_VERSIONS))
    _blocks: list[Steps] = field(default_factory=list)
    _columns: dict[str, list[float]] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """The last completed step, 0 before the first."""
        return self.steps[-1] if self.steps else 0

    def add(self, item: Item) -> None:
        """Adds an item; a step that was reported before replaces the earlier report and all that followed it."""
        self.version = next(_VERSIONS)
        if isinstance(item, Steps):
            if self.steps and item.steps[0] <= self.steps[-1]:
                self._cut(bisect_left(self.steps, item.steps[0]))
            self.steps += item.steps
            if self._blocks and self._blocks[-1].names == item.names:
                self._blocks[-1].extend(item)
            else:
                self._blocks.append(item)
        elif isinstance(item, StageStarted):
            self.total_steps = item.steps
            if self.began_at is None:
                self.began_at, self.about = item.at, item.about
        elif isinstance(item, StageFinished):
            self.finished = item
        elif isinstance(item, EvalCompleted):
            self.evals.append(item)
        elif isinstance(item, AlertRaised):
            self.alerts.append(item)
        elif isinstance(item, CheckpointSaved):
            self.checkpoints.append(item)

    def go_back(self, step: int) -> None:
        """Drops what was reported after a step, and the end; samples have a resume of their own."""
        self.version = next(_VERSIONS)
        self.finished = None
        self._cut(bisect_right(self.steps, step))
        _drop_after(self.evals, step)
        _drop_after(self.alerts, step)
        _drop_after(self.checkpoints, step)

    def column(self, metric: str) -> tuple[Sequence[int], Sequence[float]]:
        """(steps, values) of a metric; NaN at a step that did not report it."""
        if evals := [event for event in self.evals if metric in event.metrics]:
            return [event.step for event in evals], [event.metrics[metric] for event in evals]
        if metric in self.end_metrics and self.finished is not None:
            return [self.finished.step], [self.finished.metrics[metric]]
        column, start = self._columns.setdefault(metric, []), 0
        for block in self._blocks:
            if len(column) < start + len(block.steps):
                column += block.column(metric, len(column) - start)
            start += len(block.steps)
        return self.steps, column

    def metrics(self) -> list[str]:
        """The names of all metrics of this stage, in the order in which it reports them."""
        rows = [*(block.names for block in self._blocks), *(event.metrics for event in self.evals)]
        return list(dict.fromkeys(name for names in rows for name in names))

    @property
    def end_metrics(self) -> dict[str, float]:
        """The metrics that were reported only at the end of the stage."""
        if self.finished is None:
            return {}
        before = self.metrics()
        return {name: value for name, value in self.finished.metrics.items() if name not in before}

    def latest(self) -> dict[str, float]:
        """The newest value of every metric."""
        last = self._blocks[-1] if self._blocks else Steps(self.name, [])
        found = {name: last.column(name, len(last.steps) - 1)[0] for name in last.names}
        for event in self.evals:
            found.update(event.metrics)
        return found | (self.finished.metrics if self.finished else {})

    def _cut(self, count: int) -> None:
        del self.steps[count:]
        for column in self._columns.values():
            del column[count:]
        for block in self._blocks:
            block.cut(count)
            count -= len(block.steps)
        self._blocks = [block for block in self._blocks if block.steps]


class RunHistory:
    """All that is known of one run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process, self.info = ProcessState(), RunInfo()
        self._clear()

    def _clear(self) -> None:
        self.stages: dict[str, StageHistory] = {}
        self.acknowledged: dict[int, str] = {}
        self.ending: RunPaused | RunFinished | RunFailed | None = None
        self.pace = Pace()
        self._last_stage = ""

    def add(self, update: Update) -> bool:
        """Adds an update; returns whether anything is new."""
        changed = bool(update.events or update.samples or update.restarted)
        changed |= (update.process, update.info) != (self.process, self.info)
        if update.restarted:
            self._clear()
        self.process, self.info = update.process, update.info
        for item in update.events:
            self._add_event(item)
        for item in update.samples:
            self._add_samples(item)
        return changed

    def stage(self, name: str) -> StageHistory:
        """A stage by name, empty if it reported nothing."""
        return self.stages.get(name) or StageHistory(name)

    @property
    def stage_names(self) -> list[str]:
        """The stages of the pipeline in order, then any others that reported something."""
        return [*STAGES, *(name for name in self.stages if name not in STAGES)]

    @property
    def current(self) -> str:
        """The stage at work, or else the last that reported anything, or else ""."""
        return self.process.stage if self.process.state in ACTIVE and self.process.stage else self._last_stage

    @property
    def alerts(self) -> list[AlertRaised]:
        """All alerts that were not superseded, oldest first."""
        return sorted((alert for stage in self.stages.values() for alert in stage.alerts), key=lambda alert: alert.at)

    def steps_of(self, name: str) -> int:
        """The number of steps that a stage takes."""
        return self.process.steps if self.process.stage == name and self.process.steps else self.stage(name).total_steps

    def step_s(self) -> float | None:
        """Seconds per step of the current stage, or None if unknown."""
        return self.pace.step_s() if self.pace.stage == self.current else None

    def eta_s(self, now: float) -> float | None:
        """Seconds until the current stage ends; None if unknown or if the run is not at work."""
        name = self.current
        if self.process.state not in ("running", "slow") or self.pace.stage != name or self.stage(name).finished:
            return None
        return self.pace.left_s(self.steps_of(name), now)

    def _add_event(self, item: Item) -> None:
        if isinstance(item, Steps):
            for step, at in zip(item.steps[-RECENT_STEPS - 1 :], item.at[-RECENT_STEPS - 1 :], strict=True):
                self.pace.complete(item.stage, step, at)
        elif not isinstance(item, StepSamples):
            self.pace.take(item)
        if isinstance(item, ControlAcknowledged):
            self.acknowledged[item.number] = item.request
        elif isinstance(item, (RunPaused, RunFinished, RunFailed)):
            self.ending = item
        elif isinstance(item, RunResumed):
            self.ending = None
            if item.from_step == 0:
                samples = self.stage(item.stage).samples
                self.stages.pop(item.stage, None)
                if samples:
                    self.stages[item.stage] = StageHistory(item.stage, samples=samples)
            elif item.stage in self.stages:
                self.stages[item.stage].go_back(item.from_step)
        elif (name := getattr(item, "stage", None)) is not None:
            self._opened(name).add(item)
            self._last_stage = name

    def _add_samples(self, item: Item) -> None:
        if isinstance(item, RunResumed):
            _drop_after(self.stage(item.stage).samples, item.from_step or BEFORE_ALL)
        elif isinstance(item, StepSamples):
            samples = self._opened(item.stage).samples
            while samples and samples[-1].step >= item.step:
                samples.pop()
            samples.append(item)

    def _opened(self, name: str) -> StageHistory:
        if name not in self.stages:
            self.stages[name] = StageHistory(name)
        return self.stages[name]


def _drop_after(items: list[Stepped], step: int) -> None:
    """Drops the items after a step, in place."""
    if any(item.step > step for item in items):
        items[:] = [item for item in items if item.step <= step]
