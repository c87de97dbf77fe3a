"""The run directory: its paths, its lock, its append-only files and how they are read back.

It is the interface between processes: one writer (under `lock`), any number of readers. run/planning.py decides which
stages to run; the heartbeat and the requests of screens are in heartbeat.py.
"""

import errno
import fcntl
import os
import socket
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from engine.core.errors import ConfigError, FileError, RunConflictError, did_you_mean
from engine.core.events import (
    CheckpointSaved,
    Event,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    SamplesDrawn,
    StageFinished,
    StageStarted,
    StepCompleted,
    from_json,
    to_json,
)

STAGES = ("pretrain", "sft", "comparisons", "rm", "ppo", "eval")
DIRECTORIES = {"pretrain": "base"}
LABELS = "labels.db"
RESERVED = ("hf", "pocket")  # prefixes of references to models and scorers outside of runs
LONGEST_NAME = 200  # bytes; file systems allow 255, and longer names are made from it
_DURABLE = (CheckpointSaved, StageFinished, RunResumed, RunPaused, RunFinished, RunFailed)


class RunDir:
    """One run's directory: `runs/NAME`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.run_toml = path / "run.toml"  # the resolved configuration, its origins, inputs and parents
        self.events = path / "events.jsonl"  # one event a line: the source of truth
        self.samples = path / "samples.jsonl"  # prompts, responses and scores by step
        self.eval = path / "eval.jsonl"  # every judged prompt of the evaluation
        self.result = path / "result.json"  # the metrics of the finished run, as `slmctl run --json` prints them
        self.status = path / "status.json"  # the heartbeat
        self.control = path / "control.jsonl"  # numbered requests from a screen
        self.labels = path / LABELS  # people's labels of this run's responses
        self.log = path / "log.txt"  # stderr of a detached child, and tracebacks
        self._healed: set[Path] = set()

    def exists(self) -> bool:
        """Whether the run has been set up."""
        return self.run_toml.is_file()

    def stage_dir(self, stage: str) -> Path:
        """The directory of a stage's checkpoints; that of `pretrain` is base/."""
        return self.path / DIRECTORIES.get(stage, stage)

    def step_dir(self, stage: str, step: int) -> Path:
        """The directory of a stage's checkpoint after `step` steps."""
        return self.stage_dir(stage) / f"step-{step:06d}"

    def final(self, stage: str) -> Path:
        """The directory of this run's own result of a stage."""
        return self.stage_dir(stage) / "final"

    def finished(self, stage: str) -> Path | None:
        """The result of a finished stage, its own or shared with a parent, or None."""
        if self.final(stage).is_dir() or (stage == "eval" and self.result.is_file()):
            return self.final(stage)
        shared = self.shared().get(stage)
        return shared if shared is not None and os.path.isdir(shared) else None

    def shared(self) -> dict[str, Path]:
        """The stages that this run shares with a parent, with their directories; {} if run.toml is damaged, which
        runtoml.py reports."""
        try:
            entries = tomllib.loads(self.run_toml.read_text(encoding="utf-8")).get("shared", {})
            return {stage: (self.path / entry["path"]).resolve() for stage, entry in entries.items()}
        except (OSError, RuntimeError, ValueError, AttributeError, LookupError, TypeError):
            return {}

    def saved_steps(self, stage: str) -> list[int]:
        """The steps at which a stage has complete checkpoints, oldest first."""
        names = (entry.name for entry in self.stage_dir(stage).glob("step-*") if entry.is_dir())
        return sorted(int(name.removeprefix("step-")) for name in names if name.removeprefix("step-").isdigit())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the directory for its one writer; the lock ends with the process, however that ends.

        Raises: RunConflictError naming the process that holds the lock; FileError if the directory is not writable.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise FileError(f"cannot write to {self.path}: {error.strerror}") from error
        try:
            _take(handle, self.name)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    def append(self, event: Event) -> None:
        """Appends one event with one write; samples go to samples.jsonl, and a resume to both files.

        Events that promise something (a checkpoint, an end) are on disk when this returns.
        """
        line = (to_json(event) + "\n").encode()
        if isinstance(event, (SamplesDrawn, RunResumed)):
            self._write(self.samples, line, sync=False)
        if isinstance(event, _DURABLE) and self.samples.exists():
            flush(self.samples)
        if not isinstance(event, SamplesDrawn):
            self._write(self.events, line, sync=isinstance(event, _DURABLE))

    def read_events(self) -> list[Event]:
        """The events, oldest first, without those that a resume superseded and torn lines."""
        return effective(_parse(self.events))

    def all_events(self) -> list[Event]:
        """All events, including those that a resume superseded."""
        return list(_parse(self.events))

    def read_samples(self) -> list[SamplesDrawn]:
        """The samples, oldest first, without those that a resume superseded."""
        return [event for event in effective(_parse(self.samples)) if isinstance(event, SamplesDrawn)]

    def started(self) -> set[str]:
        """The stages of which this run has a completed step or a file of its own."""
        begun = {event.stage for event in self.read_events() if isinstance(event, StepCompleted)}
        return begun | {stage for stage in STAGES if any(self.stage_dir(stage).glob("*"))}

    def lacks_ending(self, stage: str) -> bool:
        """Whether a finished `stage` was killed before it reported that the run is finished."""
        last = self.read_events()[-1:]
        return any(getattr(event, "stage", None) == stage and not isinstance(event, RunFinished) for event in last)

    def _write(self, path: Path, line: bytes, sync: bool) -> None:
        if path not in self._healed:
            heal(path)
            self._healed.add(path)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            written = os.write(handle, line)
            if written != len(line):
                self._healed.discard(path)
                raise FileError(f"could not write to {path}: is the disk full?")
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)


