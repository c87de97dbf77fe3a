"""What a chat template's work costs: the fuel that a rendering is given, and what values weigh.

One unit is about one step of Python, or a few characters read or written in C.
"""

from collections.abc import Mapping
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

FUEL = 200_000  # what any conversation is given; templates in use burn hundreds a message
FUEL_PER_WEIGHT = 1000  # and for each unit that the conversation weighs
CHARACTERS = 8  # that weigh as much as one step
LISTED: tuple[type[Any], ...] = (list, tuple, type({}.keys()), type({}.values()), type({}.items()))
COUNTED: tuple[type[Any], ...] = (*LISTED, dict, range)


class Meter:
    """The fuel that is left to a rendering."""

    def __init__(self) -> None:
        self.left = FUEL

    def burn(self, amount: int) -> None:
        """Take `amount` away. Raises: SecurityError if there is not as much."""
        self.left -= amount
        if self.left < 0:
            raise SecurityError("it works or writes without end, or far more than this conversation needs")

    def read(self, *values: Any) -> None:
        """Burn what `values` weigh with all that they hold."""
        for value in values:
            self.burn(weight(value, self.left))


def weight(value: Any, limit: int = 1 << 62) -> int:
    """What reading `value` with all that it holds costs, counted up to `limit`: a shared part counts each time.

    That is what comparing or printing takes: lists that hold the same list twice, thirty deep, have 2**30 leaves.
    """
    total, waiting = 0, [value]
    while waiting and total <= limit:
        item = waiting.pop()
        if isinstance(item, str):
            total += 1 + len(item) // CHARACTERS
            continue
        if isinstance(item, int):
            total += 1 + item.bit_length() // CHARACTERS
            continue
        total += length(item)
        if isinstance(item, Namespace):
            waiting.append(object.__getattribute__(item, "_Namespace__attrs"))
        elif isinstance(item, Mapping):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, LISTED):
            waiting.extend(item)
    return total


def length(value: Any, limit: int = 0) -> int:
    """What copying `value`, or looking at each of its items once, costs; there is no need for a `limit`."""
    if isinstance(value, str):
        return 1 + len(value) // CHARACTERS
    if isinstance(value, COUNTED):
        return 1 + len(value)
    return 1


def nothing(value: Any, limit: int = 0) -> int:
    """What it costs not to look at `value`."""
    return 0
