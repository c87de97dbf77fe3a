"""How the runs of a folder stand, a row each, for `slmctl runs` and the playground's first screen.

What was read of a run is kept for as long as its files stay as they were, so that hundreds of runs can be looked at
every second. What a run said in full is in its events, which are not read here.
"""

import json
import math
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.core.errors import FileError
from engine.rundir.directory import STAGES, RunDir, list_runs
from engine.rundir.heartbeat import ACTIVE, NOT_BEGUN, last_word, liveness, read_status
from engine.rundir.references import reference_to
from engine.rundir.runtoml import RunRecord, read_run_toml

DAMAGED = "damaged"
POLICIES = ("pretrain", "sft", "ppo")
_ASKED = ("run.toml", "status.json", "result.json")


@dataclass(frozen=True)
class Standing:
    """How one run stands.

    `state` is as engine.rundir.heartbeat.liveness has it, or damaged, with `error`, if run.toml cannot be read. `at` is
    the Unix time of its last sign of life, `models` the finished stages with the directory of each, `last` the stage
    that ends what its process was started for.
    """

    run: str
    state: str
    preset: str | None = None
    seed: int | None = None
    stage: str | None = None
    step: int | None = None
    steps: int | None = None
    eta_s: float | None = None
    finished: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    win_rate: float | None = None
    models: dict[str, str] = field(default_factory=dict)
    at: float = 0.0
    error: str = ""
    last: str = ""

    @property
    def active(self) -> bool:
        """Whether a process is at work on it."""
        return self.state in ACTIVE

    @property
    def policies(self) -> tuple[str, ...]:
        """What one can talk to, as it is named: the base model, the SFT policy, the PPO policy, as far as there are."""
        return tuple(reference_to(self.run, stage) for stage in POLICIES if stage in self.models)


@dataclass(frozen=True)
class _Read:
    """What the files of a run say; the state follows from it and the clock."""

    record: RunRecord | None
    status: dict[str, Any] | None
    win_rate: float | None
    finished: dict[str, Path]
    changed_at: float
    error: str = ""
    said: str = NOT_BEGUN


@dataclass(frozen=True)
class _Kept:
    """What was read of a run, and what its files and directories were like just before."""

    read: _Read
    places: tuple[str, ...]
    marks: list[tuple[int, int, int] | None]


class Overview:
    """The runs of `home`; it may be asked from several threads."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._guard = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def rows(self, now: float) -> list[Standing]:
        """All runs by name, as they stand at the time `now`. Raises: FileError where the folder cannot be read."""
        with self._guard:
            try:
                runs = list_runs(self._home)
            except OSError as error:
                raise FileError(f"cannot read the folder of the runs {self._home}: {error.strerror}") from error
            self._kept = {run.name: _look(run, self._kept.get(run.name)) for run in runs}
            return [_standing(name, kept.read, now) for name, kept in self._kept.items()]


def _look(run: RunDir, before: _Kept | None) -> _Kept:
    """What there is to know of a run; what was known `before`, where nothing has changed."""
    places = before.places if before is not None else _places(run, None)
    marks = [_mark(place) for place in places]
    if before is not None and before.marks == marks:
        return before
    try:
        read = _read(run)
    except (FileError, ValueError) as error:  # a path that no system can have is a ValueError
        read = _Read(None, None, None, {}, _changed_at(run), str(error))
    found = _places(run, read.record)
    return _Kept(read, found, marks if found == places else [])  # other places: they are looked at anew next time


def standing(run: RunDir, now: float) -> Standing:
    """How a run stands. Raises: FileError where its run.toml cannot be read."""
    return _standing(run.name, _read(run), now)


def _standing(name: str, read: _Read, now: float) -> Standing:
    if read.record is None:
        return Standing(name, DAMAGED, at=read.changed_at, error=read.error)
    status = read.status or {}
    return Standing(
        name,
        liveness(read.status, now, read.said),
        read.record.preset,
        read.record.config.seed,
        status.get("stage"),
        status.get("step"),
        status.get("steps"),
        status.get("eta_s"),
        tuple(read.finished),
        tuple(sorted(read.record.parents)),
        read.win_rate,
        {stage: str(path) for stage, path in read.finished.items() if stage != "eval"},
        status.get("at", read.changed_at),
        last=str(status.get("last") or ""),
    )


def _read(run: RunDir) -> _Read:
    record = read_run_toml(run)
    status = read_status(run)
    said = last_word(run) if status is None else NOT_BEGUN
    return _Read(record, status, _win_rate(run), _finished(run, record), _changed_at(run), said=said)


def _finished(run: RunDir, record: RunRecord) -> dict[str, Path]:
    """The finished stages in the order of work, each with its directory, its own or a parent's."""
    shared = {stage: (run.path / entry["path"]).resolve() for stage, entry in record.shared.items()}
    found = {stage: run.final(stage) if run.final(stage).is_dir() else shared.get(stage) for stage in STAGES}
    if run.result.is_file():
        found["eval"] = run.final("eval")
    return {
        stage: path for stage, path in found.items() if path is not None and (stage == "eval" or os.path.isdir(path))
    }


def _win_rate(run: RunDir) -> float | None:
    try:
        value = json.loads(run.result.read_text(encoding="utf-8")).get("win_rate")
    except (OSError, ValueError, AttributeError):
        return None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _changed_at(run: RunDir) -> float:
    try:
        return run.run_toml.stat().st_mtime
    except OSError:
        return 0.0


def _places(run: RunDir, record: RunRecord | None) -> tuple[str, ...]:
    """Where it shows that a run is no longer what it was when it was read."""
    shared = [run.path / entry["path"] for entry in record.shared.values()] if record else []
    places = [*(run.path / name for name in _ASKED), *(run.final(stage) for stage in STAGES), *shared]
    return tuple(map(str, places))


def _mark(place: str) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(place)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
