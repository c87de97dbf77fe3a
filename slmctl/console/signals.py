"""Ctrl-C, which stops a run after its step, the second time at once; and readers that close their pipe."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from engine.core.errors import INTERRUPTED


class StopFlag:
    """Returns, when called, whether SIGINT or SIGTERM was received."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        return self.requested

    def install(self) -> "StopFlag":
        """Handles SIGINT and SIGTERM of this process, and returns itself."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            os._exit(INTERRUPTED)
        self.requested = True
        message = "\nSaving after this step. Press Ctrl-C again to quit now.\n"
        os.write(2, message.encode())


@contextmanager
def broken_pipes_raise() -> Iterator[None]:
    """Inside, writing to a closed pipe raises BrokenPipeError; outside, it ends the process silently."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)
