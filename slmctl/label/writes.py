"""Writes to label databases, in order and off the event loop, retried while another process has the file locked.

Label and Chat both write through a `WriteQueue`. What a row contains is the caller's job.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from engine.core.errors import EngineError, LockedError, WithdrawnError

LOCK_WAIT_S = 0.5  # how long one try waits for another process; after that the user sees an error
T = TypeVar("T")
OnLocked = Callable[[LockedError], object]


class WriteQueue:
    """Lets one operation at a time write, in the order in which they begin.

    An operation is the body of `async with queue.turn:`. It calls `write`, and may read state before and change it
    after: nothing that another operation does comes in between.
    """

    def __init__(self) -> None:
        self.turn = asyncio.Lock()  # first come, first served
        self._write: asyncio.Task[Any] | None = None  # the last one that was started
        self._locked = self._closing = False

    @property
    def locked(self) -> bool:
        """Whether an operation waits for another process to unlock its database."""
        return self.turn.locked() and self._locked

    async def write(self, call: Callable[[], T], on_locked: OnLocked) -> T:
        """What `call` returns; `call` runs in a thread, and again after each LockedError, which `on_locked` is given.

        A cancelled caller does not cancel the write. Raises: what `call` or `on_locked` raises; LockedError once the
        queue is closing.
        """

        def report(error: LockedError) -> None:
            if self._closing:
                raise error
            on_locked(error)
            self._locked = True

        self._locked = False
        self._write = asyncio.create_task(retry_while_locked(call, report), name="write to a label database")
        return await asyncio.shield(self._write)

    async def close(self) -> EngineError | None:
        """Stops retrying and waits for the write in progress; why the last write failed, None if it did not."""
        self._closing = True
        if self._write is None:
            return None
        await asyncio.wait([self._write])
        error = self._write.exception()
        return error if isinstance(error, EngineError) and not isinstance(error, WithdrawnError) else None


async def retry_while_locked(call: Callable[[], T], on_locked: OnLocked) -> T:
    """What `call` returns, run in a thread and retried after each LockedError.

    `on_locked` is given each of these errors and may raise it to give up. Raises: what `call` and `on_locked` raise.
    """
    while True:
        try:
            return await asyncio.to_thread(call)
        except LockedError as error:
            on_locked(error)
