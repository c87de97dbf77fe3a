"""All figures of a label database as lines of text: one labeler's habits, the scorer's part, other labelers."""

from collections.abc import Iterator, Mapping, Sequence

from engine.core.intervals import Share
from engine.data.labels.agreement import AnnotatorAgreement, ModelDisagreement, annotator_agreements
from engine.data.labels.store import Label
from slmctl.label.counts import COMPARED, Tally, percent
from slmctl.label.selection import ASKED

LABEL = 28


def figure_lines(tally: Tally, models: Sequence[str], everybody: Sequence[Label], annotator: str) -> Iterator[str]:
    """The lines of one labeler; `everybody` are the labels of all who labelled into the same database."""
    verdicts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in tally.verdicts.items() if count)
    yield _line("your labels", f"{tally.labels}" + (f" ({verdicts})" if verdicts else ""))
    beside = [one for one in everybody if one.annotator == annotator and one.selection not in ASKED]
    if votes := sum(one.verdict in COMPARED for one in beside):
        yield _line("votes in Chat", f"{votes}, not among these; a round learns from them, too")
    if tally.per_minute is not None:
        yield _line("labels a minute", f"{tally.per_minute:.1f}")
    yield _line("the first shown won", _share(tally.first))
    yield _line("the longer one won", _share(tally.longer))
    yield _line("you agree with yourself", _share(tally.self_agreement))
    if tally.wins.cases:
        yield _line(f"{models[1]} won", f"{_share(tally.wins)} against {models[0]}")
    yield from _model_lines(tally.taught)
    between = annotator_agreements(everybody)
    if between:
        yield ""
        yield "labelers on the same pairs"
        yield from (_between(one) for one in between)


def _model_lines(taught: Mapping[str, ModelDisagreement]) -> Iterator[str]:
    if not taught:
        return
    yield ""
    yield "the reward model had it the other way round"
    for name, one in taught.items():
        all_shown = f"{percent(one.of_shown)} of all that were shown, ties and skips too"
        yield _line(f"  {name} pairs", f"{_share(one.of_votes)}; {all_shown}")
    if {"uncertainty", "control"} <= taught.keys():
        more = _more(taught["uncertainty"].of_shown, taught["control"].of_shown)
        yield f"  {more}"


def _more(chosen: Share, control: Share) -> str:
    if chosen.interval is None or control.interval is None:
        return "too few pairs yet to say which of the two teaches more"
    if chosen.interval[0] > control.interval[1]:
        return "uncertain pairs teach more than random ones"
    if control.interval[0] > chosen.interval[1]:
        return "random pairs teach more than uncertain ones"
    return "which of the two teaches more cannot be told from so few"


def _between(one: AnnotatorAgreement) -> str:
    kappa = "" if one.kappa is None else f", kappa {one.kappa:.2f}"
    return _line(f"  {one.annotators[0]}, {one.annotators[1]}", f"{_share(one.agreed)}{kappa}")


def _share(share: Share) -> str:
    """A share with its 95 % interval and the cases behind it."""
    if share.interval is None:
        return "-"
    low, high = share.interval
    return f"{percent(share)} of {share.cases} ({low:.0%} to {high:.0%})"


def _line(name: str, value: str) -> str:
    return f"{name:<{LABEL}}{value}"
