"""Statistics of a labeler, computed from labels and written as lines of text.

The single measures are computed in engine/data/labels/agreement.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.core.intervals import Share
from engine.data.labels.agreement import (
    AnnotatorAgreement,
    ModelDisagreement,
    annotator_agreements,
    best_and_worst,
    disagreement_by_selection,
    first_shown_won,
    labels_per_minute,
    longer_won,
    self_agreement,
    verdict_counts,
)
from engine.data.labels.store import Label
from slmctl.label.questions import LABEL_SELECTIONS

COMPARING = ("choice", "ranking", "tie", "both_bad")  # verdicts that compare responses; the others are no labels
RECENT = 30  # labels that the pace is computed from
TITLE_WIDTH = 28


@dataclass(frozen=True)
class LabelStatistics:
    """Statistics of one labeler. `labels` counts comparing verdicts; `wins` is how often a response of the second
    model won against one of the first, if there are two models."""

    labels: int
    verdicts: dict[str, int]
    per_minute: float | None
    first: Share
    longer: Share
    self_agreement: Share
    disagreement: dict[str, ModelDisagreement]
    wins: Share


def statistics_of(labels: Sequence[Label], models: Sequence[str] = ()) -> LabelStatistics:
    """The statistics of these labels, oldest first."""
    verdicts = verdict_counts(labels)
    return LabelStatistics(
        sum(verdicts[name] for name in COMPARING),
        verdicts,
        labels_per_minute(labels[-RECENT:]),
        first_shown_won(labels),
        longer_won(labels),
        self_agreement(labels),
        disagreement_by_selection(labels),
        wins_of_second(labels, *models) if len(models) == 2 else Share(0, 0),
    )


def wins_of_second(labels: Sequence[Label], first: str, second: str) -> Share:
    """How often a response of model `second` won against one of `first`, of the pairs that one of them won."""
    won = []
    for label in labels:
        best = {label.candidates[at].model for at, rank in enumerate(label.ranks or ()) if rank == 0}
        if {candidate.model for candidate in label.candidates} == {first, second} and len(best) == 1:
            won.append(best == {second})
    return Share(sum(won), len(won))


def scorer_agrees(label: Label) -> bool | None:
    """Whether the scorer prefers the best response to the worst; None without a winner, without scores or if the
    scores are equal."""
    if (places := best_and_worst(label)) is None:
        return None
    best, worst = (label.candidates[place].score for place in places)
    return None if best is None or worst is None or best == worst else best > worst


def percent(share: Share) -> str:
    """A share in percent; "-" without cases."""
    return "-" if share.rate is None else f"{share.rate:.0%}"


def statistics_lines(
    own: LabelStatistics, models: Sequence[str], everybody: Sequence[Label], annotator: str
) -> Iterator[str]:
    """One labeler's statistics as lines; `everybody` are the labels of all annotators in the database."""
    verdicts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in own.verdicts.items() if count)
    yield _line("your labels", f"{own.labels}" + (f" ({verdicts})" if verdicts else ""))
    in_chat = [one for one in everybody if one.annotator == annotator and one.selection not in LABEL_SELECTIONS]
    if votes := sum(one.verdict in COMPARING for one in in_chat):
        yield _line("votes in Chat", f"{votes}, not counted above; a round trains on them too")
    if own.per_minute is not None:
        yield _line("labels per minute", f"{own.per_minute:.1f}")
    yield _line("position bias: first wins", _interval(own.first))
    yield _line("length bias: longer wins", _interval(own.longer))
    yield _line("self-agreement", _interval(own.self_agreement))
    if own.wins.cases:
        yield _line(f"win rate of {models[1]}", f"{_interval(own.wins)} against {models[0]}")
    yield from _disagreement_lines(own.disagreement)
    if agreements := annotator_agreements(everybody):
        yield ""
        yield "agreement of annotators on the same pairs"
        yield from (_agreement_line(one) for one in agreements)


def _disagreement_lines(disagreement: Mapping[str, ModelDisagreement]) -> Iterator[str]:
    if not disagreement:
        return
    yield ""
    yield "the reward model disagreed with your votes"
    for name, one in disagreement.items():
        shown = f"{percent(one.of_shown)} of all pairs shown, including ties and skips"
        yield _line(f"  {name} pairs", f"{_interval(one.of_votes)}; {shown}")
    if {"uncertainty", "control"} <= disagreement.keys():
        yield f"  {_comparison(disagreement['uncertainty'].of_shown, disagreement['control'].of_shown)}"


def _comparison(uncertain: Share, control: Share) -> str:
    """Which selection found more errors of the reward model, and so teaches it more."""
    if uncertain.interval is None or control.interval is None:
        return "too few pairs to tell which selection teaches more"
    if uncertain.interval[0] > control.interval[1]:
        return "uncertain pairs teach more than random pairs"
    if control.interval[0] > uncertain.interval[1]:
        return "random pairs teach more than uncertain pairs"
    return "no clear difference between the two selections yet"


def _agreement_line(one: AnnotatorAgreement) -> str:
    kappa = "" if one.kappa is None else f", kappa {one.kappa:.2f}"
    return _line(f"  {one.annotators[0]}, {one.annotators[1]}", f"{_interval(one.agreed)}{kappa}")


def _interval(share: Share) -> str:
    """A share with its cases and 95% interval."""
    if share.interval is None:
        return "-"
    low, high = share.interval
    return f"{percent(share)} of {share.cases} ({low:.0%} to {high:.0%})"


def _line(title: str, value: str) -> str:
    return f"{title:<{TITLE_WIDTH}}{value}"
