"""What a labeler decides about a question, and a ranking as it is typed, such as `2>1=3`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.core.errors import ConfigError

SEPARATOR = re.compile(r"\s*([>=,])\s*|\s+")


@dataclass(frozen=True)
class Decision:
    """A verdict; where it compares, `ranks` has one number per response in screen order, 0 the best."""

    verdict: str
    ranks: tuple[int, ...] | None = None
    strength: int = 1
    edited: str | None = None


def choice(place: int, count: int, strength: int = 1) -> Decision:
    """The response at `place`, from 0, is better than all others."""
    return Decision("choice", tuple(int(other != place) for other in range(count)), strength)


def no_preference(verdict: str, count: int) -> Decision:
    """No response is better: "tie" or "both_bad"."""
    return Decision(verdict, (0,) * count)


def ranking(ranks: Sequence[int]) -> Decision:
    """A ranking of all responses; a tie if all ranks are equal."""
    return Decision("ranking", tuple(ranks)) if any(ranks) else no_preference("tie", len(ranks))


SKIP = Decision("skip")


def parse_ranking(text: str, count: int) -> tuple[int, ...]:
    """The ranks of responses 1 to `count`, 0 the best, equal for a tie: (1, 0, 1) for 2>1=3.

    The best comes first. `>`, a comma, a space or nothing between two numbers means that the first is better, `=` that
    they are tied. Raises: ConfigError saying what is wrong.
    """
    example = _example(count)
    cleaned = SEPARATOR.sub(lambda found: "=" if found[1] == "=" else ">", text.strip())
    if wrong := re.search(r"[^0-9>=]", cleaned):
        hint = "the best comes first" if wrong[0] == "<" else f"use numbers, > and =, such as {example}"
        raise ConfigError(f"{wrong[0]!r} is not allowed in a ranking; {hint}")
    if not re.fullmatch(r"[0-9]([>=]?[0-9])*", cleaned):
        raise ConfigError(f"a number is missing next to > or =; type a ranking such as {example}")
    ranks: dict[int, int] = {}
    rank = 0
    for mark, digit in re.findall(r"([>=]?)([0-9])", cleaned):
        number = int(digit)
        if not 1 <= number <= count:
            raise ConfigError(f"no response {number}; the responses are 1 to {count}")
        if number in ranks:
            raise ConfigError(f"response {number} is listed twice; list each response once")
        rank += bool(ranks) and mark != "="
        ranks[number] = rank
    if missing := [number for number in range(1, count + 1) if number not in ranks]:
        raise ConfigError(f"{', '.join(map(str, missing))} missing; list every response, such as {example}")
    return tuple(ranks[number] for number in range(1, count + 1))


def ranking_text(ranks: Sequence[int]) -> str:
    """Ranks as they would be typed."""
    groups = [[place + 1 for place, own in enumerate(ranks) if own == rank] for rank in sorted(set(ranks))]
    return ">".join("=".join(map(str, group)) for group in groups)


def _example(count: int) -> str:
    return ranking_text(tuple(0 if place == 1 else 1 for place in range(count)) if count < 4 else range(count))
