"""The errors a person can meet.

Each is one clear sentence (what was wrong, the value seen, what is allowed, what to do next) and carries the exit code
that the command line ends with. Broken invariants are asserts instead, and are not listed here.
"""

import difflib
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)

INTERRUPTED = 130  # the exit code of a process that was stopped by Ctrl-C


class EngineError(Exception):
    """A run that failed for a reason that a person can act on."""

    exit_code = 1


class ConfigError(EngineError):
    """A key, value or usage that the configuration does not allow."""

    exit_code = 2


class RunConflictError(ConfigError):
    """A request that contradicts what the run directory already holds, or a run that another process is writing."""


class FileError(EngineError):
    """A file that is missing, unreadable or of an incompatible kind."""

    exit_code = 3


class LockedError(FileError):
    """A file that another process keeps to itself for now; the same may work a moment later."""


class WithdrawnError(FileError):
    """A judgement that was to be taken back, and that another process took back before."""


class DataError(FileError):
    """A row of a person's data that cannot be used; the message names file, line and field."""


class CheckpointError(FileError):
    """A checkpoint directory that is missing, damaged or of another shape than asked for."""


class DivergedError(EngineError):
    """Training reached a loss or a gradient that is not a number; the last good checkpoint is kept."""

    exit_code = 4


def is_disk_error(error: BaseException | None) -> TypeGuard[OSError]:
    """Whether an error is the disk's: full, failing, or not ours to use."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def disk_error(error: BaseException | None, path: Path) -> FileError | None:
    """The sentence for an error of the disk that a run met writing to `path`, or None for any other error."""
    if not is_disk_error(error):
        return None
    why = os.strerror(error.errno or 0).lower()
    place = error.filename or path
    return FileError(
        f"cannot write to {place}: {why}; the last save is kept: mend that, then type the same command again"
    )


def one_line(error: object) -> str:
    """What a library said, fit for the end of a sentence of ours: one line, not too long, with one full stop."""
    text = " ".join(str(error).split())
    return (text if len(text) <= 300 else text[:297] + "...").rstrip(".") + "."


def nearest(name: str, names: Iterable[str]) -> str:
    """ "; did you mean ...?" with the likeliest of `names`, or nothing where none is near."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
