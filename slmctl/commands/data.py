"""`slmctl data check` and `data show`: examine a file before training on it, or the pocket world."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.core.errors import ConfigError, FileError
from engine.rundir.directory import runs_home
from slmctl.commands import options
from slmctl.commands.rows import source_of
from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from engine.data.files import Source

CHECK_HELP = """\b
slmctl data check demonstrations.json
slmctl data check comparisons.jsonl --against validation.jsonl
slmctl data check demonstrations.json --model tiny:sft
slmctl data check lines.txt --kind prompts --json
slmctl data check runs/tiny/labels.db

Reports every bad row of a file, with counts, lengths, duplicates, unused fields, contradictory pairs, prompts shared
with another split and rows too long for a model. For a label database, also how often annotators agree with
themselves and with each other, and their position and length bias. Exit code 3 if a row is bad."""
SHOW_HELP = """\b
slmctl data show pocket --split test
slmctl data show comparisons.json -n 3

Shows the prompts of the pocket world, or the first rows of a file as training reads them."""
ROWS_SHOWN = 20
Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="demonstrations, comparisons, prompts or text (default: guessed)."),
]


@options.takes(json=options.Json)
def check_data(
    file: Annotated[str, typer.Argument(metavar="FILE|hf:ORG/NAME")],
    kind: Kind = None,
    map: options.Map = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="FILE", help="Another split, to find shared prompts.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Count rows too long for this model: a path or tiny:sft."),
    ] = None,
    **output: Any,
) -> None:
    """Prints a report on a file."""
    from engine.data.survey import guess_kind
    from engine.data.survey import survey_source as survey
    from slmctl.console.data_report import print_report

    source = source_of(file, map)
    kind = kind or guess_kind(source)
    report = survey(source, kind, source_of(against, map) if against else None)
    fit = _fit(model, source, kind) if model is not None else {}
    labels = _label_numbers(source)
    if output["json"]:
        print(json.dumps({"file": file, **asdict(report), **fit, **({"labels": labels} if labels else {})}))
    else:
        print_report(file, report, against, labels, fit)
    if report.problems or report.against_problems:
        raise SystemExit(FileError.exit_code)


@options.takes(jsonl=options.Jsonl)
def show_data(
    source: Annotated[str, typer.Argument(metavar="pocket|FILE|hf:ORG/NAME")],
    split: Annotated[
        str, typer.Option("--split", metavar="SPLIT", help="train, validation or test (pocket).")
    ] = "train",
    kind: Kind = None,
    map: options.Map = None,
    n: Annotated[
        int | None, typer.Option("-n", metavar="N", min=1, help="Rows (default: all of pocket, 20 of a file).")
    ] = None,
    **output: Any,
) -> None:
    """Prints prompts or rows."""
    if source == "pocket":
        rows: Iterable[dict[str, Any]] = _pocket_rows(split)
    else:
        from engine.data.survey import guess_kind

        named = source_of(source, map)
        rows = _file_rows(named, kind or guess_kind(named))
    for row in islice(rows, n if n or source == "pocket" else ROWS_SHOWN):
        print(json.dumps(row) if output["jsonl"] else _row_text(row))


def _label_numbers(source: "Source") -> dict[str, Any]:
    """The numbers of a label database; none for any other source."""
    from engine.data.files import is_labels, labels_named
    from engine.data.labels.store import read_database
    from slmctl.console.data_report import label_numbers

    return label_numbers(read_database(*labels_named(source.name))) if is_labels(source.name) else {}


def _pocket_rows(split: str) -> Iterable[dict[str, Any]]:
    from engine.pocket.prompts import SPLITS, all_requests, describe_world

    named = [known for known in SPLITS if known == split]
    if not named:
        raise ConfigError(f"pocket has no split {split!r}; its splits are {', '.join(SPLITS)}")
    facts = ", ".join(f"{name} {value}" for name, value in describe_world().items() if not isinstance(value, dict))
    print(f"pocket: {facts}", file=sys.stderr)
    return ({"prompt": item.text, "kind": item.kind, "group": item.group} for item in all_requests(named[0]))


def _file_rows(source: "Source", kind: str) -> Iterable[dict[str, Any]]:
    from engine.data.files import read_rows
    from engine.data.readers import is_labeled_bad, parse_row, parser_of

    parse = parser_of(kind)
    records = (parse_row(row, parse) for row in read_rows(source, kind) if not is_labeled_bad(row.value, kind))
    shown = (asdict(record) for record in records if record is not None)
    return ({name: value for name, value in row.items() if name != "all_turns"} for row in shown)


def _row_text(row: dict[str, Any]) -> str:
    if set(row) == {"prompt", "kind", "group"}:
        return f"{row['kind']:<16} {one_line(row['prompt'])}"
    return (
        "\n".join(
            f"{name:<10} {one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 300)}"
            for name, value in row.items()
        )
        + "\n"
    )


def _fit(model: str, source: "Source", kind: str) -> dict[str, Any]:
    """A model's context, and how many good rows of a file are too long for it. Loads torch."""
    from engine.core import threads
    from engine.data.survey import sort_rows
    from engine.rundir.references import resolve_reference

    directory = resolve_reference(model, runs_home(os.environ))
    threads.apply(None, shared=True)
    from engine.model.batching import count_too_long
    from engine.model.pretrained import read_architecture
    from engine.model.tokenizer import load_tokenizer

    context = read_architecture(directory).context
    count = count_too_long(sort_rows(source, kind).records, load_tokenizer(directory), context)
    return {"model": model, "context": context, "too_long": count}
