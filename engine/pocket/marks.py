"""Answers that readers of base text marked right or wrong: what a reward model may learn before it meets any ranking.

The marks speak of correctness alone and come from the world's own knowledge, never from the judge. Only train
combinations occur. Source: Askell et al. 2021, section 4 (preference model pretraining on public ranked text).
"""

from __future__ import annotations

import random

from engine.core.seeding import python_rng
from engine.pocket.answers import compose, twins
from engine.pocket.demonstrations import styled
from engine.pocket.requests import KINDS, Request, requests
from engine.pocket.style import Style
from engine.pocket.text import BROAD_CROWD

_MISTAKES = {"value": 0.4, "other": 0.3, "slip": 0.3}
"""How wrong answers come about: a wrong value, an answer to something else, or a right one garbled in writing."""


def marked_pairs(n: int, seed: int) -> list[tuple[str, str, str]]:
    """`n` of (prompt, answer marked right, answer marked wrong), both in one style; prompts may recur."""
    rng = python_rng(seed, "pocket/marks")
    asked = rng.choices(requests("train"), k=n)
    return [(request.text, *_marked(request, styled(BROAD_CROWD, rng), rng)) for request in asked]


def _marked(request: Request, style: Style, rng: random.Random) -> tuple[str, str]:
    """A right and a wrong answer in this style."""
    mistake = rng.choices(list(_MISTAKES), weights=list(_MISTAKES.values()))[0]
    if mistake == "value" and KINDS[request.kind].answerable:
        return twins(request, style, rng)
    right = compose(request, style, rng)
    if mistake == "value":
        return right, compose(request, style, rng, right=False)
    elsewhere = compose(_another(request, rng), style, rng)
    return right, elsewhere if mistake == "other" else _garbled(right, elsewhere, rng)


def _another(request: Request, rng: random.Random) -> Request:
    """A request about something else; of the same kind half of the time, where one answer does not fit all of them."""
    same_kind = KINDS[request.kind].answerable and rng.random() < 0.5
    while True:
        other = rng.choice(requests("train"))
        if (other.kind == request.kind) == same_kind and (other.kind, other.subject) != (request.kind, request.subject):
            return other


def _garbled(right: str, elsewhere: str, rng: random.Random) -> str:
    """The right answer with one of its words, or its end, taken from another answer."""
    words, others = right.split(), elsewhere.split()
    while True:
        place = rng.randrange(len(words))
        end = words[place + 1 :] if rng.random() < 0.5 else others[rng.randrange(len(others)) :]
        garbled = " ".join([*words[:place], rng.choice(others), *end])
        if garbled != right:
            return garbled
