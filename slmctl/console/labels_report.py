"""What `slmctl data check` says of a label database beyond its rows: how people judged, and how far they agree. Where
the numbers come from is engine/data/labels/agreement.py's job.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from slmctl.console.data_report import entry
from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from engine.core.intervals import Share
    from engine.data.labels.store import Labels

NAME_SHOWN = 20
MARKED = {"flagged": "flagged", "noted": "with a note"}


def label_facts(labels: "Labels") -> dict[str, Any]:
    """The numbers of a label database, ready for JSON; None where there is nothing to count."""
    from engine.data.labels import agreement

    made = labels.standing
    return {
        "standing": len(made),
        "withdrawn": len(labels.withdrawn),
        "verdicts": agreement.verdict_counts(made),
        "labels_per_minute": agreement.labels_per_minute(made),
        "self_agreement": _share(agreement.self_agreement(made)),
        "between": [
            {"annotators": one.annotators, **(_share(one.agreed) or {}), "kappa": one.kappa}
            for one in agreement.annotator_agreements(made)
        ],
        "first_shown_won": _share(agreement.first_shown_won(made)),
        "longer_won": _share(agreement.longer_won(made)),
        "against_reward_model": {
            selection: _share(one.of_shown) for selection, one in agreement.disagreement_by_selection(made).items()
        },
        "flagged": sum(one.flagged for one in made),
        "noted": sum(bool(one.note) for one in made),
    }


def label_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The same as text, a line each; what nothing is known of is left out."""
    verdicts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in facts["verdicts"].items() if count)
    pace = f"; {facts['labels_per_minute']:.1f} a minute" if facts["labels_per_minute"] else ""
    yield from entry("labels", f"{facts['standing']} ({verdicts}), {facts['withdrawn']} taken back{pace}")
    if found := facts["self_agreement"]:
        yield from entry("oneself", _told(found, "pairs that came back judged as before"))
    for one in facts["between"]:
        names = " and ".join(one_line(name, NAME_SHOWN) for name in one["annotators"])
        kappa = "" if one["kappa"] is None else f", kappa {one['kappa']:.2f}"
        yield from entry("annotators", f"{names} agree on {_told(one, 'pairs')}{kappa}")
    if found := facts["first_shown_won"]:
        yield from entry("place", f"the one shown first won in {_told(found, 'labels')}")
    if found := facts["longer_won"]:
        yield from entry("length", f"the longer one won in {_told(found, 'labels')}")
    for selection, found in facts["against_reward_model"].items():
        chosen = one_line(selection, NAME_SHOWN)
        yield from entry("taught", _told(found, f"labels said otherwise than the reward model ({chosen} pairs)"))
    if marked := [f"{facts[name]} {words}" for name, words in MARKED.items() if facts[name]]:
        yield from entry("marked", f"{', '.join(marked)}; export --format rankings tells which")


def _share(share: "Share") -> dict[str, Any] | None:
    if share.interval is None:
        return None
    low, high = share.interval
    return {"count": share.count, "cases": share.cases, "rate": share.rate, "low": low, "high": high}


def _told(found: Mapping[str, Any], what: str) -> str:
    """A share in words, with its 95 % interval."""
    interval = f"{found['low']:.0%} to {found['high']:.0%}"
    return f"{found['count']} of {found['cases']} {what} ({found['rate']:.0%}, {interval})"
