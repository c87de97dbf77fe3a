"""Consistency of comparisons: pairs judged more than once, contradictions, and pairs of identical responses.

A pair is a prompt with two responses, from any row and format. Prompts are equal ignoring spacing and case, responses
ignoring spaces at their ends. A duplicate row counts as another judgment.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from engine.data.records import Ranking, prompt_key, prompt_text

FIRST, TIE, SECOND = -1, 0, 1  # the better response of a pair in alphabetical order
Pair = tuple[object, str, str]
Judged = tuple[int, str]  # FIRST, TIE or SECOND, and the place of the row


@dataclass(frozen=True)
class Contradiction:
    """A pair judged both ways: the row at the first of the `places` prefers `chosen`, the other one `rejected`."""

    prompt: str
    chosen: str
    rejected: str
    places: tuple[str, str]


@dataclass(frozen=True)
class Consistency:
    """How consistent the comparisons of a file are.

    `identical` counts pairs of identical responses, `judged_again` pairs with several judgments; `agreement` is the
    fraction of equal judgments among all pairs of judgments of one pair, ties included, or None.
    """

    identical: int = 0
    judged_again: int = 0
    agreement: float | None = None
    contradictions: list[Contradiction] = field(default_factory=list)


def compare_rankings(rankings: Iterable[tuple[str, Ranking]]) -> Consistency:
    """The consistency of rankings, each with the place of its row."""
    verdicts: dict[Pair, list[Judged]] = {}
    prompts: dict[object, str] = {}
    identical = 0
    for place, ranking in rankings:
        prompts.setdefault(prompt_key(ranking.prompt), prompt_text(ranking.prompt))
        judged = list(pair_verdicts(ranking))
        identical += len(ranking.ranks) * (len(ranking.ranks) - 1) // 2 - len(judged)
        for pair, verdict in judged:
            verdicts.setdefault(pair, []).append((verdict, place))
    several = {pair: judged for pair, judged in verdicts.items() if len(judged) > 1}
    contradictions = [
        Contradiction(prompts[pair[0]], *found)
        for pair, judged in several.items()
        if (found := _both_ways(pair, judged))
    ]
    return Consistency(identical, len(several), _agreement(several.values()), contradictions)


def pair_verdicts(ranking: Ranking) -> Iterator[tuple[Pair, int]]:
    """Every pair of distinct responses, with FIRST, TIE or SECOND."""
    key = prompt_key(ranking.prompt)
    answers = [(text.strip(), rank) for text, rank in zip(ranking.responses, ranking.ranks, strict=True)]
    for (first, rank), (second, other) in combinations(sorted(answers), 2):
        if first != second:
            yield (key, first, second), FIRST if rank < other else SECOND if other < rank else TIE


def _both_ways(pair: Pair, judged: list[Judged]) -> tuple[str, str, tuple[str, str]] | None:
    """Chosen, rejected, and the places of the first row with that preference and the first with the opposite."""
    _, first, second = pair
    places = dict(reversed(judged))  # the first row of each
    if FIRST not in places or SECOND not in places:
        return None
    decided = next(verdict for verdict, _ in judged if verdict != TIE)
    chosen, rejected = (first, second) if decided == FIRST else (second, first)
    return chosen, rejected, (places[decided], places[-decided])


def _agreement(judged_again: Iterable[list[Judged]]) -> float | None:
    same, total = 0, 0
    for judged in judged_again:
        counts = Counter(verdict for verdict, _ in judged).values()
        same += sum(count * (count - 1) // 2 for count in counts)
        total += len(judged) * (len(judged) - 1) // 2
    return same / total if total else None
