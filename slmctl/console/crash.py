"""Internal errors: their traceback goes to a file, so that a person sees one sentence."""

import os
import sys
import tempfile
import traceback
from pathlib import Path


class UnexpectedError(Exception):
    """An internal error during a run; its cause is the error, `log` the run's log.txt."""

    def __init__(self, log: Path) -> None:
        super().__init__(str(log))
        self.log = log


def keep_traceback(error: Exception) -> tuple[Exception, Path]:
    """The error itself, and the file with its traceback: the run's log, else a new file."""
    log = None
    if isinstance(error, UnexpectedError) and isinstance(error.__cause__, Exception):
        log, error = error.log, error.__cause__
    text = f"slmctl {' '.join(sys.argv[1:])}\n{''.join(traceback.format_exception(error))}"
    try:
        if log is None:
            handle, name = tempfile.mkstemp(prefix="slmctl-error-", suffix=".txt")
            os.close(handle)
            log = Path(name)
        with log.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError:
        log = Path(os.devnull)  # it cannot be saved anywhere
    return error, log
