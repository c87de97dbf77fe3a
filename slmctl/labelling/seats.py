"""Which of several sittings this is that one labeler's name has in one database at the same time.

A seat is a locked file beside the database, which the system lets go of when its process ends, however it ends. What
follows from its number is the order in which prompts are asked.
"""

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
NAME = 8  # hexadecimal digits that stand for a name, which may be any text


class Seat:
    """The first free seat of this name: 0 where nobody sits in the database under it now."""

    def __init__(self, labels: Path, who: str) -> None:
        """Raises: OSError where no file can be made beside the database."""
        name = sha256(who.encode(errors="replace")).hexdigest()[:NAME]
        for self.number in count():
            self._path = labels.with_name(f"{labels.name}-seat-{name}-{self.number}")
            self._handle = os.open(self._path, os.O_RDONLY | os.O_CREAT, 0o666)
            if self._is_taken_now():
                return
            os.close(self._handle)

    def leave(self) -> None:
        """Gives the seat back."""
        with suppress(OSError):
            self._path.unlink()
        os.close(self._handle)

    def _is_taken_now(self) -> bool:
        """Whether the file is ours now; one that was removed meanwhile is nobody's seat."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fstat(self._handle).st_ino == self._path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            return False


def seat_at(labels: Path, who: str) -> Seat | None:
    """A seat, None on a disk that knows no such locks."""
    try:
        return Seat(labels, who)
    except OSError:
        return None


def order_at(seat: int, prompts: Sequence[T]) -> list[T]:
    """The prompts in the order in which this seat asks them.

    The first seat goes forward from the first prompt and the second one back from the last, so that the two meet once;
    the third and fourth go both ways from the middle, the next two from a quarter, and so on.

    Source: van der Corput 1935 (where they begin).
    """
    pair, backward = divmod(seat, 2)
    digits = f"{pair:b}"
    first = len(prompts) * int(digits[::-1], 2) // 2 ** len(digits)
    turned = [*prompts[first:], *prompts[:first]]
    return turned[::-1] if backward else turned
