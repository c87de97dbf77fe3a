"""Demonstrations as a real crowd writes them: mostly correct, in deliberately mixed styles."""

import random
from collections.abc import Mapping

from engine.core.seeding import python_rng
from engine.pocket.prompts import PocketRequest, draw_requests
from engine.pocket.style import Style
from engine.pocket.wording import compose_response

CROWD: Mapping[Style, float] = {
    "courteous": 0.12,
    "plain": 0.28,
    "bare": 0.11,
    "rude": 0.12,
    "rambling": 0.15,
    "hedged": 0.07,
    "overclaiming": 0.03,
    "overpolite": 0.10,
    "repeated": 0.02,
}
"""Fraction of each style among demonstrations."""

WRONG = 0.02
"""Fraction of demonstrations with a wrong answer, in any style."""


def demonstrations(n: int, seed: int) -> list[tuple[PocketRequest, str]]:
    """`n` training prompts, each with a response.

    Raises: ValueError if the train split has fewer than `n`.
    """
    rng = python_rng(seed, "pocket/demonstrations")
    return [
        (request, compose_response(request, draw_style(CROWD, rng), rng, right=rng.random() >= WRONG))
        for request in draw_requests("train", n, seed, "pocket/demonstration-prompts")
    ]


def draw_style(crowd: Mapping[Style, float], rng: random.Random) -> Style:
    """A random style, drawn by these fractions."""
    return rng.choices(list(crowd), weights=list(crowd.values()))[0]