def effective(events: Iterable[Event]) -> list[Event]:
    """The events that remain after every RunResumed is applied.

    RunResumed(stage, n) drops the stage's events past step n and its StageFinished; with n = 0, all of its events.
    Only the first of several StageStarted and the last of several RunStarted are kept.
    """
    kept: list[Event] = []
    for event in events:
        if isinstance(event, RunResumed):
            kept = [old for old in kept if not _superseded(old, event)]
        if isinstance(event, RunStarted):
            kept = [old for old in kept if not isinstance(old, RunStarted)]
        if isinstance(event, StageStarted) and any(
            isinstance(old, StageStarted) and old.stage == event.stage for old in kept
        ):
            continue
        kept.append(event)
    return kept


def heal(path: Path) -> None:
    """Cuts off an unfinished last line, which a crash may have left, so that the next append starts a new one."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        whole = path.read_bytes()
        file.truncate(whole.rfind(b"\n") + 1)


def flush(path: Path) -> None:
    """Waits until `path`, a file or a directory, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Replaces a file atomically: readers see the old text or the new, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def runs_home(environ: Mapping[str, str]) -> Path:
    """The folder of all runs: $SLMCTL_RUNS, or else ./runs."""
    return Path(environ.get("SLMCTL_RUNS") or "runs")


def check_home(home: Path) -> None:
    """Checks that `home` is not a file. Raises: FileError if it is."""
    if home.exists() and not home.is_dir():
        raise FileError(f"{home} is a file, not a folder of runs: move it, or set SLMCTL_RUNS")


def check_name(name: str) -> str:
    """The name itself, if a run may have it.

    Raises: ConfigError if it cannot name a directory or would be read as something else.
    """
    rules = {
        "be empty": not name,
        f"be longer than {LONGEST_NAME} bytes": len(name.encode(errors="replace")) > LONGEST_NAME,
        f"be {' or '.join(RESERVED)}, which are reserved": name in RESERVED,
        "start with '.' or '-'": name.startswith((".", "-")),
        "start or end with white space": name != name.strip(),
        "contain / \\ : @ or an unprintable character": any(mark in "/\\:@" or not mark.isprintable() for mark in name),
    }
    if broken := next((rule for rule, holds in rules.items() if holds), ""):
        raise ConfigError(
            f"{name[:LONGEST_NAME]!r} is not a valid run name: it must not {broken}; use a name such as round2"
        )
    return name


def find_run(home: Path, name: str) -> RunDir:
    """An existing run.

    Raises: FileError, listing the existing runs, if none has that name.
    """
    run = RunDir(home / check_name(name))
    if not run.exists():
        names = [other.name for other in list_runs(home)]
        existing = ", ".join(names) or "none yet"
        raise FileError(f"no run named {name!r} in {home}{did_you_mean(name, names)} (existing runs: {existing})")
    return run


def list_runs(home: Path) -> list[RunDir]:
    """All runs of a folder, by name; [] if it does not exist yet. Raises: FileError if it is a file."""
    check_home(home)
    if not home.is_dir():
        return []
    return [RunDir(entry) for entry in sorted(home.iterdir()) if RunDir(entry).exists()]


def _superseded(old: Event, resumed: RunResumed) -> bool:
    if isinstance(old, RunResumed) or getattr(old, "stage", None) != resumed.stage:
        return False
    if isinstance(old, (RunPaused, RunFinished, RunFailed)):
        return False
    if resumed.from_step == 0 or isinstance(old, StageFinished):
        return True
    return not isinstance(old, StageStarted) and getattr(old, "step", 0) > resumed.from_step


def _parse(path: Path) -> Iterator[Event]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            try:
                event = from_json(line)
            except ValueError:
                continue
            if event is not None:
                yield event


def _take(handle: int, name: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise FileError(f"cannot lock run {name!r}: {error.strerror}") from error
        owner = os.pread(handle, 200, 0).decode(errors="replace").split()
        who = f"process {owner[0]} on {owner[1]}" if len(owner) > 1 else "another process"
        raise RunConflictError(f"run {name!r} is being written by {who}; wait for it, or stop it first") from None
