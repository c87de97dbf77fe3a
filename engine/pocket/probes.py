"""Pairs that differ in correctness alone: does a reward model see it, or only the style?"""

from __future__ import annotations

from engine.core.seeding import python_rng
from engine.pocket.answers import twins
from engine.pocket.demonstrations import CROWD, styled
from engine.pocket.judge import Judgement, judge
from engine.pocket.requests import KINDS, Split, draw, requests

_STREAM = "pocket/probes"


def correctness_pairs(n: int, split: Split, seed: int) -> list[tuple[str, str, str]]:
    """`n` of (prompt, right response, wrong response): one style and wording, only the value swapped for a sibling's.

    Raises: ValueError if the split holds fewer than `n` answerable prompts.
    """
    rng = python_rng(seed, _STREAM)
    shuffled = draw(split, len(requests(split)), seed, _STREAM)
    answerable = [request for request in shuffled if KINDS[request.kind].answerable]
    if not 0 <= n <= len(answerable):
        raise ValueError(f"cannot make {n} pairs from the {split} split: it holds {len(answerable)} answerable prompts")
    pairs = []
    for request in answerable[:n]:
        right, wrong = twins(request, styled(CROWD, rng), rng)
        assert _differ_in_correctness_alone(judge(request.text, right), judge(request.text, wrong)), (right, wrong)
        pairs.append((request.text, right, wrong))
    return pairs


def _differ_in_correctness_alone(right: Judgement, wrong: Judgement) -> bool:
    style = [(each.courteous, each.concise, each.harmless) for each in (right, wrong)]
    return right.correct is True and wrong.correct is False and style[0] == style[1]
