"""Follows a run directory: what was appended since the last poll, and the state of the run's process.

Knows no widget and no torch. Each line of events.jsonl is parsed once; history.py builds stages and columns from it.
"""

import math
import os
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from pydantic_core import from_json

from engine.core.errors import FileError
from engine.core.events import SCHEMA, Event, from_row, number
from engine.rundir.directory import RunDir, find_run, list_runs
from engine.rundir.heartbeat import ACTIVE, NOT_BEGUN, last_word, liveness, read_status
from engine.rundir.runtoml import read_run_toml

GONE = "gone"  # the run directory does not exist (any more)
KEPT_TAIL = 64  # bytes before the offset that tell a replaced file from a grown one
HEAD = 100  # bytes of a line of samples that hold its stage and step


@dataclass(frozen=True)
class Steps:
    """Consecutive completed steps of one stage, ascending, that report the metrics `names`.

    There can be thousands: `values` holds all their rows in one flat array, of which a column is a slice.
    """

    stage: str
    names: list[str]
    steps: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    values: "array[float]" = field(default_factory=lambda: array("d"))

    def column(self, metric: str, skip: int = 0) -> list[float]:
        """The values of a metric by step, without the first `skip`; NaN if the steps do not report it."""
        if metric not in self.names:
            return [math.nan] * (len(self.steps) - skip)
        width = len(self.names)
        return self.values[self.names.index(metric) + skip * width :: width].tolist()

    def extend(self, later: "Steps") -> None:
        """Adds later steps that report the same metrics."""
        self.steps.extend(later.steps)
        self.at.extend(later.at)
        self.values.extend(later.values)

    def cut(self, count: int) -> None:
        """Drops all but the first `count` steps."""
        del self.steps[count:], self.at[count:], self.values[count * len(self.names) :]


class StepSamples(NamedTuple):
    """The samples of one step: an unparsed line of samples.jsonl."""

    stage: str
    step: int
    line: bytes


Item = Steps | StepSamples | Event


@dataclass(frozen=True)
class ProcessState:
    """The state of a run's process, from its heartbeat.

    `state` is "gone" or as returned by engine.rundir.heartbeat.liveness. `heartbeat_at` is the time of the last
    heartbeat, `last_stage` the last stage that the process was started for.
    """

    state: str = NOT_BEGUN
    stage: str = ""
    step: int = 0
    steps: int = 0
    heartbeat_at: float = 0.0
    last_stage: str = ""


@dataclass(frozen=True)
class RunInfo:
    """What `watch` needs from run.toml, or the error that kept it from being read.

    `shared` maps a stage to the directory of the run that it is shared with; `limits` has alert_kl_nats and, with the
    adaptive controller, kl_target.
    """

    shared: Mapping[str, Path] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Update:
    """What one poll found. `restarted` means that the files were replaced or cut: all earlier updates are void."""

    events: list[Item]
    samples: list[Item]
    process: ProcessState
    info: RunInfo
    restarted: bool = False


class Tail:
    """The complete lines appended to a file since the last read; an unfinished last line waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rewind()

    def rewind(self) -> None:
        """Starts again at the beginning of the file."""
        self._offset, self._inode, self._before = 0, 0, b""

    def read(self) -> tuple[bytes, bool]:
        """The new lines, and whether the file was replaced since the last read."""
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                replaced = self._offset > 0 and (stat.st_ino != self._inode or not self._continues(file, stat.st_size))
                if replaced:
                    self.rewind()
                self._inode = stat.st_ino
                if stat.st_size == self._offset:
                    return b"", replaced
                file.seek(self._offset)
                data = file.read()
        except OSError:
            replaced = self._offset > 0
            self.rewind()
            return b"", replaced
        end = data.rfind(b"\n") + 1
        self._offset += end
        self._before = (self._before + data[max(0, end - KEPT_TAIL) : end])[-KEPT_TAIL:]
        return data[:end], replaced

    def _continues(self, file: BufferedReader, size: int) -> bool:
        """Whether the bytes before the offset are still those that were read."""
        if size < self._offset:
            return False
        file.seek(self._offset - len(self._before))
        return file.read(len(self._before)) == self._before


class Follower:
    """Follows one run directory; each poll returns what is new since the last."""

    def __init__(self, rundir: RunDir, clock: Callable[[], float] = time.time) -> None:
        self.rundir = rundir
        self._clock = clock
        self._events, self._samples = Tail(rundir.events), Tail(rundir.samples)
        self._toml_version: tuple[int, int] | None = None
        self._info = RunInfo()
        self._first = True

    def poll(self) -> Update:
        """What was appended since the last poll, and the state of the process now."""
        shares_changed = self._read_run_toml()
        event_lines, events_replaced = self._events.read()
        sample_lines, samples_replaced = self._samples.read()
        from_start = self._first or shares_changed or events_replaced or samples_replaced
        if from_start and not self._first:
            self._events.rewind()
            self._samples.rewind()
            event_lines, sample_lines = self._events.read()[0], self._samples.read()[0]
        events, samples = read_events(event_lines), read_samples(sample_lines)
        if from_start and self._info.shared:
            events, samples = _with_parents(self._info.shared, events, samples)
        restarted, self._first = from_start and not self._first, False
        return Update(events, samples, self.process_state(), self._info, restarted)

    def _read_run_toml(self) -> bool:
        """Reads run.toml if it has changed; returns whether the shared stages have changed."""
        try:
            stat = self.rundir.run_toml.stat()
        except OSError:
            return False
        if (version := (stat.st_mtime_ns, stat.st_size)) == self._toml_version:
            return False
        self._toml_version, before = version, self._info
        self._info = read_info(self.rundir)
        return self._info.shared != before.shared

    def process_state(self) -> ProcessState:
        """The state of the run's process now."""
        if not self.rundir.path.is_dir():
            return ProcessState(GONE)
        status = read_status(self.rundir)
        if status is None:
            return ProcessState(last_word(self.rundir))
        stage, last = str(status["stage"] or ""), str(status.get("last") or "")
        state = liveness(status, self._clock())
        return ProcessState(state, stage, status["step"], status["steps"], status["at"], last)


