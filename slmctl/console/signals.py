"""Ctrl-C: the first asks the run to finish its step and save, the second leaves at once. And readers who go away."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from engine.core.errors import INTERRUPTED


class StopFlag:
    """Becomes true at the first SIGINT or SIGTERM; call it to ask."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        return self.requested

    def install(self) -> "StopFlag":
        """Takes over SIGINT and SIGTERM for this process, and returns itself."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            os._exit(INTERRUPTED)
        self.requested = True
        message = "\nfinishing this step and saving; once more to leave at once\n"
        os.write(2, message.encode())


@contextmanager
def broken_pipes_raise() -> Iterator[None]:
    """Inside, writing to a reader who went away raises BrokenPipeError; outside, it ends the process without a word."""
    if not hasattr(signal, "SIGPIPE"):
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)
