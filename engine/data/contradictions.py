"""What comparisons say about each other: pairs judged several times, pairs that contradict, pairs that are none.

A pair is a prompt with two responses, whichever row and form it comes from. Prompts are the same but for spaces and
case, responses but for spaces around them. A row that is there twice is two judgements.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from engine.data.records import Ranking, prompt_key, prompt_text

FIRST, TIE, SECOND = -1, 0, 1  # which response of a pair is the better, the pair in alphabetical order
Pair = tuple[object, str, str]
Verdict = tuple[int, str]  # and the place of its row


@dataclass(frozen=True)
class Contradiction:
    """A pair judged one way and the other; the row at the first of the `places` prefers `chosen`, at the second not."""

    prompt: str
    chosen: str
    rejected: str
    places: tuple[str, str]


@dataclass(frozen=True)
class Judgements:
    """What was found in all comparisons of a file.

    `identical` counts pairs of twice the same response, `judged_again` pairs with several judgements, `agreement` is
    the share of these judgements, two by two, that say the same (a tie is a verdict too), None where there are none.
    """

    identical: int = 0
    judged_again: int = 0
    agreement: float | None = None
    contradictions: list[Contradiction] = field(default_factory=list)


def compared(rankings: Iterable[tuple[str, Ranking]]) -> Judgements:
    """What these comparisons, each with the place of its row, say about each other."""
    verdicts: dict[Pair, list[Verdict]] = {}
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
    return Judgements(identical, len(several), _agreement(several.values()), contradictions)


def pair_verdicts(ranking: Ranking) -> Iterator[tuple[Pair, int]]:
    """Every pair of two different responses, with which of them is the better."""
    key = prompt_key(ranking.prompt)
    answers = [(text.strip(), rank) for text, rank in zip(ranking.responses, ranking.ranks, strict=True)]
    for (first, rank), (second, other) in combinations(sorted(answers), 2):
        if first != second:
            yield (key, first, second), FIRST if rank < other else SECOND if other < rank else TIE


def _both_ways(pair: Pair, judged: list[Verdict]) -> tuple[str, str, tuple[str, str]] | None:
    """Chosen, rejected, and the places of the first row that says so and the first that says the opposite."""
    _, first, second = pair
    places = dict(reversed(judged))  # the first row of each verdict
    if FIRST not in places or SECOND not in places:
        return None
    decided = next(verdict for verdict, _ in judged if verdict != TIE)
    chosen, rejected = (first, second) if decided == FIRST else (second, first)
    return chosen, rejected, (places[decided], places[-decided])


def _agreement(judged_again: Iterable[list[Verdict]]) -> float | None:
    same, total = 0, 0
    for judged in judged_again:
        counts = Counter(verdict for verdict, _ in judged).values()
        same += sum(count * (count - 1) // 2 for count in counts)
        total += len(judged) * (len(judged) - 1) // 2
    return same / total if total else None
