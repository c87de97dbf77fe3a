"""`slmctl data convert`: files of other formats, rewritten as rows that the stages read."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.core.errors import ConfigError, DataError
from slmctl.commands import options
from slmctl.commands.rows import new_file, write_files
from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from engine.data.conversion import Conversion

HELP = """\b
slmctl data convert oasst_trees.jsonl --out comparisons.jsonl
slmctl data convert oasst_trees.jsonl --out train.jsonl --validation held.jsonl
slmctl data convert seed_tasks.jsonl --out demonstrations.jsonl

Converts Open Assistant conversation trees to comparisons or demonstrations, and self-instruct tasks to demonstrations.
Skipped items are counted on stderr, with the reason. Existing files are not overwritten. --validation holds out whole
trees; the same --seed holds out the same trees for every --kind."""
VALIDATION_SHARE = 0.1


def convert_data(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    out: Annotated[str, typer.Option("--out", metavar="FILE.jsonl", help="Output file.")],
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="KIND", help="comparisons or demonstrations (default: by the file's format)."),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="CODE", help="Convert only messages in this language, such as en."),
    ] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", metavar="FILE.jsonl", help="Output file for held-out rows.")
    ] = None,
    validation_share: Annotated[
        float | None,
        typer.Option(
            "--validation-share", metavar="S", help=f"Fraction that is held out (default: {VALIDATION_SHARE})."
        ),
    ] = None,
    seed: options.Seed = None,
) -> None:
    """Writes the rows that a file is converted to."""
    from engine.data.conversion import convert_file, split_rows

    target, held = new_file("--out", out), new_file("--validation", validation) if validation else None
    share = _share(validation_share, held)
    _check_apart(target, held)
    done = convert_file(Path(file).expanduser(), kind, language)
    _check_found(file, done)
    written = [(target, done.rows)]
    if held is not None:
        train, rows = split_rows(done, share, seed or 0)
        written = [(target, train), (held, rows)]
    write_files([(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)) for path, rows in written])
    _print_summary(file, done, written)


def _share(typed: float | None, held: Path | None) -> float:
    if typed is not None and held is None:
        raise ConfigError("--validation-share needs --validation FILE.jsonl, the output file for held-out rows")
    if typed is not None and not 0 < typed < 1:
        raise ConfigError(f"--validation-share is {typed}; it must be between 0 and 1")
    return VALIDATION_SHARE if typed is None else typed


def _check_apart(target: Path, held: Path | None) -> None:
    if held is not None and held.resolve() == target.resolve():
        raise ConfigError("--out and --validation name the same file; choose two")


def _check_found(file: str, done: "Conversion") -> None:
    if not done.rows:
        why = "; ".join(_reasons(done)) or "it has no replies"
        raise DataError(f"{file} gives no {done.kind} out of {done.replies} replies: {why}")


def _reasons(done: "Conversion") -> list[str]:
    return [f"skipped {count}: {reason}" for reason, count in done.left_out.most_common() if count]


def _print_summary(file: str, done: "Conversion", written: Sequence[tuple[Path, Sequence[dict[str, Any]]]]) -> None:
    lines = [f"{one_line(file)}: {done.items} {done.source} with {done.replies} replies"]
    for path, rows in written:
        inside = sum(len(row["responses"]) if "responses" in row else 1 for row in rows)
        lines.append(f"{one_line(str(path))}: {len(rows)} {done.kind} with {inside} replies")
    for line in lines + _reasons(done):
        print(line, file=sys.stderr)
