"""What a labeler's judgements show of the labeler and of the reward model: pace, habits, agreement.

Pure functions of judgements. What several labelers say to each other's pairs is the engine's agreement to count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import sqrt

from engine.preferences import Judgement
from slmctl.labelling import COMPARED

LONG_BREAK_S = 120.0  # longer than this nobody looks at one pair
RECENT = 20  # judgements that the pace is taken from
Z_95 = 1.959964


@dataclass(frozen=True)
class Share:
    """How many of how many; without any there is no share."""

    hits: float = 0.0
    of: int = 0

    @property
    def rate(self) -> float | None:
        """The share, 0 to 1."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % Wilson interval. Source: Wilson 1927."""
        if not self.of:
            return 0.0, 1.0
        rate, n, z2 = self.hits / self.of, self.of, Z_95**2
        centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 / (1 + z2 / n) * sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        return "-" if self.rate is None else f"{self.rate:.0%}"


@dataclass(frozen=True)
class Tally:
    """All figures of one labeler.

    `labels` are the judgements that compare, `first` how often the better response of a pair stood first, `longer` how
    often it was the longer one, `self_agreement` how often a repeated pair was judged alike, `model` how often the
    scorer orders a pair as the labeler did, by how the pair was selected, `wins` how often each model's response won.
    """

    judged: int = 0
    labels: int = 0
    edits: int = 0
    skips: int = 0
    flagged: int = 0
    per_minute: float | None = None
    first: Share = Share()
    longer: Share = Share()
    self_agreement: Share = Share()
    model: dict[str, Share] = field(default_factory=dict)
    wins: dict[str, Share] = field(default_factory=dict)


def tally(judged: Sequence[Judgement]) -> Tally:
    """The figures of these judgements, oldest first."""
    pairs = [(one, better, worse) for one in judged for better, worse in decided(one)]
    verdicts = [one.verdict for one in judged]
    return Tally(
        judged=len(judged),
        labels=sum(verdict in COMPARED for verdict in verdicts),
        edits=verdicts.count("edit"),
        skips=verdicts.count("skip"),
        flagged=sum(one.flagged for one in judged),
        per_minute=_pace(judged),
        first=_share(one.shown.index(better) < one.shown.index(worse) for one, better, worse in pairs),
        longer=_share(
            _length(one, better) > _length(one, worse)
            for one, better, worse in pairs
            if _length(one, better) != _length(one, worse)
        ),
        self_agreement=self_agreement(judged),
        model={
            selection: found
            for selection in ("random", "uncertainty", "control")
            if (found := model_agreement(one for one in judged if one.selection == selection)).of
        },
        wins=_wins(pairs),
    )


def decided(judgement: Judgement) -> list[tuple[int, int]]:
    """(better, worse) as places in `candidates`, for every pair that is no tie."""
    ranks = judgement.ranks
    if ranks is None:
        return []
    pairs = combinations(range(len(ranks)), 2)
    return [(a, b) if ranks[a] < ranks[b] else (b, a) for a, b in pairs if ranks[a] != ranks[b]]


def model_agreement(judged: Iterable[Judgement]) -> Share:
    """How often the scores order a pair as the labeler did; equal scores are half right."""
    hits, of = 0.0, 0
    for one in judged:
        for better, worse in decided(one):
            high, low = one.candidates[better].score, one.candidates[worse].score
            if high is not None and low is not None:
                hits, of = hits + (high > low) + 0.5 * (high == low), of + 1
    return Share(hits, of)


def self_agreement(judged: Sequence[Judgement]) -> Share:
    """How often a pair that came back was judged as it was the first time; a tie is a verdict too."""
    known = {one.id: one for one in judged}
    twice = [(known[one.repeats], one) for one in judged if one.repeats in known and one.verdict in COMPARED]
    return _share(_places(first.ranks) == _places(second.ranks) for first, second in twice)


def _places(ranks: tuple[int, ...] | None) -> list[int]:
    """Which responses are better than which, whatever the numbers."""
    return [(a > b) - (a < b) for a, b in combinations(ranks or (), 2)]


def _pace(judged: Sequence[Judgement]) -> float | None:
    """Judgements a minute of the last few, breaks left out."""
    recent = [min(one.seconds, LONG_BREAK_S) for one in judged[-RECENT:]]
    return 60 * len(recent) / sum(recent) if sum(recent) > 0 else None


def _wins(pairs: Iterable[tuple[Judgement, int, int]]) -> dict[str, Share]:
    """By model, how often its response won against another model's."""
    wins: dict[str, tuple[int, int]] = {}
    for one, better, worse in pairs:
        winner, loser = one.candidates[better].model, one.candidates[worse].model
        if winner != loser:
            for name, won in ((winner, 1), (loser, 0)):
                hits, of = wins.get(name, (0, 0))
                wins[name] = hits + won, of + 1
    return {name: Share(*counts) for name, counts in wins.items()}


def _share(hits: Iterable[bool]) -> Share:
    found = list(hits)
    return Share(float(sum(found)), len(found))


def _length(judgement: Judgement, place: int) -> int:
    return len(judgement.candidates[place].text)
