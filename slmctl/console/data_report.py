"""The report of `slmctl data check` as text, for terminals of eighty columns. Where the numbers come from is
engine/survey.py's business.
"""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from engine.data.contradictions import Contradiction
    from engine.data.survey import Report, Shared

WIDTH = 80
LABEL = 12
PROBLEMS_SHOWN = 20
EXAMPLES_SHOWN = 3


def report_lines(file: str, report: "Report", against: str | None) -> Iterator[str]:
    """The report, a line each; counts of what would be wrong are left out where they are 0, but for duplicates."""
    counts = f"{report.kind}, {report.rows} rows, {report.good} good, {report.empty} empty and left out"
    whole = f"{one_line(file)}: {counts}"
    yield from [whole] if len(whole) <= WIDTH else [f"{one_line(file)}:", counts]
    if report.judged_bad:
        yield from entry(
            "judged bad", f"{report.judged_bad} rows with label false, left out: they are not to be learnt"
        )
    yield from entry("duplicates", f"{report.duplicates}")
    if report.repeated:
        yield from entry("repeated", f"{report.repeated} responses that another row gives to the same prompt")
    if report.pairs:
        yield from _pair_lines(report)
    for name, length in (("prompts", report.prompt_length), ("responses", report.response_length)):
        if length.longest:
            text = f"{length.shortest} to {length.longest} characters, half below {length.middle}"
            yield from entry(name, text)
    if report.unused:
        fields = ", ".join(f"{one_line(name, 40)} in {count} rows" for name, count in report.unused.items())
        hint = "; demonstrations have prompt and completion" if report.kind == "prompts" else ""
        yield from entry("not used", fields + hint)
    if against is not None:
        text = f"{len(report.shared)} rows whose prompt is in {one_line(against)} too, spaces and case aside"
        yield from entry("shared", text)
        yield from _examples([_leak(item) for item in report.shared])
        if problems := report.against_problems:
            yield from entry("", f"{len(problems)} rows of it have no prompt that can be read, such as")
            yield " " * LABEL + one_line(problems[0])
    for problem in report.problems[:PROBLEMS_SHOWN]:
        yield f"bad: {one_line(problem)}"
    if len(report.problems) > PROBLEMS_SHOWN:
        yield f"... and {len(report.problems) - PROBLEMS_SHOWN} more bad rows (all of them with --json)"


def fit_line(model: str, context: int, over_long: int, kind: str) -> str:
    """How many rows are too long for a model, and what becomes of them."""
    fate = {
        "demonstrations": "their responses that do not fit are left out",
        "comparisons": "such rows are left out",
        "prompts": "such rows leave no room for a response",
        "text": "longer documents are cut into rows",
    }[kind]
    return "\n".join(entry("too long", f"{over_long} rows for the {context} tokens of {one_line(model)}; {fate}"))


def _pair_lines(report: "Report") -> Iterator[str]:
    found = report.judgements
    same = f", {found.identical} of twice the same response" if found.identical else ""
    yield from entry("pairs", f"{report.pairs}, {report.ties} of them ties{same}")
    if found.agreement is None:
        return
    text = f"{found.judged_again} pairs judged several times, {found.agreement:.1%} of their judgements agree"
    yield from entry("again", text)
    if found.contradictions:
        yield from entry("contradict", f"{len(found.contradictions)} pairs judged one way and the other")
        yield from _examples([_contradiction(item) for item in found.contradictions])


def _leak(item: "Shared") -> list[str]:
    here, there = item.places
    return [f"{_short(here)} and there {_short(there)}", item.prompt]


def _contradiction(item: "Contradiction") -> list[str]:
    sides = zip(item.places, (item.chosen, item.rejected), strict=True)
    return [item.prompt, *(f"{_short(place)} prefers {text}" for place, text in sides)]


def _short(place: str) -> str:
    """A place without the name of its file, which the report has named."""
    return place.rpartition(", ")[2]


def _examples(items: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first few findings, each of several texts, a line each."""
    for first, *others in items[:EXAMPLES_SHOWN]:
        yield " " * LABEL + one_line(first, WIDTH - LABEL)
        for text in others:
            yield " " * (LABEL + 2) + one_line(text, WIDTH - LABEL - 2)
    if len(items) > EXAMPLES_SHOWN:
        yield from entry("", f"... and {len(items) - EXAMPLES_SHOWN} more (all of them with --json)")


def entry(label: str, text: str) -> list[str]:
    """A label and a text beside it, in as many lines as the text needs; no word is cut."""
    lines = wrap(text, WIDTH - LABEL, break_long_words=False, break_on_hyphens=False)
    return [f"{name:<{LABEL}}{line}" for name, line in zip([label, *[""] * len(lines)], lines, strict=False)]
