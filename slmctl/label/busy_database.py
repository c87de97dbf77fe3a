"""A database that another process may hold for a while: what is written into it waits until it is free."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from engine.core.errors import LockedError

PATIENCE_S = 0.5  # of a write that another process keeps waiting, before that is told
T = TypeVar("T")


async def patiently(write: Callable[[], T], held: Callable[[LockedError], object]) -> T:
    """What a write gives, tried again while another process holds the file.

    `held` is told each time, and may raise the error where nobody waits. Raises: what `write` and `held` raise.
    """
    while True:
        try:
            return await asyncio.to_thread(write)
        except LockedError as error:
            held(error)
