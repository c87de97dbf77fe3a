"""Starting a run from a screen: the very command that a person would type, as a process that outlives the screen.

It gets a session of its own, gives way to the screen, reads nothing, and says what it has to say in the run's log.txt.
How it stands is told by the run directory, like that of any other run; `Launched` only knows whether it came to begin.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import slmctl
from engine.core.errors import INTERRUPTED, FileError
from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import read_status

POLITE = 10  # how far a run gives way to the screen that started it, and costs nothing on a machine that is idle
_ROOT = str(Path(slmctl.__file__).resolve().parents[1])
_BEGIN = (
    f"import os, sys; os.nice({POLITE}); sys.path.append({_ROOT!r})"  # this very code, not the folder's
    "; from slmctl.cli import main; main()"
)
LAST_LINES = 12
SHELL_SIGNAL = 128  # what a shell adds to the number of a signal
STAGE_COMMANDS = ("pretrain", "sft", "rm", "ppo")  # stages that have a command of their own


def command_line(words: Sequence[str]) -> str:
    """The command as a person would type it into a shell."""
    return shlex.join(("slmctl", *words))


def resume_words(run: str, last: str) -> tuple[str, ...]:
    """The words of the command that goes on with a run whose process was to end with the stage `last`: with no more
    than was asked for, or with everything where that is not known."""
    return (last if last in STAGE_COMMANDS else "run", "--run", run)


def killed_by(code: int) -> int:
    """The signal that ended a process, told by its exit code, which a shell gives as 128 and more; 0 for none."""
    return -code if code < 0 else code - SHELL_SIGNAL if code > INTERRUPTED else 0


@dataclass
class Launched:
    """A command that was started: its process, the run it works on, and where what it says is kept.

    `log` is a file beside the runs until there is a run, whose log.txt it then becomes; `since` is where it began.
    """

    words: tuple[str, ...]
    run: RunDir
    process: subprocess.Popen[bytes]
    log: Path
    since: int = 0

    def begun(self) -> bool:
        """Whether the run's heartbeat is that of this process: its settings are read, and it is at work."""
        status = read_status(self.run)
        return status is not None and status.get("pid") == self.process.pid

    def ended(self) -> int | None:
        """The exit code, None while it runs; asking also takes a process that has ended off the system's list."""
        return self.process.poll()

    def output(self) -> str:
        """The last lines that it has written."""
        try:
            text = self.log.read_bytes()[self.since :].decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-LAST_LINES:])

    def settle(self) -> None:
        """Makes the log the run's own once there is a run; the process goes on writing into it."""
        if self.log != self.run.log and self.run.exists() and not self.run.log.exists():
            os.rename(self.log, self.run.log)
            self.log = self.run.log

    def forget(self) -> None:
        """Deletes the log of a command that made no run."""
        if self.log != self.run.log:
            self.log.unlink(missing_ok=True)


def launch(
    words: Sequence[str], run: RunDir, environ: Mapping[str, str], following: Sequence[Sequence[str]] = ()
) -> Launched:
    """Starts `slmctl WORDS`, which works on `run`; `following` come after it, each if the one before ended well.

    Raises: FileError where nothing can be written or started.
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
    return Launched(tuple(words), run, process, log, since)


def _log(run: RunDir) -> tuple[int, Path]:
    """An open file for what the process says, and where it lies."""
    log = run.log if run.exists() else run.path.parent / f".launch-{os.getpid()}-{time.time_ns()}.txt"
    run.path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644), log
