"""`slmctl data convert`: files in foreign formats, rewritten as rows that every stage reads."""

import json as json_module
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmctl.commands import options
from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from engine.data.conversion.convert import Conversion

HELP = """\b
slmctl data convert oasst_trees.jsonl --out comparisons.jsonl
slmctl data convert oasst_trees.jsonl --out train.jsonl --validation held.jsonl
slmctl data convert seed_tasks.jsonl --out demonstrations.jsonl

Open Assistant's conversation trees to comparisons or demonstrations, self-instruct tasks to demonstrations. What is
left out is counted on stderr, with the reason. Existing files are not overwritten. With --validation whole trees are
held out; the same --seed holds out the same trees, whatever the --kind."""
VALIDATION_SHARE = 0.1


def convert(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    out: Annotated[str, typer.Option("--out", metavar="FILE.jsonl", help="Where the rows go.")],
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="KIND", help="comparisons or demonstrations (default: what the file gives)."),
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", metavar="CODE", help="Only messages in one language, such as en.")
    ] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", metavar="FILE.jsonl", help="Where held-out rows go.")
    ] = None,
    validation_share: Annotated[
        float | None,
        typer.Option("--validation-share", metavar="S", help=f"How much is held out (default: {VALIDATION_SHARE})."),
    ] = None,
    seed: options.Seed = None,
) -> None:
    """Writes the rows that a file holds."""
    from engine.data.conversion.convert import convert as convert_file
    from engine.data.conversion.convert import split

    target, held = new_file("--out", out), new_file("--validation", validation) if validation else None
    share = _share(validation_share, held)
    _check_apart(target, held)
    done = convert_file(Path(file).expanduser(), kind, language)
    _check_found(file, done)
    written = [(target, done.rows)]
    if held is not None:
        train, rows = split(done, share, seed or 0)
        written = [(target, train), (held, rows)]
    write_files(
        [(path, "".join(json_module.dumps(row, ensure_ascii=False) + "\n" for row in rows)) for path, rows in written]
    )
    _print_summary(file, done, written)


def new_file(option: str, name: str) -> Path:
    """The path of a file to be written. Raises: ConfigError where there is something already, or it is no .jsonl."""
    from engine.core.errors import ConfigError

    path = Path(name).expanduser()
    if path.suffix != ".jsonl":
        raise ConfigError(f"{option} is {name}; it must end with .jsonl, since that is what is written")
    if path.exists():
        raise ConfigError(f"{option}: {name} is there already and is not overwritten; name another file or remove it")
    return path


def _share(typed: float | None, held: Path | None) -> float:
    from engine.core.errors import ConfigError

    if typed is not None and held is None:
        raise ConfigError("--validation-share needs --validation FILE.jsonl, where the held-out rows go")
    if typed is not None and not 0 < typed < 1:
        raise ConfigError(f"--validation-share is {typed}; it must be between 0 and 1")
    return VALIDATION_SHARE if typed is None else typed


def _check_apart(target: Path, held: Path | None) -> None:
    from engine.core.errors import ConfigError

    if held is not None and held.resolve() == target.resolve():
        raise ConfigError("--out and --validation name the same file; they must be two")


def _check_found(file: str, done: "Conversion") -> None:
    from engine.core.errors import DataError

    if not done.rows:
        why = "; ".join(_reasons(done)) or "there are no replies"
        raise DataError(f"{file} gives no {done.kind}: of {done.replies} replies, {why}")


def write_files(files: Sequence[tuple[Path, str]]) -> None:
    """Writes all of the files, each in one piece, or none. Raises: FileError naming the one that cannot be written."""
    from engine.core.errors import FileError
    from engine.rundir.directory import write_text

    done: list[Path] = []
    for path, text in files:
        try:
            write_text(path, text)
        except OSError as error:
            for earlier in done:
                earlier.unlink()
            raise FileError(f"cannot write {path}: {error.strerror}") from error
        done.append(path)


def _reasons(done: "Conversion") -> list[str]:
    return [f"{count} left out: {reason}" for reason, count in done.left_out.most_common() if count]


def _print_summary(file: str, done: "Conversion", written: Sequence[tuple[Path, Sequence[dict[str, Any]]]]) -> None:
    lines = [f"{one_line(file)}: {done.items} {done.source} with {done.replies} replies"]
    for path, rows in written:
        inside = sum(len(row["responses"]) if "responses" in row else 1 for row in rows)
        lines.append(f"{one_line(str(path))}: {len(rows)} {done.kind} with {inside} replies")
    for line in lines + _reasons(done):
        print(line, file=sys.stderr)
