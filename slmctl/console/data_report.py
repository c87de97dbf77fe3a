"""The report of `slmctl data check`: facts on a file's rows and, for a label database, on how its annotators judged.

The numbers come from engine.data.survey and engine.data.labels.agreement.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slmctl.console.printing import print_facts, say
from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from engine.core.intervals import Share
    from engine.data.contradictions import Contradiction
    from engine.data.labels.store import Labels
    from engine.data.survey import DataReport, SharedPrompt

Facts = Iterator[tuple[str, str]]
WIDTH = 80
LABEL = 16
PROBLEMS_SHOWN = 20
EXAMPLES_SHOWN = 3
NAME_SHOWN = 20
MARKS = {"flagged": "flagged", "noted": "with a note"}
TOO_LONG = {
    "demonstrations": "responses that do not fit are skipped",
    "comparisons": "such rows are skipped",
    "prompts": "such rows leave no room for a response",
    "text": "longer documents are split into several rows",
}


def print_report(
    file: str, report: "DataReport", against: str | None, labels: Mapping[str, Any], fit: Mapping[str, Any]
) -> None:
    """Prints the report on a file; `labels` are the facts of a label database, `fit` those of a model, if any."""
    counts = f"{report.kind}, {report.rows} rows, {report.good} good, {report.empty} empty (skipped)"
    say(f"{one_line(file)}: {counts}", sys.stdout)
    facts = [*_row_facts(report, against), *(_label_facts(labels) if labels else ())]
    if fit:
        model, kind = one_line(fit["model"]), TOO_LONG[report.kind]
        facts.append(("too long", f"{fit['too_long']} rows for the {fit['context']} tokens of {model}; {kind}"))
    print_facts(facts, LABEL, WIDTH)
    for problem in report.problems[:PROBLEMS_SHOWN]:
        say(f"bad: {one_line(problem)}", sys.stdout)
    if len(report.problems) > PROBLEMS_SHOWN:
        print(f"... and {len(report.problems) - PROBLEMS_SHOWN} more bad rows (--json lists all)")


def label_numbers(labels: "Labels") -> dict[str, Any]:
    """The numbers of a label database, ready for JSON; None for what cannot be counted."""
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


def _row_facts(report: "DataReport", against: str | None) -> Facts:
    """Facts on the rows; problems that do not occur are omitted, except duplicates."""
    if report.judged_bad:
        yield "labeled bad", f"{report.judged_bad} rows with label false, skipped"
    yield "duplicates", f"{report.duplicates}"
    if report.repeated:
        yield "repeated", f"{report.repeated} responses that another row gives to the same prompt"
    if report.pairs:
        yield from _pair_facts(report)
    for name, length in (("prompts", report.prompt_length), ("responses", report.response_length)):
        if length.longest:
            yield name, f"{length.shortest} to {length.longest} characters, median {length.middle}"
    if report.unused:
        fields = ", ".join(f"{one_line(name, 40)} in {count} rows" for name, count in report.unused.items())
        hint = "; demonstrations have prompt and completion" if report.kind == "prompts" else ""
        yield "unused fields", fields + hint
    if against is not None:
        shared = f"{len(report.shared)} rows share their prompt with {one_line(against)}"
        yield "shared", f"{shared} (ignoring white space and case)"
        yield from _examples([_shared_prompt(item) for item in report.shared])
        if problems := report.against_problems:
            yield "", f"{len(problems)} of its rows have no readable prompt, such as"
            yield "", one_line(problems[0])


def _pair_facts(report: "DataReport") -> Facts:
    found = report.consistency
    same = f", {found.identical} with two identical responses" if found.identical else ""
    yield "pairs", f"{report.pairs}, {report.ties} ties{same}"
    if found.agreement is None:
        return
    yield "judged again", f"{found.judged_again} pairs have several judgments, {found.agreement:.1%} of them agree"
    if found.contradictions:
        yield "contradictions", f"{len(found.contradictions)} pairs judged both ways"
        yield from _examples([_contradiction(item) for item in found.contradictions])


def _shared_prompt(item: "SharedPrompt") -> list[str]:
    here, there = item.places
    return [f"{_short(here)} here, {_short(there)} there", item.prompt]


def _contradiction(item: "Contradiction") -> list[str]:
    sides = zip(item.places, (item.chosen, item.rejected), strict=True)
    return [item.prompt, *(f"{_short(place)} prefers {text}" for place, text in sides)]


def _short(place: str) -> str:
    """A place without the name of its file."""
    return place.rpartition(", ")[2]


def _examples(items: Sequence[Sequence[str]]) -> Facts:
    """The first few findings, each several texts, one line per text."""
    for first, *others in items[:EXAMPLES_SHOWN]:
        yield "", one_line(first, WIDTH - LABEL)
        yield from (("", f"  {one_line(text, WIDTH - LABEL - 2)}") for text in others)
    if len(items) > EXAMPLES_SHOWN:
        yield "", f"... and {len(items) - EXAMPLES_SHOWN} more (--json lists all)"


def _label_facts(labels: Mapping[str, Any]) -> Facts:
    """Facts on a label database; what is unknown is omitted."""
    verdicts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in labels["verdicts"].items() if count)
    pace = f"; {labels['labels_per_minute']:.1f}/min" if labels["labels_per_minute"] else ""
    yield "labels", f"{labels['standing']} ({verdicts}), {labels['withdrawn']} withdrawn{pace}"
    if found := labels["self_agreement"]:
        yield "self-agreement", _rate(found, "repeated pairs judged as before")
    for one in labels["between"]:
        names = " and ".join(one_line(name, NAME_SHOWN) for name in one["annotators"])
        kappa = "" if one["kappa"] is None else f", kappa {one['kappa']:.2f}"
        yield "agreement", f"{names} agree on {_rate(one, 'pairs')}{kappa}"
    if found := labels["first_shown_won"]:
        yield "position bias", f"the first response won in {_rate(found, 'labels')}"
    if found := labels["longer_won"]:
        yield "length bias", f"the longer response won in {_rate(found, 'labels')}"
    for selection, found in labels["against_reward_model"].items():
        chosen = one_line(selection, NAME_SHOWN)
        yield "reward model", f"disagreed with {_rate(found, 'labels')} of {chosen} pairs"
    if marked := [f"{labels[name]} {words}" for name, words in MARKS.items() if labels[name]]:
        yield "marked", f"{', '.join(marked)}; export --format rankings shows which"


def _share(share: "Share") -> dict[str, Any] | None:
    if share.interval is None:
        return None
    low, high = share.interval
    return {"count": share.count, "cases": share.cases, "rate": share.rate, "low": low, "high": high}


def _rate(found: Mapping[str, Any], what: str) -> str:
    """A share of cases in words, with its 95% interval."""
    interval = f"{found['low']:.0%} to {found['high']:.0%}"
    return f"{found['count']} of {found['cases']} {what} ({found['rate']:.0%}, {interval})"
