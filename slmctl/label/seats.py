"""Which of several sittings this is that one labeler's name has in one database at the same time.

A seat is a locked file beside the database, which the system lets go of when its process ends, however it ends. The
file itself stays where a process was killed: that is harmless, and whoever takes the seat next removes it. What follows
from its number is the order in which prompts are asked.
"""

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from engine.core.seeding import python_rng

T = TypeVar("T")
NAME = 8  # hexadecimal digits that stand for a name, which may be any text


@dataclass(frozen=True)
class Seat:
    """A seat that was taken: 0 where nobody else sits in the database under this name."""

    number: int
    path: Path
    handle: int

    def leave(self) -> None:
        """Gives the seat back."""
        with suppress(OSError):
            self.path.unlink()
        os.close(self.handle)


def seat_at(labels: Path, who: str) -> Seat | None:
    """The first free seat of this name, None where no locked file can be made beside the database."""
    name = sha256(who.encode(errors="replace")).hexdigest()[:NAME]
    number = 0
    try:
        while (handle := _taken(path := labels.with_name(f"{labels.name}-seat-{name}-{number}"))) is None:
            number += 1
    except OSError:
        return None
    return Seat(number, path, handle)


def _taken(path: Path) -> int | None:
    """The open file of a seat that is ours now, None where it is somebody else's. Raises: OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == path.stat().st_ino:  # one that was removed meanwhile is nobody's seat
            return handle
    os.close(handle)
    return None


def order_at(seat: int, prompts: Sequence[T]) -> list[T]:
    """The prompts in the order in which this seat asks them.

    The first one goes forward and the second one backward, so that the two meet once; of further ones each goes its own
    way.
    """
    order = list(prompts)
    if seat == 1:
        order.reverse()
    elif seat > 1:
        python_rng(seat, "label/order").shuffle(order)
    return order
