"""Running a run: one stage after another, each resumed where it was, every event recorded, every request answered.

The one writer of a run directory. Stages yield events; here they are stamped, appended and passed on. Requests of other
processes are answered when a stage asks whether to stop: its step is complete by then.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import isfinite
from typing import Any

import torch

from engine.core.errors import DivergedError, EngineError, FileError, disk_error
from engine.core.events import (
    AlertRaised,
    ControlAcknowledged,
    Event,
    PhaseProgress,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    StageFinished,
    StageStarted,
    StepCompleted,
    rounded,
    stamp,
)
from engine.core.pace import Pace
from engine.run.machine import memory_error, peak_rss_mb, versions
from engine.run.planning import Prepared, begin_fresh
from engine.run.stages import open_stage
from engine.rundir.directory import STAGES, RunDir, write_text
from engine.rundir.heartbeat import Heartbeat, pending_requests
from engine.train.saver import Saver

PAUSE_POLL_S = 0.25
PEAK = "/peak_rss_mb"


def execute(prepared: Prepared, should_stop: Callable[[], bool], tell: Callable[[Event], None]) -> bool:
    """Runs the prepared stages, and returns whether they are done; `tell` gets every event once it is recorded.

    Asks `should_stop` each step: the stage finishes the step, saves, and RunPaused is the last event.
    Raises: EngineError as a stage does, after RunFailed is recorded; RunConflictError if another process has the run.
    """
    driver = Driver(prepared, should_stop, tell)
    for _ in driver.steps_of_run():
        pass
    return driver.done


def iterate(prepared: Prepared, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Runs the prepared stages, and yields every event once it is recorded. Raises: as `execute`."""
    events = deque[Event]()
    for _ in Driver(prepared, should_stop, events.append).steps_of_run():
        while events:
            yield events.popleft()


@dataclass
class Driver:
    """A run in progress: what was asked of it, and the stage and step it is at."""

    prepared: Prepared
    asked_to_stop: Callable[[], bool]
    tell: Callable[[Event], None]
    stage: str = ""
    step: int = 0
    steps: int = 0
    stopping: str = ""  # the reason, once it is
    done: bool = False
    last_request: int = 0  # the last numbered request that was answered
    saver: Saver | None = None  # of a stage that saves before its end
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        self.rundir = self.prepared.rundir
        self.heartbeat = Heartbeat(self.rundir, self.prepared.last)

    def steps_of_run(self) -> Iterator[None]:
        """Does all the work, and yields after each event of a stage.

        What --fresh deletes is deleted once the first stage has everything that it needs.
        """
        with self.rundir.lock():
            opened: dict[str, Iterator[Event]] = {}
            if self.prepared.dropped:
                stage = self.prepared.stages[0]
                try:
                    opened[stage] = self._open(stage)
                except Exception as error:
                    if (explained := self._explained(error, stage)) is error:
                        raise
                    raise explained from error
                begin_fresh(self.prepared)
            with self.heartbeat:
                yield from self._run(opened)

    def _run(self, opened: dict[str, Iterator[Event]]) -> Iterator[None]:
        self.last_request = max((request.number for request in pending_requests(self.rundir, 0)), default=0)
        try:
            self._begin()
            for stage in self.prepared.stages:
                yield
                self.stage, self.step = stage, self._checkpoints(stage).latest()
                self.heartbeat.update(stage=stage, step=self.step, steps=0, step_s=0.0)
                for event in opened.get(stage) or self._open(stage):
                    self.record(event)
                    yield
                ended = stage == self.prepared.stages[-1] and self.rundir.finished(stage) is not None
                if self.stopping and not ended:
                    self.heartbeat.update(state="stopped")
                    self.record(RunPaused(self.stage, self.step, self.stopping))
                    yield
                    return
            self.heartbeat.update(state="finished")
            self.record(RunFinished(self.prepared.last))
            self.done = True
            yield
        except Exception as error:  # other processes must hear of internal errors too
            self.heartbeat.update(state="failed")
            explained = self._explained(error, self.stage)
            sentence = str(explained) if isinstance(explained, EngineError) else f"internal error: {error!r}"
            with suppress(OSError, FileError):  # on a full disk nothing can be recorded
                if isinstance(error, DivergedError):  # for other processes; the caller gets the error itself
                    self.write(AlertRaised(self.stage, self.step + 1, "nan", str(error)))
                self.record(RunFailed(self.stage or self.prepared.last, sentence))
            if explained is error:
                raise
            raise explained from error

    def _explained(self, error: Exception, stage: str) -> Exception:
        """The error as one sentence for a person where there is one, else itself."""
        return disk_error(error, self.rundir.path) or memory_error(error, stage) or error

    def _open(self, stage: str) -> Iterator[Event]:
        """A stage that has everything that it needs, and has not started."""
        if self.prepared.config.threads is not None:
            torch.set_num_threads(self.prepared.config.threads)
        events, saver = open_stage(stage, self.prepared, self.should_stop, lambda row: publish(self.prepared, row))
        self.saver = None if stage == "eval" else saver
        return events

    def _checkpoints(self, stage: str) -> Saver:
        """The saved steps of a stage, to be read only."""
        return Saver(stage, self.rundir.stage_dir(stage), every=1)

    def _begin(self) -> None:
        """Records that the run begins or from where its stages resume, and the events that a crash lost."""
        stages, config, known = self.prepared.stages, self.prepared.config, self.rundir.read_events()
        if not any(isinstance(event, StageStarted) for event in known):  # new, or restarted as a whole
            self.record(RunStarted(self.rundir.name, config.seed, versions(config)))
        if not known:
            return
        for stage in STAGES:
            finished = any(isinstance(event, StageFinished) and event.stage == stage for event in known)
            if self.rundir.final(stage).is_dir() and not finished:
                steps = (event.step for event in known if isinstance(event, StepCompleted) and event.stage == stage)
                self.record(RunResumed(stage, max(steps, default=0)))
                for event in self._checkpoints(stage).final_events():
                    if event not in [stamp(old, event.at) for old in known]:
                        self.record(event)
        begun = {event.stage for event in known if isinstance(event, StageStarted)}
        for stage in stages:
            if stage not in begun and stage != stages[0]:
                continue
            checkpoints = self._checkpoints(stage)
            step = checkpoints.latest()
            self.record(RunResumed(stage, step))
            saved = checkpoints.saved_event(step)
            if step and saved not in [stamp(event, 0.0) for event in self.rundir.read_events()]:
                self.record(saved)

    def record(self, event: Event) -> None:
        """Appends an event to the run directory, and passes it on; the progress of a phase is only passed on."""
        self.tell(stamp(event, time.time()) if isinstance(event, PhaseProgress) else self.write(event))

    def write(self, event: Event) -> Event:
        """The event with its time, appended to the run directory; the end of a stage with the memory it took."""
        if isinstance(event, StepCompleted):
            event = rounded(event)
        if isinstance(event, StageFinished):
            event = replace(event, metrics=event.metrics | {event.stage + PEAK: peak_rss_mb()})
        stamped = stamp(event, time.time())
        self.rundir.append(stamped)
        self.pace.take(stamped)
        if isinstance(stamped, StageStarted):
            self.stage, self.steps = stamped.stage, stamped.steps
        if isinstance(stamped, StepCompleted):
            self.step = stamped.step
            self.heartbeat.update(self.stage, self.step, self.steps, self.pace.step_s() or 0.0)
        return stamped

    def should_stop(self) -> bool:
        """Whether the stage must save and return after this step; answers requests first, and waits while paused.

        At the last step of a stage requests wait for the next stage, since the end is saved in any case.
        """
        if self.step < self.steps:
            self._answer_requests()
        if not self.stopping and self.asked_to_stop():
            self.stopping = "by a signal"
        return bool(self.stopping)

    def _answer_requests(self) -> None:
        """Does what the requests of control.jsonl ask for, each acknowledged by an event; waits while paused."""
        paused = False
        while True:
            for request in pending_requests(self.rundir, self.last_request):
                self.last_request = request.number
                if request.request != "save":
                    paused = request.request == "pause"
                if request.request == "stop":
                    self.stopping = "as requested"
                self.heartbeat.update(state="paused" if paused else "running")
                self.record(ControlAcknowledged(request.number, request.request))
                if request.request == "save" and self.saver is not None:
                    for event in self.saver.save(self.step):
                        self.record(event)
            if not paused or self.asked_to_stop():
                return
            time.sleep(PAUSE_POLL_S)


