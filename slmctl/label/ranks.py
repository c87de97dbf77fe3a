"""An order of responses as a person types it, `2>1=3`, and the ranks that it means."""

import re
from collections.abc import Sequence

from engine.core.errors import ConfigError

MARKS = re.compile(r"\s*([>=,])\s*|\s+")


def parse_order(text: str, count: int) -> tuple[int, ...]:
    """The ranks of responses 1 to `count`, 0 the best and equal numbers a tie: (1, 0, 1) for 2>1=3.

    Numbers stand from the best to the worst; `>`, a comma, a space or nothing at all between two says that the first is
    better, `=` that both are as good. Raises: ConfigError with the sentence for what cannot be read.
    """
    example = _example(count)
    cleaned = MARKS.sub(lambda found: "=" if found[1] == "=" else ">", text.strip())
    if wrong := re.search(r"[^0-9>=]", cleaned):
        hint = "the best stands first" if wrong[0] == "<" else f"write numbers, > and =, such as {example}"
        raise ConfigError(f"{wrong[0]!r} has no place in an order; {hint}")
    if not re.fullmatch(r"[0-9]([>=]?[0-9])*", cleaned):
        raise ConfigError(f"a number is missing beside a > or =; write an order such as {example}")
    ranks: dict[int, int] = {}
    rank = 0
    for mark, digit in re.findall(r"([>=]?)([0-9])", cleaned):
        number = int(digit)
        if not 1 <= number <= count:
            raise ConfigError(f"there is no response {number}; they are 1 to {count}")
        if number in ranks:
            raise ConfigError(f"{number} stands there twice; each response has one place")
        rank += bool(ranks) and mark != "="
        ranks[number] = rank
    if missing := [number for number in range(1, count + 1) if number not in ranks]:
        raise ConfigError(f"{', '.join(map(str, missing))} is missing; name every response, such as {example}")
    return tuple(ranks[number] for number in range(1, count + 1))


def order_text(ranks: Sequence[int]) -> str:
    """Ranks as they would be typed."""
    groups = [[place + 1 for place, own in enumerate(ranks) if own == rank] for rank in sorted(set(ranks))]
    return ">".join("=".join(map(str, group)) for group in groups)


def _example(count: int) -> str:
    return order_text(tuple(0 if place == 1 else 1 for place in range(count)) if count < 4 else range(count))
