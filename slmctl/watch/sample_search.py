"""Which samples of a stage hold a text, in prompt or response: over all of its steps, in the order of training."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from slmctl.watch.follower import Drawn
from slmctl.watch.samples import samples_of


class Found(NamedTuple):
    """A sample by its place: which of the drawn steps, and its number among the samples of that step."""

    place: int
    number: int


class Finder:
    """Keeps what it has read of each step, so that every key that is typed can be answered at once."""

    def __init__(self) -> None:
        self._texts: dict[Drawn, list[str]] = {}
        self._last: tuple[str, tuple[Drawn, ...], list[Found]] = ("", (), [])

    def find(self, history: Sequence[Drawn], wanted: str) -> list[Found]:
        """The samples that hold the text, whatever the case and the white space."""
        key, steps = _plain(wanted), tuple(history)
        if self._last[:2] != (key, steps):
            found = [
                Found(place, number)
                for place, drawn in enumerate(steps)
                for number, text in enumerate(self._of(drawn))
                if key in text
            ]
            self._last = key, steps, found
        return self._last[2]

    def _of(self, drawn: Drawn) -> list[str]:
        if drawn not in self._texts:
            self._texts[drawn] = [_plain(f"{item.prompt}\n{item.response}") for item in samples_of(drawn)]
        return self._texts[drawn]


def nearest(found: Sequence[Found], spot: Found) -> int:
    """Which of the found, in their order, is the sample itself, else the last before it, else the first."""
    return max(0, bisect_right(found, spot) - 1)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
