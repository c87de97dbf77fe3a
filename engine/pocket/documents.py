"""Pretraining documents: facts in plain sentences, and exchanges in a broader, worse mix of styles than demonstrations.

Only training combinations occur, so that held-out prompts are held out from every stage.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from engine.core.seeding import python_rng
from engine.pocket.demonstrations import draw_style
from engine.pocket.kinds import KINDS, fill
from engine.pocket.prompts import PocketRequest, all_requests, by_kind, fact_of
from engine.pocket.style import Style
from engine.pocket.wording import answer_value, compose_response

DocumentKind = Literal["text", "exchange"]

MIXTURE: Mapping[DocumentKind, float] = {"text": 0.12, "exchange": 0.88}
"""Fraction of each kind of document."""

BROAD_CROWD: Mapping[Style, float] = {
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
"""Fraction of each style among exchanges."""

BROAD_WRONG = 0.03
"""Fraction of wrong answers in exchanges."""


@dataclass(frozen=True, slots=True)
class Document:
    """A pretraining document: a text, or a prompt with its response."""

    kind: DocumentKind
    prompt: str | None = None
    response: str | None = None
    text: str | None = None


def documents(n: int, seed: int) -> Iterator[Document]:
    """`n` documents in the proportions of MIXTURE; all training prompts are equally likely."""
    rng = python_rng(seed, "pocket/text")
    sorts, shares = list(MIXTURE), list(MIXTURE.values())
    for _ in range(n):
        sort = rng.choices(sorts, weights=shares)[0]
        yield _text(rng) if sort == "text" else _exchange(rng)


def _text(rng: random.Random) -> Document:
    """One to three facts of one kind, as statements."""
    asked = [rng.choice(all_requests("train"))]
    asked += [rng.choice(_train_by_kind()[asked[0].kind]) for _ in range(rng.randrange(3))]
    different = {request.subject: request for request in asked}.values()
    return Document("text", text=" ".join(_stated(request, rng) for request in different))


def _stated(request: PocketRequest, rng: random.Random) -> str:
    """The fact that the request asks about, as a self-contained sentence."""
    kind = KINDS[request.kind]
    return fill(rng.choice(kind.statements or kind.forms), fact_of(request), answer_value(request, rng))


def _exchange(rng: random.Random) -> Document:
    request = rng.choice(all_requests("train"))
    right = rng.random() >= BROAD_WRONG
    return Document("exchange", request.text, compose_response(request, draw_style(BROAD_CROWD, rng), rng, right))


@cache
def _train_by_kind() -> dict[str, list[PocketRequest]]:
    return by_kind("train")
