"""Driving a run: one stage after another, each resumed where it was, every event recorded, every request heeded.

The one writer of a run directory. Stages yield events; here they are stamped, appended and told. Requests are heeded
when a stage asks whether to stop: by then all that a step says has been said.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import isfinite
from typing import Any

from engine.core.errors import DivergedError, EngineError, FileError, disk_error
from engine.core.events import (
    AlarmRaised,
    ControlAcknowledged,
    Event,
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
from engine.run.machine import memory_error, peak_rss_mb, prepare_machine, versions
from engine.run.planning import Prepared, begin_fresh
from engine.run.stages import OPENERS, Bench, make_saver
from engine.rundir.directory import STAGES, RunDir, write_text
from engine.rundir.heartbeat import Heartbeat, pending_requests
from engine.train.saver import Saver

PAUSE_POLL_S = 0.25
PEAK = "/peak_rss_mb"


@dataclass
class Driver:
    """A run while it is driven: what was asked of it, and the stage and step it is at."""

    prepared: Prepared
    heartbeat: Heartbeat
    asked_to_stop: Callable[[], bool]
    tell: Callable[[Event], None]
    heard: int  # the last numbered request that was acted on
    stage: str = ""
    step: int = 0
    steps: int = 0
    stopping: str = ""  # why, once it is
    saver: Saver | None = None  # of a stage that saves before its end
    pace: Pace = field(default_factory=Pace)

    @property
    def rundir(self) -> RunDir:
        return self.prepared.rundir

    def record(self, event: Event) -> None:
        """Appends an event to the run directory, and tells it."""
        self.tell(self.write(event))

    def write(self, event: Event) -> Event:
        """The event with its time, appended to the run directory; the end of a stage with the memory it took."""
        if isinstance(event, StepCompleted):
            event = rounded(event)
        if isinstance(event, StageFinished):
            event = replace(event, metrics=event.metrics | {event.stage + PEAK: peak_rss_mb()})
        stamped = stamp(event, time.time())
        self.rundir.append(stamped)
        self._beat(stamped)
        return stamped

    def should_stop(self) -> bool:
        """Whether the stage must save and return after this step; what was asked is done first, a pause waited out.

        At the last step of a stage requests wait for the next one, for the end is saved in any case.
        """
        if self.step < self.steps:
            self._obey()
        if not self.stopping and self.asked_to_stop():
            self.stopping = "by a signal"
        return bool(self.stopping)

    def _obey(self) -> None:
        """Heeds the requests of control.jsonl that have come, each acknowledged by an event; waits while paused."""
        paused = False
        while True:
            for request in pending_requests(self.rundir, self.heard):
                self.heard = request.number
                if request.request != "save":
                    paused = request.request == "pause"
                if request.request == "stop":
                    self.stopping = "as was asked"
                self.heartbeat.update(state="paused" if paused else "running")
                self.record(ControlAcknowledged(request.number, request.request))
                if request.request == "save" and self.saver is not None:
                    for event in self.saver.save(self.step):
                        self.record(event)
            if not paused or self.asked_to_stop():
                return
            time.sleep(PAUSE_POLL_S)

    def _beat(self, event: Event) -> None:
        self.pace.take(event)
        if isinstance(event, StageStarted):
            self.stage, self.steps = event.stage, event.steps
        if isinstance(event, StepCompleted):
            self.step = event.step
            self.heartbeat.update(self.stage, event.step, self.steps, self.pace.step_s() or 0.0)


def execute(prepared: Prepared, should_stop: Callable[[], bool], tell: Callable[[Event], None]) -> bool:
    """Do the prepared stages, and return whether they are done; `tell` is given every event once it is recorded.

    Asks `should_stop` each step: the stage finishes the step, saves, and RunPaused is the last event. What is to be
    done afresh is deleted once the first stage has all that it needs.
    Raises: EngineError as a stage does, after RunFailed is recorded; RunConflictError if another process has the run.
    """
    rundir = prepared.rundir
    with rundir.lock():
        if prepared.dropped:
            _rehearse(prepared, should_stop)
            begin_fresh(prepared)
        return _drive(prepared, should_stop, tell)


def _rehearse(prepared: Prepared, should_stop: Callable[[], bool]) -> None:
    """Nothing where the first stage finds all that it needs. Raises: EngineError as its opening does."""
    stage = prepared.stages[0]
    try:
        _open(prepared, stage, make_saver(prepared, stage), should_stop)
    except Exception as error:
        if (told := _told(error, prepared.rundir, stage)) is error:
            raise
        raise told from error


def _told(error: Exception, rundir: RunDir, stage: str) -> Exception:
    """The error that a person is told: a sentence where one is known for it, else itself."""
    return disk_error(error, rundir.path) or memory_error(error, stage) or error


def _drive(prepared: Prepared, should_stop: Callable[[], bool], tell: Callable[[Event], None]) -> bool:
    rundir = prepared.rundir
    with Heartbeat(rundir, prepared.last) as heartbeat:
        heard = max((request.number for request in pending_requests(rundir, 0)), default=0)
        driver = Driver(prepared, heartbeat, should_stop, tell, heard)
        try:
            _opening(driver)
            for stage in prepared.stages:
                _stage(driver, stage)
                ended = stage == prepared.stages[-1] and rundir.finished(stage) is not None
                if driver.stopping and not ended:
                    heartbeat.update(state="stopped")
                    driver.record(RunPaused(driver.stage, driver.step, driver.stopping))
                    return False
            heartbeat.update(state="finished")
            driver.record(RunFinished(prepared.last))
            return True
        except Exception as error:  # a watcher must hear of our bugs too
            heartbeat.update(state="failed")
            told = _told(error, rundir, driver.stage)
            sentence = str(told) if isinstance(told, EngineError) else f"a bug of ours: {error!r}"
            with suppress(OSError, FileError):  # on a full disk nobody can be told
                if isinstance(error, DivergedError):  # for watchers; whoever drives hears the error itself
                    driver.write(AlarmRaised(driver.stage, driver.step + 1, "nan", str(error)))
                driver.record(RunFailed(driver.stage or prepared.last, sentence))
            if told is error:
                raise
            raise told from error


def _opening(driver: Driver) -> None:
    """Say that the run begins, or goes on from where; and the last words of a stage that a crash cut short."""
    rundir, stages, config = driver.rundir, driver.prepared.stages, driver.prepared.config
    said = rundir.read_events()
    if not any(isinstance(event, StageStarted) for event in said):  # new, or to be done afresh as a whole
        driver.record(RunStarted(rundir.name, config.seed, versions(config)))
    if not said:
        return
    for stage in STAGES:
        finished = any(isinstance(event, StageFinished) and event.stage == stage for event in said)
        if rundir.final(stage).is_dir() and not finished:
            saver = make_saver(driver.prepared, stage)
            driver.record(RunResumed(stage, _steps_said(said, stage)))
            for event in saver.ending():
                if event not in [stamp(old, event.at) for old in said]:
                    driver.record(event)
    begun = {event.stage for event in said if isinstance(event, StageStarted)}
    for stage in stages:
        if stage in begun or stage == stages[0]:
            _resumption(driver, make_saver(driver.prepared, stage))


def _resumption(driver: Driver, saver: Saver) -> None:
    """Say from where a stage goes on, and of the save there what a crash may have cut off."""
    step = saver.latest()
    driver.record(RunResumed(saver.stage, step))
    if step and saver.said_of(step) not in [stamp(event, 0.0) for event in driver.rundir.read_events()]:
        driver.record(saver.said_of(step))


def _steps_said(said: list[Event], stage: str) -> int:
    """The last step that a stage completed."""
    return max((event.step for event in said if isinstance(event, StepCompleted) and event.stage == stage), default=0)


def _stage(driver: Driver, stage: str) -> None:
    """Drive one stage from where it was to its end, or to the step after which it is asked to stop."""
    saver = make_saver(driver.prepared, stage)
    driver.stage, driver.step, driver.saver = stage, saver.latest(), None if stage == "eval" else saver
    driver.heartbeat.update(stage=stage, step=driver.step, steps=0, step_s=0.0)
    for event in _open(driver.prepared, stage, saver, driver.should_stop):
        driver.record(event)


def _open(prepared: Prepared, stage: str, saver: Saver, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """A stage that has all that it needs, and has not begun."""
    device = prepare_machine(prepared.config)
    return OPENERS[stage](Bench(prepared, device, saver, should_stop, lambda numbers: publish(prepared, numbers)))


def publish(prepared: Prepared, numbers: dict[str, Any]) -> None:
    """Write result.json: the evaluation's numbers with the run's own; null for what is not finite."""
    rundir = prepared.rundir
    seconds = stage_seconds(rundir.all_events())
    result = {
        "run": rundir.name,
        "seed": prepared.config.seed,
        **numbers,
        "alarms": sorted(set(alarms_of(rundir))),
        "stage_s": seconds,
        "elapsed_s": sum(seconds.values()),
        "peak_rss_mb": max(peaks_of(rundir), default=0.0),
    }
    strange = [name for name, value in result.items() if isinstance(value, float) and not isfinite(value)]
    result |= dict.fromkeys(strange)
    write_text(rundir.result, json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def alarms_of(rundir: RunDir) -> Iterator[str]:
    """The alarms of every stage, also of those that the run shares with another."""
    for stage in STAGES:
        path = rundir.finished(stage)
        trained = rundir if path is None else RunDir(path.parents[1])
        said = (event for event in trained.read_events() if isinstance(event, AlarmRaised))
        yield from (event.alarm for event in said if event.stage == stage)


def peaks_of(rundir: RunDir) -> Iterator[float]:
    """The most memory of each process that ended a stage of this run, in MB."""
    for event in rundir.read_events():
        if isinstance(event, StageFinished):
            yield from (value for name, value in event.metrics.items() if name.endswith(PEAK))


def stage_seconds(events: list[Event]) -> dict[str, float]:
    """Wall time by stage in seconds, of all processes that worked on it: the gaps between events, save those before a
    process began, those in which it was paused, and all that came before a person had the stage done afresh."""
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
