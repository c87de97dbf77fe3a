"""What judgements say about those who made them, and about the reward model that had an opinion beforehand.

Pure functions of the judgements that stand (preferences.py). A pair is a prompt with two texts, as in judgements.py. A
tie is a verdict, and "both bad" prefers neither: it is a tie. Intervals take cases for independent.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from engine.core.intervals import Share
from engine.data.contradictions import TIE, Pair, pair_verdicts
from engine.data.labels.store import VERDICTS, Judgement

QUICKEST_S = 0.2  # a person's verdict on a pair that has only just been shown


def counts(judgements: Iterable[Judgement]) -> dict[str, int]:
    """How many there are of each verdict, all verdicts named."""
    counted = Counter(one.verdict for one in judgements)
    return {verdict: counted[verdict] for verdict in VERDICTS}


def labels_a_minute(judgements: Iterable[Judgement]) -> float | None:
    """A person's usual pace: 60 over the median of the seconds to decide, so that no break counts; None where unknown.

    What was decided faster than anybody reads, as programs decide, says nothing of it.
    """
    known = [one.seconds for one in judgements if one.seconds >= QUICKEST_S]
    return 60 / median(known) if known else None


def self_agreement(judgements: Sequence[Judgement]) -> Share:
    """How many pairs that came back were judged as the first time, by the same annotator; each pair of a ranking is
    one."""
    by_number = {one.id: one for one in judgements}
    before_and_after = [
        (dict(_verdicts(by_number[one.repeats])), dict(_verdicts(one)))
        for one in judgements
        if one.repeats in by_number and by_number[one.repeats].annotator == one.annotator
    ]
    both = [(before[pair], after[pair]) for before, after in before_and_after for pair in before.keys() & after.keys()]
    return Share(sum(first == second for first, second in both), len(both))


@dataclass(frozen=True)
class Between:
    """How far two annotators agree on the pairs that both judged, and Cohen's kappa, None where chance alone agrees."""

    annotators: tuple[str, str]
    agreed: Share
    kappa: float | None


def between_annotators(judgements: Iterable[Judgement]) -> list[Between]:
    """Every two annotators who share pairs, those with the most first; what an annotator said first counts."""
    own: dict[str, dict[Pair, int]] = {}
    for one in judgements:
        for pair, verdict in _verdicts(one):
            own.setdefault(one.annotator, {}).setdefault(pair, verdict)
    found = []
    for names in combinations(sorted(own), 2):
        first, second = (own[name] for name in names)
        both = [(first[pair], second[pair]) for pair in first.keys() & second.keys()]
        if both:
            found.append(Between(names, Share(sum(a == b for a, b in both), len(both)), kappa(both)))
    return sorted(found, key=lambda one: -one.agreed.cases)


def kappa(both: Sequence[tuple[int, int]]) -> float | None:
    """Cohen's kappa of two annotators' verdicts on the same pairs, -1 to 1; None where all are ties.

    Which text of a pair is called the first is arbitrary, so that each pair counts both ways round: either side is then
    equally likely to win by chance. Source: Cohen 1960.
    """
    ties, others = (sum(verdicts[i] == TIE for verdicts in both) / len(both) for i in (0, 1))
    observed = sum(first == second for first, second in both) / len(both)
    expected = ties * others + (1 - ties) * (1 - others) / 2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def first_shown_won(judgements: Iterable[Judgement]) -> Share:
    """How often the winner stood before the loser on the screen; half of all where the place does not count."""
    decided = [(one.shown, found) for one in judgements if (found := best_and_worst(one))]
    return Share(sum(shown.index(best) < shown.index(worst) for shown, (best, worst) in decided), len(decided))


def longer_won(judgements: Iterable[Judgement]) -> Share:
    """How often the winner was longer than the loser, in characters, where the two differ; no pair counts twice."""
    lengths = []
    for one in judgements:
        if one.repeats is None and (found := best_and_worst(one)):
            lengths.append([len(one.candidates[i].text) for i in found])
    return Share(sum(best > worst for best, worst in lengths), sum(best != worst for best, worst in lengths))


@dataclass(frozen=True)
class Taught:
    """What the reward model could learn from the judgements of pairs that were chosen in one way.

    `wrong` are votes that its scores do not say, of all votes with a winner (best against worst; equal scores say
    nothing); `corrected` the same of all that was shown, ties and skips with it.
    """

    wrong: Share
    corrected: Share


def taught_by_selection(judgements: Iterable[Judgement]) -> dict[str, Taught]:
    """How much pairs taught by the way in which they were chosen, for pairs that a reward model had scored before.

    What counts is `corrected`: how often it took one pair to show to learn that the model was wrong. The loss -log
    sigmoid(margin) would say nothing: a pair with a small margin costs about log 2 whatever the vote, so that pairs
    chosen for it win by construction; and scores are not logits. Two things to know: a vote may be noise (see
    self_agreement), in close pairs more than in others, so that this is the most that was taught; and only randomly
    chosen pairs say how often the model is wrong at large. Repeats and edits are not counted.
    """
    found: dict[str, list[int]] = {}
    for one in judgements:
        scores = [candidate.score for candidate in one.candidates]
        if one.repeats is not None or one.verdict == "edit" or not scores or None in scores:
            continue
        shown = found.setdefault(one.selection, [0, 0, 0])
        shown[0] += 1
        if places := best_and_worst(one):
            best, worst = (one.candidates[i].score or 0.0 for i in places)
            shown[1] += 1
            shown[2] += best <= worst
    return {name: Taught(Share(wrong, votes), Share(wrong, all_)) for name, (all_, votes, wrong) in found.items()}


def _verdicts(judgement: Judgement) -> Iterable[tuple[Pair, int]]:
    ranking = judgement.ranking
    return pair_verdicts(ranking) if ranking is not None else ()


def best_and_worst(judgement: Judgement) -> tuple[int, int] | None:
    """Candidates of the best and of the worst rank, so that a judgement is one case however many it ranks; None where
    nothing won."""
    ranks = judgement.ranks
    if ranks is None or len(set(ranks)) < 2:
        return None
    return ranks.index(min(ranks)), ranks.index(max(ranks))
