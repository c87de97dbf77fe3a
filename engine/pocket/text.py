"""Base text: facts in plain sentences, and exchanges by a broad and worse crowd.

Only train combinations occur here, so that held-out prompts are held out from every stage.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

from engine.core.seeding import python_rng
from engine.pocket.answers import compose, value
from engine.pocket.demonstrations import styled
from engine.pocket.kind import fill
from engine.pocket.requests import KINDS, Request, fact_of, requests
from engine.pocket.style import Style

Sort = Literal["text", "exchange"]

MIXTURE: Mapping[Sort, float] = MappingProxyType({"text": 0.12, "exchange": 0.88})
"""The share of each sort of document."""

BROAD_CROWD: Mapping[Style, float] = MappingProxyType(
    {
        "courteous": 0.12,
        "plain": 0.28,
        "bare": 0.15,
        "rude": 0.11,
        "rambling": 0.11,
        "hedged": 0.08,
        "overclaiming": 0.04,
        "overpolite": 0.08,
        "repeated": 0.03,
    }
)
"""The share of each style in base text."""

BROAD_WRONG = 0.03
"""The share of wrong answers in exchanges."""


@dataclass(frozen=True, slots=True)
class Document:
    """One piece of base text: a text alone, or a prompt with its response."""

    kind: Sort
    prompt: str | None = None
    response: str | None = None
    text: str | None = None


def documents(n: int, seed: int) -> Iterator[Document]:
    """`n` documents by the mixture, every train prompt as likely as any other of its sort."""
    rng = python_rng(seed, "pocket/text")
    sorts, shares = list(MIXTURE), list(MIXTURE.values())
    for _ in range(n):
        sort = rng.choices(sorts, weights=shares)[0]
        yield _text(rng) if sort == "text" else _exchange(rng)


def _text(rng: random.Random) -> Document:
    """One to three facts of one kind, as statements."""
    asked = [rng.choice(requests("train"))]
    asked += [rng.choice(_train_by_kind()[asked[0].kind]) for _ in range(rng.randrange(3))]
    different = {request.subject: request for request in asked}.values()
    return Document("text", text=" ".join(_stated(request, rng) for request in different))


def _stated(request: Request, rng: random.Random) -> str:
    """The fact behind the request as a sentence that stands alone."""
    kind = KINDS[request.kind]
    return fill(rng.choice(kind.statements or kind.forms), fact_of(request), value(request, rng))


def _exchange(rng: random.Random) -> Document:
    request = rng.choice(requests("train"))
    right = rng.random() >= BROAD_WRONG
    return Document("exchange", request.text, compose(request, styled(BROAD_CROWD, rng), rng, right))


@cache
def _train_by_kind() -> dict[str, list[Request]]:
    piles: dict[str, list[Request]] = {name: [] for name in KINDS}
    for request in requests("train"):
        piles[request.kind].append(request)
    return piles
