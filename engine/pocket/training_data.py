"""Training data of the pocket world: documents, demonstrations, and pairs of a correct and an incorrect answer.

Documents are facts in plain sentences, and exchanges in a broader, worse mix of styles than demonstrations; those are
as a real crowd writes them, mostly correct, in deliberately mixed styles. Only training combinations occur, so that
held-out prompts are held out from every stage.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from engine.core.seeding import python_rng
from engine.pocket.judge import JudgeScores, judge
from engine.pocket.prompts import KINDS, PocketRequest, Split, all_requests, by_kind, draw_requests, fact_of, fill
from engine.pocket.wording import Style, answer_pair, answer_value, compose_response

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


MISTAKES = {"value": 0.4, "other": 0.3, "slip": 0.3}
"""Shares of the kinds of incorrect answers: a wrong value, an answer to another request, a garbled correct answer."""


def pretraining_pairs(n: int, seed: int) -> list[tuple[str, str, str]]:
    """`n` triples (prompt, correct answer, incorrect answer), both answers in one style; prompts may repeat.

    Correctness comes from the facts of the world, never from the judge. Only training prompts are used.
    Source: Askell et al. 2021, section 4 (preference model pretraining).
    """
    rng = python_rng(seed, "pocket/marks")
    asked = rng.choices(all_requests("train"), k=n)
    return [(request.text, *_right_and_wrong(request, draw_style(BROAD_CROWD, rng), rng)) for request in asked]


def _right_and_wrong(request: PocketRequest, style: Style, rng: random.Random) -> tuple[str, str]:
    """A correct and an incorrect answer in this style."""
    mistake = rng.choices(list(MISTAKES), weights=list(MISTAKES.values()))[0]
    if mistake == "value" and KINDS[request.kind].answerable:
        return answer_pair(request, style, rng)
    right = compose_response(request, style, rng)
    if mistake == "value":
        return right, compose_response(request, style, rng, right=False)
    elsewhere = compose_response(_another(request, rng), style, rng)
    return right, elsewhere if mistake == "other" else _garbled(right, elsewhere, rng)


def _another(request: PocketRequest, rng: random.Random) -> PocketRequest:
    """Another request, half of the time of the same kind if its answers differ."""
    same_kind = KINDS[request.kind].answerable and rng.random() < 0.5
    while True:
        other = rng.choice(all_requests("train"))
        if (other.kind == request.kind) == same_kind and (other.kind, other.subject) != (request.kind, request.subject):
            return other


def _garbled(right: str, elsewhere: str, rng: random.Random) -> str:
    """The correct answer with one word, or its end, taken from another answer."""
    words, others = right.split(), elsewhere.split()
    while True:
        place = rng.randrange(len(words))
        end = words[place + 1 :] if rng.random() < 0.5 else others[rng.randrange(len(others)) :]
        garbled = " ".join([*words[:place], rng.choice(others), *end])
        if garbled != right:
            return garbled


def correctness_pairs(n: int, split: Split, seed: int) -> list[tuple[str, str, str]]:
    """`n` triples (prompt, correct response, incorrect response) that differ only in one value.

    They show whether a reward model sees correctness or only style.

    Raises: ValueError if the split has fewer than `n` answerable prompts.
    """
    stream = "pocket/probes"
    rng = python_rng(seed, stream)
    shuffled = draw_requests(split, len(all_requests(split)), seed, stream)
    answerable = [request for request in shuffled if KINDS[request.kind].answerable]
    if not 0 <= n <= len(answerable):
        raise ValueError(f"cannot make {n} pairs from the {split} split: it has {len(answerable)} answerable prompts")
    pairs = []
    for request in answerable[:n]:
        right, wrong = answer_pair(request, draw_style(CROWD, rng), rng)
        assert _differ_in_correctness_alone(judge(request.text, right), judge(request.text, wrong)), (right, wrong)
        pairs.append((request.text, right, wrong))
    return pairs


def _differ_in_correctness_alone(right: JudgeScores, wrong: JudgeScores) -> bool:
    style = [(each.courteous, each.concise, each.harmless) for each in (right, wrong)]
    return right.correct is True and wrong.correct is False and style[0] == style[1]
