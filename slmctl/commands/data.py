"""`slmctl data`: check a file before training on it, look at one, or at the embedded world."""

import json as json_module
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmctl.commands import options
from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from engine.data.files import Source

CHECK_HELP = """\b
slmctl data check demonstrations.json
slmctl data check comparisons.jsonl --against validation.jsonl
slmctl data check demonstrations.json --model tiny:sft
slmctl data check lines.txt --kind prompts --json
slmctl data check runs/tiny/labels.db

Every bad row of a file, with counts, lengths, duplicates, fields that are not used, pairs that contradict each other,
prompts shared with another split and rows too long for a model. Of a label database also how far its annotators agree
with themselves and each other, and whether place or length sways them. Exit code 3 where a row is bad."""
SHOW_HELP = """\b
slmctl data show pocket --split test
slmctl data show comparisons.json -n 3

The prompts of the embedded world, or the first rows of a file as they are read."""
ROWS_SHOWN = 20
Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="demonstrations, comparisons, prompts or text (default: guessed)."),
]
Shown = Annotated[
    int | None, typer.Option("-n", metavar="N", min=1, help="Rows (default: all of pocket's, 20 of a file's).")
]


def check(
    file: Annotated[str, typer.Argument(metavar="FILE|hf:ORG/NAME")],
    kind: Kind = None,
    map: options.Map = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="FILE", help="Another split, to look for shared prompts in.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Count rows too long for it: a path or tiny:sft.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Prints a report on a file."""
    from engine.data.survey import check as survey
    from engine.data.survey import guess_kind
    from slmctl.console.data_report import fit_line, report_lines
    from slmctl.console.labels_report import label_lines

    source = named_source(file, map)
    kind = kind or guess_kind(source)
    report = survey(source, kind, named_source(against, map) if against else None)
    fit = _fit(model, source, kind) if model is not None else {}
    labels = _labels(source)
    if json:
        print(json_module.dumps({"file": file, **asdict(report), **fit, **({"labels": labels} if labels else {})}))
    else:
        print("\n".join([*report_lines(file, report, against), *(label_lines(labels) if labels else ())]))
        if fit:
            print(fit_line(fit["model"], fit["context"], fit["over_long"], kind))
    if report.problems or report.against_problems:
        raise SystemExit(3)


def show(
    source: Annotated[str, typer.Argument(metavar="pocket|FILE|hf:ORG/NAME")],
    split: Annotated[
        str, typer.Option("--split", metavar="SPLIT", help="train, validation or test (pocket).")
    ] = "train",
    kind: Kind = None,
    map: options.Map = None,
    n: Shown = None,
    jsonl: options.Jsonl = False,
) -> None:
    """Prints prompts or rows."""
    if source == "pocket":
        rows: Iterable[dict[str, Any]] = _pocket_rows(split)
    else:
        from engine.data.survey import guess_kind

        named = named_source(source, map)
        rows = _file_rows(named, kind or guess_kind(named))
    for row in islice(rows, n if n or source == "pocket" else ROWS_SHOWN):
        print(json_module.dumps(row) if jsonl else _shown(row))


def named_source(name: str, mapped: list[str] | None) -> "Source":
    """The rows that a person means. Raises: ConfigError for a field map that is none."""
    from engine.data.fields import parse_map
    from engine.data.files import Source

    return Source(name, parse_map(mapped or []))


def _labels(source: "Source") -> dict[str, Any] | None:
    """What is known of a label database, None for any other source."""
    from engine.data.files import is_labels, labels_named
    from engine.data.labels.store import read_database
    from slmctl.console.labels_report import label_facts

    return label_facts(read_database(*labels_named(source.name))) if is_labels(source.name) else None


def _pocket_rows(split: str) -> Iterable[dict[str, Any]]:
    from engine.core.errors import ConfigError
    from engine.pocket.requests import SPLITS, describe, requests

    named = [known for known in SPLITS if known == split]
    if not named:
        raise ConfigError(f"pocket has no split {split!r}; it has {', '.join(SPLITS)}")
    facts = ", ".join(f"{name} {value}" for name, value in describe().items() if not isinstance(value, dict))
    print(f"pocket: {facts}", file=sys.stderr)
    return ({"prompt": item.text, "kind": item.kind, "group": item.group} for item in requests(named[0]))


def _file_rows(source: "Source", kind: str) -> Iterable[dict[str, Any]]:
    from engine.data.files import read_rows
    from engine.data.readers import is_judged_bad, parser, placed

    parse = parser(kind)
    records = (placed(row, parse) for row in read_rows(source, kind) if not is_judged_bad(row.value, kind))
    shown = (asdict(record) for record in records if record is not None)
    return ({name: value for name, value in row.items() if name != "all_turns"} for row in shown)


def _shown(row: dict[str, Any]) -> str:
    if set(row) == {"prompt", "kind", "group"}:
        return f"{row['kind']:<16} {one_line(row['prompt'])}"
    return "\n".join(f"{name:<10} {one_line(_text(value), 300)}" for name, value in row.items()) + "\n"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, ensure_ascii=False)


def _fit(model: str, source: "Source", kind: str) -> dict[str, Any]:
    """A model's context, and how many good rows of a file are too long for it. Loads torch."""
    from engine.core import threads as thread_settings
    from engine.data.survey import sort_out
    from engine.rundir.directory import runs_home
    from engine.rundir.references import resolve_reference

    directory = resolve_reference(model, runs_home(os.environ))
    thread_settings.apply(None, shared=True)
    from engine.model.fitting import over_long
    from engine.model.pretrained import read_architecture
    from engine.model.tokenizer import load_tokenizer

    context = read_architecture(directory).context
    count = over_long(sort_out(source, kind).records, load_tokenizer(directory), context)
    return {"model": model, "context": context, "over_long": count}
