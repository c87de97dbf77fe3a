"""Mistakes of ours: where their details are kept, so that a person sees one sentence and no traceback."""

import os
import sys
import tempfile
import traceback
from pathlib import Path


class Bug(Exception):
    """An error that no command expects, met while a run was driven; its cause is the error, `log` the run's log.txt."""

    def __init__(self, log: Path) -> None:
        super().__init__(str(log))
        self.log = log


def keep_traceback(error: Exception) -> tuple[Exception, Path]:
    """The error itself, and the file that now holds its traceback: the run's log, else a new file of its own."""
    log = None
    if isinstance(error, Bug) and isinstance(error.__cause__, Exception):
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
        log = Path(os.devnull)  # nowhere to keep it
    return error, log
