"""FollowLoop a run directory: what was appended since the last look, and how its process stands.

Knows no widget and no torch. What is made of the news is history.py's job. Each line of events.jsonl is parsed once.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from pydantic_core import from_json

from engine.core.errors import FileError
from engine.core.events import SCHEMA, Event, from_row
from engine.rundir.directory import RunDir, find_run, list_runs
from engine.rundir.heartbeat import NOT_BEGUN, last_word, liveness, read_status
from engine.rundir.runtoml import read_run_toml

GONE = "gone"  # the run directory is not there (any more)
WORKING = ("running", "paused", "slow")  # there is, as far as we know, a process
KEPT_TAIL = 64  # bytes before the offset by which a replaced file is told from a grown one

HEAD = 200  # bytes of a line of samples in which its stage and step stand


@dataclass(frozen=True)
class Steps:
    """Completed steps of one stage in a row, ascending; thousands come at once, so they come as columns."""

    stage: str
    steps: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    metrics: list[Mapping[str, Any]] = field(default_factory=list)


class StepSamples(NamedTuple):
    """A line of samples, kept as it lies in the file."""

    stage: str
    step: int
    line: bytes


Item = Steps | StepSamples | Event


@dataclass(frozen=True)
class ProcessState:
    """How a run's process stands.

    `word` is gone, or as engine.rundir.heartbeat.liveness has it. `beat_at` is the time of the last beat, `last` the
    stage that ends what the process was started for.
    """

    word: str = NOT_BEGUN
    stage: str = ""
    step: int = 0
    steps: int = 0
    beat_at: float = 0.0
    last: str = ""


@dataclass(frozen=True)
class RunInfo:
    """What run.toml says that a watcher needs: stages shared with another run, limits to draw; or why it is not read.

    `shared` maps a stage to that run's directory; `limits` has alert_kl_nats and, where the controller aims, kl_target.
    """

    shared: Mapping[str, Path] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Update:
    """What one poll found. `anew` says that all before is void: the files were replaced or cut."""

    said: list[Item]
    drawn: list[Item]
    pulse: ProcessState
    about: RunInfo
    anew: bool = False


class Tail:
    """The whole lines appended to a file since the last read; an unfinished last line waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rewind()

    def rewind(self) -> None:
        """Begins the file again."""
        self._offset, self._inode, self._before = 0, 0, b""

    def read(self) -> tuple[bytes, bool]:
        """The new lines, and whether the file is another one than was read before."""
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                anew = self._offset > 0 and (stat.st_ino != self._inode or not self._continues(file, stat.st_size))
                if anew:
                    self.rewind()
                self._inode = stat.st_ino
                if stat.st_size == self._offset:
                    return b"", anew
                file.seek(self._offset)
                data = file.read()
        except OSError:
            anew = self._offset > 0
            self.rewind()
            return b"", anew
        end = data.rfind(b"\n") + 1
        self._offset += end
        self._before = (self._before + data[max(0, end - KEPT_TAIL) : end])[-KEPT_TAIL:]
        return data[:end], anew

    def _continues(self, file: BufferedReader, size: int) -> bool:
        """Whether what was read last still stands before the offset."""
        if size < self._offset:
            return False
        file.seek(self._offset - len(self._before))
        return file.read(len(self._before)) == self._before


class Follower:
    """One run directory, followed; each poll says what is new since the last."""

    def __init__(self, rundir: RunDir, clock: Callable[[], float] = time.time) -> None:
        self.rundir = rundir
        self._clock = clock
        self._events, self._samples = Tail(rundir.events), Tail(rundir.samples)
        self._toml_mark: tuple[int, int] | None = None
        self._about = RunInfo()
        self._first = True

    def poll(self) -> Update:
        """What was appended since the last poll, with how the process stands now."""
        renewed = self._read_about()
        lines, anew = self._events.read()
        drawn, other = self._samples.read()
        begins = self._first or renewed or anew or other
        if begins and not self._first:
            self._events.rewind()
            self._samples.rewind()
            lines, drawn = self._events.read()[0], self._samples.read()[0]
        said, told = read_events(lines), read_samples(drawn)
        if begins and self._about.shared:
            said, told = _of_parents(self._about.shared, said, told)
        anew, self._first = begins and not self._first, False
        return Update(said, told, self.pulse(), self._about, anew)

    def _read_about(self) -> bool:
        """Reads run.toml where it has changed; whether other stages are shared than before."""
        try:
            stat = self.rundir.run_toml.stat()
        except OSError:
            return False
        if (mark := (stat.st_mtime_ns, stat.st_size)) == self._toml_mark:
            return False
        self._toml_mark, before = mark, self._about
        self._about = read_info(self.rundir)
        return self._about.shared != before.shared

    def pulse(self) -> ProcessState:
        """How the process stands now."""
        if not self.rundir.path.is_dir():
            return ProcessState(GONE)
        status = read_status(self.rundir)
        if status is None:
            return ProcessState(last_word(self.rundir))
        stage, last = str(status["stage"] or ""), str(status.get("last") or "")
        return ProcessState(liveness(status, self._clock()), stage, status["step"], status["steps"], status["at"], last)


