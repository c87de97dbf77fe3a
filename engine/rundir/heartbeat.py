"""The heartbeat that a run writes, and the numbered requests that screens send to it.

status.json is rewritten every second by a thread, which distinguishes a dead run from a slow one; screens append to
control.jsonl, and the run acknowledges each request with an event.
"""

import fcntl
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from engine.core.errors import ConfigError
from engine.core.events import RunFailed, RunFinished, RunPaused, from_json
from engine.core.pace import seconds_left
from engine.rundir.directory import RunDir, heal

SCHEMA = 1
REQUESTS = ("pause", "resume", "stop", "save")
SLOW_AFTER_S = 10.0
NOT_BEGUN = "not begun"
ACTIVE = ("running", "paused", "slow")  # as far as we know, a process is at work
ENDINGS = ("finished", "failed", "stopped")  # that a run reports; otherwise it has "ended"
STATE_AFTER: dict[type, str] = {RunFinished: "finished", RunFailed: "failed", RunPaused: "stopped"}
TAIL_BYTES = 100_000  # at the end of events.jsonl, many lines
MOST = Field(ge=-1e15, le=1e15)  # of any time or count
ZOMBIE = "Z"  # in /proc, a process that has ended and whose parent has not collected it yet
ALMOST_DONE = 0.99  # the most that `progress`, an estimate from the time per step, may be


class Status(BaseModel):
    """What status.json must hold to be trusted; other fields pass unchecked."""

    model_config = ConfigDict(strict=True, extra="allow")

    state: str
    at: Annotated[float, MOST]
    pid: Annotated[int, MOST]
    step: Annotated[int, MOST]
    steps: Annotated[int, MOST]
    stage: str | None = None
    eta_s: Annotated[float, MOST] | None = None


@dataclass(frozen=True)
class Request:
    """One numbered request of control.jsonl."""

    number: int
    request: str


class Heartbeat:
    """Keeps status.json up to date while its `with` block lasts: at every update, and every second by its own thread.

    `last` is the last stage that the process was started for.
    """

    def __init__(
        self, rundir: RunDir, last: str = "", interval_s: float = 1.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._rundir, self._interval_s, self._clock = rundir, interval_s, clock
        self._done = threading.Event()
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._step_s, self._step_at = 0.0, 0.0
        self._row: dict[str, Any] = {
            "schema": SCHEMA,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "pid_started": process_start(os.getpid()),
            "state": "running",
            "stage": None,
            "last": last,
            "step": 0,
            "steps": 0,
            "progress": 0.0,
            "eta_s": None,
        }

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.update(state="ended" if self._row["state"] == "running" else None)

    def update(
        self,
        stage: str | None = None,
        step: int | None = None,
        steps: int | None = None,
        step_s: float | None = None,
        state: str | None = None,
    ) -> None:
        """Changes what is given and writes it.

        `step_s`, the seconds per step or 0 while they are unknown, means that a step has just ended or a stage begun.
        `state` is running, paused, finished, failed or stopped.
        """
        given = {"stage": stage, "step": step, "steps": steps, "state": state}
        with self._guard:
            self._row.update((name, value) for name, value in given.items() if value is not None)
            if step_s is not None:
                self._step_s, self._step_at = step_s, self._clock()
        self._write()

    def _beat(self) -> None:
        while not self._done.wait(self._interval_s):
            self._write()

    def _write(self) -> None:
        with self._guard:
            now, row = self._clock(), self._row
            within_s = now - self._step_at
            row["eta_s"] = None
            if not self._step_s:
                row["progress"] = 0.0
            elif row["state"] == "running":
                row["progress"] = min(ALMOST_DONE, within_s / self._step_s)
                row["eta_s"] = seconds_left(self._step_s, row["steps"] - row["step"], within_s)
            temporary = self._rundir.path / ".status.json.tmp"
            with suppress(OSError):  # a full disk or a deleted folder must not end the training
                temporary.write_text(json.dumps({**row, "at": now}), encoding="utf-8")
                os.replace(temporary, self._rundir.status)


def read_status(rundir: RunDir) -> dict[str, Any] | None:
    """The last heartbeat, or None if there is none or it is damaged."""
    try:
        return Status.model_validate_json(rundir.status.read_bytes()).model_dump()
    except (OSError, ValueError):
        return None


def last_word(rundir: RunDir) -> str:
    """The state of a run without a heartbeat, by its last event: finished, failed, stopped, otherwise ended, or not
    begun if it has no events."""
    try:
        with rundir.events.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return NOT_BEGUN
    for line in reversed(lines):
        with suppress(ValueError, TypeError, AttributeError, RecursionError):  # other programs may write, too
            if (event := from_json(line)) is not None:
                return STATE_AFTER.get(type(event), "ended")
    return NOT_BEGUN


def liveness(status: dict[str, Any] | None, now: float, last: str = NOT_BEGUN) -> str:
    """The state of a run at time `now` in one word, the same on every screen.

    running; paused; slow (no heartbeat for 10 s, but its process exists, or is on another machine); dead (its process
    is gone); or the state it ended with: finished, failed, stopped, otherwise ended; without a heartbeat `last`
    (last_word).
    """
    if status is None:
        return last
    state = str(status.get("state"))
    if state not in ("running", "paused"):
        return state if state in ENDINGS else "ended"
    here = status.get("host") == socket.gethostname()
    if here and process_start(int(status.get("pid", -1))) != status.get("pid_started"):
        return "dead"
    return state if now - float(status.get("at", 0.0)) < SLOW_AFTER_S else "slow"


def process_start(pid: int) -> str | None:
    """When a process of this machine started, in the system's own format; None if there is no such process.

    Together with the pid it identifies a process, although pids are reused. A zombie does not count as a process.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        words = stat.read_text(errors="replace").rsplit(")", 1)[1].split()
        return None if words[0] == ZOMBIE else words[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists() or pid < 1:
        return None
    asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def make_request(rundir: RunDir, request: str) -> int:
    """Appends a request to control.jsonl and returns its number, counted from 1.

    Raises: ConfigError for an unknown request.
    """
    if request not in REQUESTS:
        raise ConfigError(f"{request!r} is not a request; use {', '.join(REQUESTS)}")
    handle = os.open(rundir.control, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        heal(rundir.control)
        number = max((old.number for old in pending_requests(rundir, 0)), default=0) + 1
        os.write(handle, (json.dumps({"schema": SCHEMA, "number": number, "request": request}) + "\n").encode())
    finally:
        os.close(handle)
    return number


def pending_requests(rundir: RunDir, after: int) -> list[Request]:
    """The requests with a number above `after`, in order; torn and unknown lines are skipped."""
    if not rundir.control.exists():
        return []
    found = []
    for line in rundir.control.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
            entry = Request(int(row["number"]), str(row["request"]))
        except (ValueError, KeyError, TypeError):
            continue
        if entry.number > after and entry.request in REQUESTS:
            found.append(entry)
    return found
