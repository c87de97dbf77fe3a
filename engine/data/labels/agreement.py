"""Statistics of labels: pace, agreement, position and length bias, and how often the reward model disagreed.

Pure functions of labels that were not withdrawn (store.py). A pair is a prompt with two texts, as in
contradictions.py. "Both bad" prefers neither, so it counts as a tie. Intervals treat cases as independent.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from engine.core.intervals import Share
from engine.data.contradictions import TIE, Pair, pair_verdicts
from engine.data.labels.store import VERDICTS, Label

QUICKEST_S = 0.2  # a person needs longer than this to judge a new pair


def verdict_counts(labels: Iterable[Label]) -> dict[str, int]:
    """How often each verdict was given; every verdict has an entry."""
    counted = Counter(label.verdict for label in labels)
    return {verdict: counted[verdict] for verdict in VERDICTS}


def labels_per_minute(labels: Iterable[Label]) -> float | None:
    """60 over the median of the seconds to decide, so that breaks do not count; None if unknown.

    Labels faster than any person, as programs make them, are ignored.
    """
    known = [label.seconds for label in labels if label.seconds >= QUICKEST_S]
    return 60 / median(known) if known else None


def self_agreement(labels: Sequence[Label]) -> Share:
    """How many repeated pairs got the same verdict from the same annotator; each pair of a ranking is a case."""
    by_id = {label.id: label for label in labels}
    before_and_after = [
        (dict(_verdicts(by_id[label.repeats])), dict(_verdicts(label)))
        for label in labels
        if label.repeats in by_id and by_id[label.repeats].annotator == label.annotator
    ]
    both = [(before[pair], after[pair]) for before, after in before_and_after for pair in before.keys() & after.keys()]
    return Share(sum(first == second for first, second in both), len(both))


@dataclass(frozen=True)
class AnnotatorAgreement:
    """How often two annotators agree on pairs that both judged; Cohen's kappa, None where chance alone would agree."""

    annotators: tuple[str, str]
    agreed: Share
    kappa: float | None


def annotator_agreements(labels: Iterable[Label]) -> list[AnnotatorAgreement]:
    """Every two annotators who judged the same pairs, most pairs first; an annotator's first verdict counts."""
    verdicts: dict[str, dict[Pair, int]] = {}
    for label in labels:
        for pair, verdict in _verdicts(label):
            verdicts.setdefault(label.annotator, {}).setdefault(pair, verdict)
    found = []
    for names in combinations(sorted(verdicts), 2):
        first, second = (verdicts[name] for name in names)
        both = [(first[pair], second[pair]) for pair in first.keys() & second.keys()]
        if both:
            found.append(AnnotatorAgreement(names, Share(sum(a == b for a, b in both), len(both)), kappa(both)))
    return sorted(found, key=lambda one: -one.agreed.cases)


def kappa(both: Sequence[tuple[int, int]]) -> float | None:
    """Cohen's kappa of two annotators' verdicts on the same pairs, -1 to 1; None if all are ties.

    Which text of a pair comes first is arbitrary, so each pair counts in both orders: by chance either text is then
    equally likely to win. Source: Cohen 1960.
    """
    ties, others = (sum(verdicts[i] == TIE for verdicts in both) / len(both) for i in (0, 1))
    observed = sum(first == second for first, second in both) / len(both)
    expected = ties * others + (1 - ties) * (1 - others) / 2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def first_shown_won(labels: Iterable[Label]) -> Share:
    """How often the winner was shown before the loser; half of the time without position bias."""
    decided = [(label.shown, found) for label in labels if (found := best_and_worst(label))]
    return Share(sum(shown.index(best) < shown.index(worst) for shown, (best, worst) in decided), len(decided))


def longer_won(labels: Iterable[Label]) -> Share:
    """How often the winner had more characters than the loser, where they differ; repeats are not counted."""
    lengths = []
    for label in labels:
        if label.repeats is None and (found := best_and_worst(label)):
            lengths.append([len(label.candidates[i].text) for i in found])
    return Share(sum(best > worst for best, worst in lengths), sum(best != worst for best, worst in lengths))


@dataclass(frozen=True)
class ModelDisagreement:
    """How often the reward model's scores contradicted the labels of pairs that were selected in one way.

    `of_votes` is the share of labels with a winner (best against worst; equal scores contradict), `of_shown` the
    share of all pairs shown, ties and skips included.
    """

    of_votes: Share
    of_shown: Share


def disagreement_by_selection(labels: Iterable[Label]) -> dict[str, ModelDisagreement]:
    """The disagreement for each way of selecting pairs, of labels whose responses were all scored beforehand.

    To compare ways of selecting, use `of_shown`: how many pairs a labeler must see to find one error of the reward
    model. The loss -log sigmoid(margin) cannot tell: a small margin costs about log 2 whatever the vote, so pairs
    selected for it win by construction. Votes are noisy (see `self_agreement`), on close pairs most of all, so this
    is an upper bound; and only randomly selected pairs estimate the overall error rate. Repeats and edits are not
    counted.
    """
    found: dict[str, list[int]] = {}
    for label in labels:
        scores = [candidate.score for candidate in label.candidates]
        if label.repeats is not None or label.verdict == "edit" or not scores or None in scores:
            continue
        counts = found.setdefault(label.selection, [0, 0, 0])
        counts[0] += 1
        if places := best_and_worst(label):
            best, worst = (label.candidates[i].score or 0.0 for i in places)
            counts[1] += 1
            counts[2] += best <= worst
    return {
        selection: ModelDisagreement(Share(wrong, votes), Share(wrong, shown))
        for selection, (shown, votes, wrong) in found.items()
    }


def best_and_worst(label: Label) -> tuple[int, int] | None:
    """The first candidate of the best rank and of the worst, one case a label; None if nothing won."""
    ranks = label.ranks
    if ranks is None or len(set(ranks)) < 2:
        return None
    return ranks.index(min(ranks)), ranks.index(max(ranks))


def _verdicts(label: Label) -> Iterable[tuple[Pair, int]]:
    ranking = label.ranking
    return pair_verdicts(ranking) if ranking is not None else ()
