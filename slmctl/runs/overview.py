"""A summary of each run of a folder, for `slmctl runs` and the Runs mode, and the details of one.

What was read of a run is kept until its files change, so that hundreds of runs can be checked every second. Only the
details come from a run's events, those of a few kinds.
"""

import json
import math
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.core.errors import FileError
from engine.core.events import AlertRaised, Event, RunFailed, from_json
from engine.rundir.directory import STAGES, RunDir, effective, list_runs
from engine.rundir.heartbeat import ACTIVE, NOT_BEGUN, last_word, liveness, read_status
from engine.rundir.references import reference_to
from engine.rundir.runtoml import RunRecord, read_run_toml

DAMAGED = "damaged"
POLICIES = ("pretrain", "sft", "ppo")
SAVING = ("pretrain", "sft", "rm", "ppo")
RELEVANT = re.compile(rb'^.*"event":"(?:AlertRaised|RunFailed|RunResumed)".*$', re.MULTILINE)
LOG_BYTES = 4000
PROGRESS = re.compile(rf"(?:{'|'.join(STAGES)})(?:: | \d+/\d+ )|alert at ")  # start of a line that is no error
_CHANGING = ("run.toml", "status.json", "result.json")


@dataclass(frozen=True)
class RunSummary:
    """The state of one run.

    `state` is as returned by engine.rundir.heartbeat.liveness, or damaged, with `error`, if run.toml cannot be read.
    `at` is the Unix time of its last heartbeat, `models` the finished stages with their directories, `last` the last
    stage that its process was started for.
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
        """References to its finished policies: the base model, the SFT policy, the PPO policy."""
        return tuple(reference_to(self.run, stage) for stage in POLICIES if stage in self.models)


@dataclass(frozen=True)
class _Kept:
    """What was read of a run, and the versions of its files and directories just before.

    The state in `summary` is DAMAGED or unknown: it follows from the heartbeat `status`, the clock and `last_word`.
    """

    summary: RunSummary
    status: dict[str, Any] | None = None
    last_word: str = NOT_BEGUN
    places: tuple[str, ...] = ()
    versions: Sequence[tuple[int, int, int] | None] = ()

    def at(self, now: float) -> RunSummary:
        """The summary of the run at the time `now`."""
        damaged = self.summary.state == DAMAGED
        return self.summary if damaged else replace(self.summary, state=liveness(self.status, now, self.last_word))


class Overview:
    """The runs of `home`; may be used from several threads."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._guard = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def rows(self, now: float) -> list[RunSummary]:
        """All runs by name, at the time `now`. Raises: FileError if the folder cannot be read."""
        with self._guard:
            try:
                runs = list_runs(self._home)
            except OSError as error:
                raise FileError(f"cannot read the folder of runs {self._home}: {error.strerror}") from error
            self._kept = {run.name: _look(run, self._kept.get(run.name)) for run in runs}
            return [kept.at(now) for kept in self._kept.values()]


def _look(run: RunDir, before: _Kept | None) -> _Kept:
    """What is known of a run: `before` if nothing has changed."""
    places = before.places if before is not None else _places(run, None)
    versions = [_version(place) for place in places]
    if before is not None and before.versions == versions:
        return before
    try:
        kept = _read(run)
    except (FileError, ValueError) as error:  # a path that no system can have is a ValueError
        kept = _Kept(RunSummary(run.name, DAMAGED, at=_changed_at(run), error=str(error)), places=_places(run, None))
    return replace(kept, versions=versions if kept.places == places else ())  # other places: read again next time


def summarize(run: RunDir, now: float) -> RunSummary:
    """The summary of a run. Raises: FileError if its run.toml cannot be read."""
    return _read(run).at(now)


def _read(run: RunDir) -> _Kept:
    record, status = read_run_toml(run), read_status(run)
    ending = last_word(run) if status is None else NOT_BEGUN
    finished, beat = _finished(run, record), status or {}
    summary = RunSummary(
        run.name,
        "",
        record.preset,
        record.config.seed,
        beat.get("stage"),
        beat.get("step"),
        beat.get("steps"),
        beat.get("eta_s"),
        tuple(finished),
        tuple(sorted(record.parents)),
        _win_rate(run),
        {stage: str(path) for stage, path in finished.items() if stage != "eval"},
        beat.get("at", _changed_at(run)),
        last=str(beat.get("last") or ""),
    )
    return _Kept(summary, status, ending, _places(run, record))


def _finished(run: RunDir, record: RunRecord) -> dict[str, Path]:
    """The finished stages in order, each with its directory, its own or a parent's."""
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
    """The files and directories that tell whether a run has changed."""
    shared = [run.path / entry["path"] for entry in record.shared.values()] if record else []
    places = [*(run.path / name for name in _CHANGING), *(run.final(stage) for stage in STAGES), *shared]
    return tuple(map(str, places))


def _version(place: str) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(place)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@dataclass(frozen=True)
class RunDetails:
    """The names of a run's models, its last alert and the number of alerts, and why it failed."""

    run: str
    models: tuple[str, ...] = ()
    alert: str = ""
    alerts: int = 0
    failure: str = ""


def read_details(run: RunDir, summary: RunSummary) -> RunDetails:
    """The details of a run in the given state."""
    events = effective(_relevant_events(run))
    alerts = [event for event in events if isinstance(event, AlertRaised)]
    failures = [event.error for event in events if isinstance(event, RunFailed)]
    last = alerts[-1] if alerts else None
    failure = summary.error
    if summary.state in ("failed", "dead", "ended"):
        failure = failures[-1] if failures and summary.state == "failed" else _last_log_line(run)
    return RunDetails(
        run.name,
        tuple(_models(run, summary)),
        f"{last.stage} step {last.step}: {last.message}" if last else "",
        len(alerts),
        failure,
    )


def _relevant_events(run: RunDir) -> Iterator[Event]:
    try:
        text = run.events.read_bytes()
    except OSError:
        return
    for match in RELEVANT.finditer(text):
        try:
            event = from_json(match.group().decode(errors="replace"))
        except ValueError:
            continue
        if event is not None:
            yield event


def _models(run: RunDir, summary: RunSummary) -> Iterator[str]:
    """References to the models of a run in the order of stages: final models and saved steps."""
    for stage in SAVING:
        name = reference_to(run.name, stage)
        if stage in summary.models:
            yield name
        try:
            yield from (f"{name}@{step}" for step in run.saved_steps(stage))
        except (OSError, FileError):
            continue


def _last_log_line(run: RunDir) -> str:
    """The last line of log.txt; "" for a line of progress, after which the run ended without a message."""
    try:
        with run.log.open("rb") as file:
            file.seek(max(0, run.log.stat().st_size - LOG_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return "" if PROGRESS.match(last) else last