def publish(prepared: Prepared, numbers: dict[str, Any]) -> None:
    """Writes result.json: the evaluation's numbers with the run's own; null for what is not finite."""
    rundir = prepared.rundir
    seconds = stage_seconds(rundir.all_events())
    ends = [event.metrics.items() for event in rundir.read_events() if isinstance(event, StageFinished)]
    peaks = [value for metrics in ends for name, value in metrics if name.endswith(PEAK)]
    result = {
        "run": rundir.name,
        "seed": prepared.config.seed,
        **numbers,
        "alerts": sorted(set(alerts_of(rundir))),
        "stage_s": seconds,
        "elapsed_s": sum(seconds.values()),
        "peak_rss_mb": max(peaks, default=0.0),
    }
    infinite = [name for name, value in result.items() if isinstance(value, float) and not isfinite(value)]
    result |= dict.fromkeys(infinite)
    write_text(rundir.result, json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def alerts_of(rundir: RunDir) -> Iterator[str]:
    """The alerts of every stage, including those shared with another run."""
    for stage in STAGES:
        path = rundir.finished(stage)
        trained = rundir if path is None else RunDir(path.parents[1])
        raised = (event for event in trained.read_events() if isinstance(event, AlertRaised))
        yield from (event.alert for event in raised if event.stage == stage)


def stage_seconds(events: list[Event]) -> dict[str, float]:
    """Wall time by stage in seconds, of all processes that worked on it: the gaps between events, without those before
    a process started, while it was paused, or before the stage was restarted with --fresh."""
    seconds: dict[str, float] = {}
    paused = False
    for before, event in pairwise(events):
        if isinstance(event, RunResumed) and event.fresh:
            seconds.pop(event.stage, None)
        stage = getattr(event, "stage", None) or getattr(before, "stage", None)
        if isinstance(before, ControlAcknowledged) and before.request != "save":
            paused = before.request == "pause"
        elif isinstance(before, (StepCompleted, RunResumed)):
            paused = False
        if stage is not None and not paused and not isinstance(event, (RunStarted, RunResumed)):
            seconds[stage] = seconds.get(stage, 0.0) + event.at - before.at
    return seconds