def runs_to_watch(home: Path, names: Sequence[str], now: float) -> list[RunDir]:
    """The runs of those names; without names the one that is worked on, else the newest; none where there are no runs.

    Raises: FileError, with the runs there are, for a name that none has; ConfigError for one that cannot be a name.
    """
    if names:
        return [find_run(home, name) for name in dict.fromkeys(names)]
    runs = sorted(list_runs(home), key=_touched)
    working = [run for run in runs if Follower(run, lambda: now).pulse().word in WORKING]
    return (working or runs)[-1:]


def read_info(rundir: RunDir) -> RunInfo:
    """What run.toml says; where it cannot be read, only why."""
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


def _touched(run: RunDir) -> float:
    """When a run last wrote something."""
    found = [path.stat().st_mtime for path in (run.events, run.status, run.run_toml) if path.exists()]
    return max(found, default=0.0)


def _of_parents(shared: Mapping[str, Path], said: list[Item], drawn: list[Item]) -> tuple[list[Item], list[Item]]:
    """The same, after what the parents of a run said of the stages that it shares with each."""
    for home in dict.fromkeys(shared.values()):
        stages, parent = {stage for stage, place in shared.items() if place == home}, RunDir(home)
        before = read_events(Tail(parent.events).read()[0]), read_samples(Tail(parent.samples).read()[0])
        theirs, sampled = ([item for item in told if getattr(item, "stage", None) in stages] for told in before)
        said, drawn = theirs + said, sampled + drawn
    return said, drawn


def read_events(data: bytes) -> list[Item]:
    """What lines of events.jsonl say; damaged ones, and kinds that this version does not know, are left out."""
    found: list[Item] = []
    for line in data.split(b"\n")[:-1]:
        row = _parsed(line)
        if isinstance(row, dict) and row.get("event") == "StepCompleted" and row.get("schema") == SCHEMA:
            stage, step, at, metrics = row.get("stage"), row.get("step"), row.get("at"), row.get("metrics")
            if not (isinstance(stage, str) and isinstance(step, int) and isinstance(at, (int, float))):
                continue
            if not isinstance(metrics, dict):
                continue
            last = found[-1] if found else None
            if not (isinstance(last, Steps) and last.stage == stage and last.steps[-1] < step):
                last = Steps(stage)
                found.append(last)
            last.steps.append(step)
            last.at.append(at)
            last.metrics.append(metrics)
        elif (event := _event(row)) is not None:
            found.append(event)
    return found


def read_samples(data: bytes) -> list[Item]:
    """What lines of samples.jsonl say; only the head of a line is parsed here, the samples when they are shown."""
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


def _parsed(line: bytes, partial: bool = False) -> Any:
    """The JSON value of a line, None for a damaged one."""
    try:
        return from_json(line, allow_partial=partial)
    except ValueError:
        return None


def _event(row: Any) -> Event | None:
    """The event of a parsed line; None for a damaged one and for a kind that this version does not know."""
    try:
        event = from_row(row)
    except (ValueError, TypeError, AttributeError):
        return None
    return event if event is not None and _sound(event) else None


def _sound(event: Event) -> bool:
    """Whether the fields are of the kinds that they are declared to be; other programs may write, too."""
    kinds: dict[str, tuple[type, ...]] = {
        "stage": (str, NoneType), "step": (int,), "steps": (int,), "from_step": (int,), "number": (int,),
        "at": (int, float), "about": (dict,), "metrics": (dict,), "samples": (list,),
    }  # fmt: skip
    return all(isinstance(value, kinds.get(name, (object,))) for name, value in vars(event).items())
