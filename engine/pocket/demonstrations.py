"""Demonstrations as a real crowd writes them: mostly right, of deliberately mixed style."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType

from engine.core.seeding import python_rng
from engine.pocket.answers import compose
from engine.pocket.requests import Request, draw
from engine.pocket.style import Style

CROWD: Mapping[Style, float] = MappingProxyType(
    {
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
)
"""The share of each style among demonstrations."""

WRONG = 0.02
"""The share of demonstrations that are wrong, whatever their style."""


def demonstrations(n: int, seed: int) -> list[tuple[Request, str]]:
    """`n` train prompts, each with the answer of one member of the crowd.

    Raises: ValueError if the train split holds fewer than `n`.
    """
    rng = python_rng(seed, "pocket/demonstrations")
    return [
        (request, compose(request, styled(CROWD, rng), rng, right=rng.random() >= WRONG))
        for request in draw("train", n, seed, "pocket/demonstration-prompts")
    ]


def styled(crowd: Mapping[Style, float], rng: random.Random) -> Style:
    """One style, drawn by its share."""
    return rng.choices(list(crowd), weights=list(crowd.values()))[0]
