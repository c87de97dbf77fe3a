"""The figures that a labeler is shown while labelling; how labels are counted is engine/agreement.py's job."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.core.intervals import Share
from engine.data.labels.agreement import (
    ModelDisagreement,
    best_and_worst,
    disagreement_by_selection,
    first_shown_won,
    labels_per_minute,
    longer_won,
    self_agreement,
    verdict_counts,
)
from engine.data.labels.store import Label

COMPARED = ("choice", "ranking", "tie", "both_bad")
RECENT = 30  # labels that the pace is taken from


@dataclass(frozen=True)
class Tally:
    """One labeler's figures: `labels` are the labels that compare, `wins` how often the second model's response won
    against the first one's, where there are two models."""

    labels: int
    verdicts: dict[str, int]
    per_minute: float | None
    first: Share
    longer: Share
    self_agreement: Share
    taught: dict[str, ModelDisagreement]
    wins: Share


def tally(judged: Sequence[Label], models: Sequence[str] = ()) -> Tally:
    """The figures of these labels, oldest first."""
    verdicts = verdict_counts(judged)
    return Tally(
        sum(verdicts[name] for name in COMPARED),
        verdicts,
        labels_per_minute(judged[-RECENT:]),
        first_shown_won(judged),
        longer_won(judged),
        self_agreement(judged),
        disagreement_by_selection(judged),
        wins(judged, *models) if len(models) == 2 else Share(0, 0),
    )


def wins(judged: Sequence[Label], first: str, second: str) -> Share:
    """How often a response of `second` won against one of `first`, of the pairs that one of them won."""
    won = []
    for one in judged:
        best = {one.candidates[at].model for at, rank in enumerate(one.ranks or ()) if rank == 0}
        if {candidate.model for candidate in one.candidates} == {first, second} and len(best) == 1:
            won.append(best == {second})
    return Share(sum(won), len(won))


def agrees(label: Label) -> bool | None:
    """Whether the scorer puts the best of a label above the worst; None without a winner, without scores, or where
    both have the same."""
    if (places := best_and_worst(label)) is None:
        return None
    best, worst = (label.candidates[place].score for place in places)
    return None if best is None or worst is None or best == worst else best > worst


def percent(share: Share) -> str:
    """A share as it is shown; a dash where there is none."""
    return "-" if share.rate is None else f"{share.rate:.0%}"