def runs_to_watch(home: Path, names: Sequence[str], now: float) -> list[RunDir]:
    """The runs of those names; without names the one at work, or else the newest; [] if the folder has no runs.

    Raises: FileError, listing the existing runs, for an unknown name; ConfigError for an invalid one.
    """
    if names:
        return [find_run(home, name) for name in dict.fromkeys(names)]
    runs = sorted(list_runs(home), key=_changed_at)
    active = [run for run in runs if Follower(run, lambda: now).process_state().state in ACTIVE]
    return (active or runs)[-1:]


def read_info(rundir: RunDir) -> RunInfo:
    """What `watch` needs from run.toml, or why it cannot be read."""
    try:
        record = read_run_toml(rundir)
        shared = {stage: (rundir.path / entry["path"]).resolve().parents[1] for stage, entry in record.shared.items()}
    except (FileError, KeyError, IndexError, TypeError, AttributeError) as error:
        return RunInfo(error=str(error))
    ppo = record.config.ppo
    limits = {"alert_kl_nats": ppo.alert_kl_nats}
    if ppo.kl_controller == "adaptive":
        limits["kl_target"] = ppo.kl_target
    return RunInfo(shared, limits)


def read_events(data: bytes) -> list[Item]:
    """The events of whole lines of events.jsonl; damaged lines and unknown kinds are skipped."""
    found: list[Item] = []
    last: Steps | None = None
    for line in data.split(b"\n")[:-1]:
        row = _parsed(line)
        if isinstance(row, dict) and row.get("event") == "StepCompleted" and row.get("schema") == SCHEMA:
            stage, step, at, metrics = row.get("stage"), row.get("step"), row.get("at"), row.get("metrics")
            if not (isinstance(stage, str) and isinstance(step, int) and isinstance(at, (int, float))):
                continue
            if not isinstance(metrics, dict):
                continue
            names = list(metrics)
            if last is None or last.names != names or last.stage != stage or last.steps[-1] >= step:
                last = Steps(stage, names)
                found.append(last)
            try:
                last.values.extend(metrics.values())
            except (TypeError, OverflowError):  # "nan", "inf" or "-inf", or damaged
                del last.values[len(last.steps) * len(names) :]
                last.values.extend(map(number, metrics.values()))
            last.steps.append(step)
            last.at.append(at)
        elif (event := _event(row)) is not None:
            found.append(event)
            last = None
    return found


def read_samples(data: bytes) -> list[Item]:
    """The steps of whole lines of samples.jsonl; only the head of a line is parsed, its samples when they are shown."""
    found: list[Item] = []
    for line in data.split(b"\n")[:-1]:
        row = _parsed(line[:HEAD], partial=True)
        if not isinstance(row, dict) or "samples" not in row:
            row = _parsed(line)
        if isinstance(row, dict) and row.get("event") == "SamplesDrawn":
            if isinstance(row.get("stage"), str) and isinstance(row.get("step"), int) and line.endswith(b"}"):
                found.append(StepSamples(row["stage"], row["step"], line))
        elif (event := _event(row)) is not None:
            found.append(event)
    return found


def _changed_at(run: RunDir) -> float:
    found = [path.stat().st_mtime for path in (run.events, run.status, run.run_toml) if path.exists()]
    return max(found, default=0.0)


def _with_parents(shared: Mapping[str, Path], events: list[Item], samples: list[Item]) -> tuple[list[Item], list[Item]]:
    """The same, after the events and samples of the stages that are shared with other runs."""
    for home in dict.fromkeys(shared.values()):
        stages, parent = {stage for stage, place in shared.items() if place == home}, RunDir(home)
        read = read_events(Tail(parent.events).read()[0]), read_samples(Tail(parent.samples).read()[0])
        old_events, old_samples = ([item for item in items if getattr(item, "stage", None) in stages] for items in read)
        events, samples = old_events + events, old_samples + samples
    return events, samples


def _parsed(line: bytes, partial: bool = False) -> Any:
    """The JSON value of a line, or None if it is damaged."""
    try:
        return from_json(line, allow_partial=partial)
    except ValueError:
        return None


def _event(row: Any) -> Event | None:
    """The event of a parsed line, or None if it is damaged or of an unknown kind."""
    try:
        event = from_row(row)
    except (ValueError, TypeError, AttributeError):
        return None
    return event if event is not None and _is_sound(event) else None


def _is_sound(event: Event) -> bool:
    """Whether the fields have their declared types; other programs may write to the file, too."""
    kinds: dict[str, tuple[type, ...]] = {
        "stage": (str, NoneType), "step": (int,), "steps": (int,), "from_step": (int,), "number": (int,),
        "at": (int, float), "about": (dict,), "metrics": (dict,), "samples": (list,),
    }  # fmt: skip
    return all(isinstance(value, kinds.get(name, (object,))) for name, value in vars(event).items())
