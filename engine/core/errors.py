"""Errors that a user can cause, each with the exit code of the command line.

A message is one sentence: what was wrong, the value seen, what is allowed, what to do next. Broken invariants are
asserts instead.
"""

import difflib
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)

INTERRUPTED = 130  # exit code after Ctrl-C


class EngineError(Exception):
    """A failure that the user can act on."""

    exit_code = 1


class ConfigError(EngineError):
    """An unknown option or setting, or a value that is not allowed."""

    exit_code = 2


class RunConflictError(ConfigError):
    """A request that conflicts with an existing run, or a run that another process is writing."""


class FileError(EngineError):
    """A missing, unreadable or incompatible file."""

    exit_code = 3


class LockedError(FileError):
    """A file that another process has locked; a retry may work."""


class WithdrawnError(FileError):
    """A label that another process has already undone."""


class DataError(FileError):
    """An invalid row of data; the message names file, line and field."""


class CheckpointError(FileError):
    """A missing, damaged or incompatible checkpoint directory."""


class DivergedError(EngineError):
    """A loss or gradient that is not finite; the last good checkpoint is kept."""

    exit_code = 4


def is_disk_error(error: BaseException | None) -> TypeGuard[OSError]:
    """Whether an error comes from the disk: full, failing or not writable."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def disk_error(error: BaseException | None, path: Path) -> FileError | None:
    """The error to report if a run could not write to `path`, None for errors that do not come from the disk."""
    if not is_disk_error(error):
        return None
    why = os.strerror(error.errno or 0).lower()
    place = error.filename or path
    return FileError(f"cannot write to {place}: {why}; the last checkpoint is kept: fix this, then rerun the command")


def one_line(error: object) -> str:
    """The message of a library's error as the end of a sentence: one line of at most 300 characters and a period."""
    text = " ".join(str(error).split())
    return (text if len(text) <= 300 else text[:297] + "...").rstrip(".") + "."


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """ "; did you mean ...?" with the most similar of `names`, or "" if none is similar."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
