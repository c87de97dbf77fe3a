"""Starting a run from a screen: the exact command that a person would type, in a process that outlives the screen.

The process has its own session, runs at a lower priority, reads no input and writes its stderr to the run's log.txt.
Its progress is read from the run directory, as for any run; `LaunchedCommand` only knows whether it has begun.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import slmctl
from engine.core.errors import INTERRUPTED, FileError
from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import read_status

NICENESS = 10  # keeps the screen responsive; costs nothing on an idle machine
_ROOT = str(Path(slmctl.__file__).resolve().parents[1])
_BEGIN = (
    f"import os, sys; os.nice({NICENESS}); sys.path.append({_ROOT!r})"  # this code, not the current folder's
    "; from slmctl.cli import main; main()"
)
LAST_LINES = 12
SHELL_SIGNAL = 128  # what a shell adds to the number of a signal for its exit code
STAGE_COMMANDS = ("pretrain", "sft", "rm", "ppo")  # stages with a command of their own


def command_line(words: Sequence[str]) -> str:
    """The command as typed in a shell."""
    return shlex.join(("slmctl", *words))


def resume_words(run: str, last: str) -> tuple[str, ...]:
    """The words of the command that resumes a run up to the stage `last`, or completes it if that stage is unknown."""
    return (last if last in STAGE_COMMANDS else "run", "--run", run)


def killed_by(code: int) -> int:
    """The signal that ended a process, from its exit code, to which a shell adds 128; 0 for none."""
    return -code if code < 0 else code - SHELL_SIGNAL if code > INTERRUPTED else 0


@dataclass
class LaunchedCommand:
    """A command that was started: its process, its run and its log.

    `log` is a file beside the runs until the run exists, whose log.txt it then becomes; `since` is the offset at which
    this command began to write.
    """

    words: tuple[str, ...]
    run: RunDir
    process: subprocess.Popen[bytes]
    log: Path
    since: int = 0

    def begun(self) -> bool:
        """Whether the run's heartbeat is from this process: its settings were accepted and it is working."""
        status = read_status(self.run)
        return status is not None and status.get("pid") == self.process.pid

    def ended(self) -> int | None:
        """The exit code, None while it runs; also reaps a process that has ended."""
        return self.process.poll()

    def output(self) -> str:
        """The last lines that it wrote."""
        try:
            text = self.log.read_bytes()[self.since :].decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-LAST_LINES:])

    def settle(self) -> None:
        """Moves the log into the run directory once that exists; the process keeps writing to it."""
        if self.log != self.run.log and self.run.exists() and not self.run.log.exists():
            with suppress(OSError):  # a log that is gone or cannot be moved must not end the screen
                os.rename(self.log, self.run.log)
                self.log = self.run.log

    def discard_log(self) -> None:
        """Deletes the log of a command that created no run."""
        if self.log != self.run.log:
            self.log.unlink(missing_ok=True)


def launch(
    words: Sequence[str], run: RunDir, environ: Mapping[str, str], following: Sequence[Sequence[str]] = ()
) -> LaunchedCommand:
    """Starts `slmctl WORDS`, which works on `run`; each command of `following` starts if the previous one succeeded.

    Raises: FileError if the log cannot be written or the process cannot be started.
    """
    commands = [[sys.executable, "-P", "-c", _BEGIN, *each] for each in (words, *following)]
    command = ["sh", "-c", " && ".join(map(shlex.join, commands))] if following else commands[0]
    try:
        since = run.log.stat().st_size if run.log.exists() else 0
        handle, log = _log(run)
        try:
            process = subprocess.Popen(
                command,
                env={**environ, "SLMCTL_RUNS": str(run.path.parent)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=handle,
                start_new_session=True,
            )
        finally:
            os.close(handle)
    except OSError as error:
        raise FileError(f"cannot start {command_line(words)}: {error.strerror} ({error.filename})") from error
    return LaunchedCommand(tuple(words), run, process, log, since)


def _log(run: RunDir) -> tuple[int, Path]:
    """An open file for the stderr of the process, and its path."""
    log = run.log if run.exists() else run.path.parent / f".launch-{os.getpid()}-{time.time_ns()}.txt"
    run.path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644), log
