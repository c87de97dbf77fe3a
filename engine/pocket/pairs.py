"""Pairs of a correct and an incorrect answer in one style: to pretrain a reward model, and to probe one."""

import random

from engine.core.seeding import python_rng
from engine.pocket.demonstrations import CROWD, draw_style
from engine.pocket.documents import BROAD_CROWD
from engine.pocket.judge import JudgeScores, judge
from engine.pocket.kinds import KINDS
from engine.pocket.prompts import PocketRequest, Split, all_requests, draw_requests
from engine.pocket.style import Style
from engine.pocket.wording import answer_pair, compose_response

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
