"""Answers that readers of base text marked right or wrong: what a reward model may learn before it meets any ranking.

The marks speak of correctness alone and come from the world's own knowledge, never from the judge. Only train
combinations occur. Source: Askell et al. 2021, section 4 (preference model pretraining on public ranked text).
"""

from __future__ import annotations

from engine.pocket.answers import twins
from engine.pocket.demonstrations import styled
from engine.pocket.requests import KINDS, requests
from engine.pocket.text import BROAD_CROWD
from engine.seeding import python_rng


def marked_pairs(n: int, seed: int) -> list[tuple[str, str, str]]:
    """`n` of (prompt, answer marked right, answer marked wrong), both in one style; prompts may recur."""
    rng = python_rng(seed, "pocket/marks")
    answerable = [request for request in requests("train") if KINDS[request.kind].answerable]
    asked = [rng.choice(answerable) for _ in range(n)]
    return [(request.text, *twins(request, styled(BROAD_CROWD, rng), rng)) for request in asked]
