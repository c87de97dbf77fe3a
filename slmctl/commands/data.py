"""`slmctl data check`, `data show`, `data convert` and `slmctl export`: files before training, and labels as rows."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.core.errors import ConfigError, DataError, FileError
from engine.rundir.directory import runs_home
from slmctl.commands import options
from slmctl.commands.rows import new_file, source_of, write_files
from slmctl.console.printing import say
from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from engine.data.conversion import Conversion
    from engine.data.files import Source

ROWS_SHOWN = 20
VALIDATION_SHARE = 0.1
Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="demonstrations, comparisons, prompts or text (default: guessed)."),
]


@options.takes("map", "json")
def check_data(
    file: Annotated[str, typer.Argument(metavar="FILE|hf:ORG/NAME", help="Data to check.")],
    kind: Kind = None,
    against: Annotated[str | None, typer.Option(metavar="FILE", help="Another split, to find shared prompts.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Count rows too long for this model: a path or tiny:sft.")
    ] = None,
    **given: Any,
) -> None:
    """\b
    slmctl data check demonstrations.json
    slmctl data check comparisons.jsonl --against validation.jsonl
    slmctl data check demonstrations.json --model tiny:sft
    slmctl data check lines.txt --kind prompts --json
    slmctl data check runs/tiny/labels.db

    Reports every bad row of a file, with counts, lengths, duplicates, unused fields, contradictory pairs, prompts
    shared with another split and rows too long for a model. For a label database, also how often annotators agree
    with themselves and with each other, and their position and length bias. Exit code 3 if a row is bad."""
    from engine.data.survey import guess_kind
    from engine.data.survey import survey_source as survey
    from slmctl.console.data_report import print_report

    source = source_of(file, given["map"])
    kind = kind or guess_kind(source)
    report = survey(source, kind, source_of(against, given["map"]) if against else None)
    fit = _fit(model, source, kind) if model is not None else {}
    labels = _label_numbers(source)
    if given["json"]:
        print(json.dumps({"file": file, **asdict(report), **fit, **({"labels": labels} if labels else {})}))
    else:
        print_report(file, report, against, labels, fit)
    if report.problems or report.against_problems:
        raise SystemExit(FileError.exit_code)


@options.takes("map", "jsonl")
def show_data(
    source: Annotated[str, typer.Argument(metavar="pocket|FILE|hf:ORG/NAME", help="Data to show.")],
    split: Annotated[str, typer.Option(metavar="SPLIT", help="train, validation or test (pocket).")] = "train",
    kind: Kind = None,
    n: Annotated[
        int | None, typer.Option("-n", metavar="N", min=1, help="Rows (default: all of pocket, 20 of a file).")
    ] = None,
    **given: Any,
) -> None:
    """\b
    slmctl data show pocket --split test
    slmctl data show comparisons.json -n 3

    Shows the prompts of the pocket world, or the first rows of a file as training reads them."""
    if source == "pocket":
        rows: Iterable[dict[str, Any]] = _pocket_rows(split)
    else:
        from engine.data.survey import guess_kind

        named = source_of(source, given["map"])
        rows = _file_rows(named, kind or guess_kind(named))
    for row in islice(rows, n if n or source == "pocket" else ROWS_SHOWN):
        print(json.dumps(row) if given["jsonl"] else _row_text(row))


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
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in row.items()
    }
    return "".join(f"{name:<10} {one_line(text, 300)}\n" for name, text in texts.items())


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


@options.takes("seed")
def convert_data(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File to convert.")],
    out: Annotated[str, typer.Option(metavar="FILE.jsonl", help="Output file.")],
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="comparisons or demonstrations (default: by the file's format).")
    ] = None,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Convert only messages in this language, such as en.")
    ] = None,
    validation: Annotated[str | None, typer.Option(metavar="FILE.jsonl", help="Output file for held-out rows.")] = None,
    validation_share: Annotated[
        float | None, typer.Option(metavar="S", help=f"Fraction that is held out (default: {VALIDATION_SHARE}).")
    ] = None,
    **given: Any,
) -> None:
    """\b
    slmctl data convert oasst_trees.jsonl --out comparisons.jsonl
    slmctl data convert oasst_trees.jsonl --out train.jsonl --validation held.jsonl
    slmctl data convert seed_tasks.jsonl --out demonstrations.jsonl

    Converts Open Assistant conversation trees to comparisons or demonstrations, and self-instruct tasks to
    demonstrations. Skipped items are counted on stderr, with the reason. Existing files are not overwritten.
    --validation holds out whole trees; the same --seed holds out the same trees for every --kind."""
    from engine.data.conversion import convert_file, split_rows

    target, held = new_file("--out", out), new_file("--validation", validation) if validation else None
    _check_validation(target, held, validation_share)
    done = convert_file(Path(file).expanduser(), kind, language)
    if not done.rows:
        why = "; ".join(_reasons(done.left_out)) or "it has no replies"
        raise DataError(f"{file} gives no {done.kind} out of {done.replies} replies: {why}")
    written = [(target, done.rows)]
    if held is not None:
        train, rows = split_rows(done, validation_share or VALIDATION_SHARE, given["seed"] or 0)
        written = [(target, train), (held, rows)]
    write_files([(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)) for path, rows in written])
    _print_summary(file, done, written)


def _check_validation(target: Path, held: Path | None, share: float | None) -> None:
    if share is not None and held is None:
        raise ConfigError("--validation-share needs --validation FILE.jsonl, the output file for held-out rows")
    if share is not None and not 0 < share < 1:
        raise ConfigError(f"--validation-share is {share}; it must be between 0 and 1")
    if held is not None and held.resolve() == target.resolve():
        raise ConfigError("--out and --validation name the same file; choose two")


def _reasons(left_out: Counter[str]) -> list[str]:
    return [f"skipped {count}: {reason}" for reason, count in left_out.most_common() if count]


def _print_summary(file: str, done: "Conversion", written: Sequence[tuple[Path, Sequence[dict[str, Any]]]]) -> None:
    lines = [f"{one_line(file)}: {done.items} {done.source} with {done.replies} replies"]
    for path, rows in written:
        inside = sum(len(row["responses"]) if "responses" in row else 1 for row in rows)
        lines.append(f"{one_line(str(path))}: {len(rows)} {done.kind} with {inside} replies")
    for line in lines + _reasons(done.left_out):
        print(line, file=sys.stderr)


def export_labels(
    db: Annotated[str, typer.Option(metavar="FILE.db", help="Label database.")],
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="trl, hh, kto, sft or rankings.")],
    out: Annotated[str | None, typer.Option(metavar="FILE.jsonl", help="Output file (default: stdout).")] = None,
    annotator: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Export only this annotator's labels; can be repeated.")
    ] = None,
) -> None:
    """\b
    slmctl export --db runs/tiny/labels.db --format trl --out preferences.jsonl
    slmctl export --db runs/tiny/labels.db --format sft --annotator ann > edits.jsonl

    Formats: trl has {prompt, chosen, rejected} rows, for DPO and reward models; hh has {chosen, rejected}
    transcripts; kto has {prompt, completion, label}; sft has {prompt, completion} of edited responses; rankings has
    {prompt, responses, ranking, strength, flagged, note}, the only format with flags and notes. A ranking becomes
    all of its pairs. Text prompts stay text, which TRL formats without a chat template; conversations stay
    conversations.

    Skipped labels are counted on stderr, with the reason. Existing files are not overwritten. slmctl itself trains
    on the database directly: slmctl rm --data runs/tiny/labels.db."""
    from engine.data.labels.export import export_rows
    from engine.data.labels.store import read_database

    target = None if out is None else new_file("--out", out)
    labels = read_database(Path(db).expanduser())
    done = export_rows(labels, form, annotator or ())
    reasons = _reasons(done.left_out)
    if not done.rows:
        raise DataError(f"{db} gives no {form} rows: {'; '.join(reasons) or 'it has no labels'}")
    text = "".join(json.dumps(row) + "\n" for _, row in done.rows)
    if target is None:
        print(text, end="", flush=True)
    else:
        write_files([(target, text)])
    labeled = len({number for number, _ in done.rows})
    for line in [f"{one_line(out or db)}: {form}, labels: {labeled}, rows: {len(done.rows)}", *reasons]:
        say(line)
