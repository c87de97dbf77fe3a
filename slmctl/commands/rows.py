"""The rows that commands read from files, datasets and stdin, and the files that they write."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.core.errors import ConfigError, DataError, FileError
from engine.rundir.directory import write_text
from slmctl.console.printing import say
from slmctl.console.safe import clean

if TYPE_CHECKING:
    from engine.data.files import RawRow, Source
    from engine.data.records import Prompt
    from engine.run.inference import Policy

MOST_NAMED = 3  # of the prompts that are skipped


def source_of(name: str, mapped: list[str] | None) -> "Source":
    """The rows of a file or dataset, with the field map of --map. Raises: ConfigError for a malformed field map."""
    from engine.data.files import Source, parse_map

    return Source(name, parse_map(mapped or []))


def read_prompts(file: str | None, mapped: list[str] | None) -> Iterator[tuple[str, "Prompt"]]:
    """The prompts of a file or dataset, or of stdin for None and "-", each with its place.

    Raises: FileError, DataError.
    """
    from engine.data import readers

    if file is not None and file != "-":
        yield from prompts_in(file, mapped)
        return
    for row in stdin_rows("sample reads rows {prompt}, one per line, or --prompts FILE"):
        prompt = readers.parse_prompt(row)
        if prompt is None:
            raise DataError(f"{row.place}: the prompt is empty")
        yield row.place, prompt


def prompts_in(file: str, mapped: list[str] | None) -> list[tuple[str, "Prompt"]]:
    """The prompts of a file or dataset, each with its place; empty ones are skipped and counted on stderr.

    Raises: FileError, DataError.
    """
    from engine.data import readers

    loaded = readers.read_prompts(source_of(file, mapped))
    if loaded.empty:
        say(f"skipped {loaded.empty} of {loaded.empty + len(loaded.records)} prompts: empty")
    return [(place, row.prompt) for place, row in zip(loaded.places, loaded.records, strict=True)]


def answerable(prompts: Iterable[tuple[str, "Prompt"]], policies: "Sequence[Policy]") -> Iterator["Prompt"]:
    """The prompts that leave every policy room for a response; the others are counted on stderr at the end.

    Raises: DataError if none is left.
    """
    kept, skipped = 0, list[str]()
    for place, prompt in prompts:
        problems = [problem for policy in policies if (problem := policy.why_unanswerable(prompt))]
        if problems:
            skipped.append(f"{place} {problems[0]}")
        else:
            kept += 1
            yield prompt
    named = "; ".join(skipped[:MOST_NAMED]) + ("; ..." if len(skipped) > MOST_NAMED else "")
    if skipped and not kept:
        raise DataError(f"no prompt leaves room for a response: {named}")
    if skipped:
        say(f"skipped {len(skipped)} of {kept + len(skipped)} prompts: too long: {clean(named)}")


def stdin_rows(wanted: str) -> Iterator["RawRow"]:
    """The JSON rows of stdin, as they arrive. Raises: DataError with the hint `wanted` if stdin is empty."""
    from engine.data.files import json_row

    found = False
    if sys.stdin.isatty():
        say(f"{wanted}; Ctrl-D ends the input")
    for number, line in enumerate(sys.stdin, start=1):
        if line.strip():
            found = True
            yield json_row(f"stdin, line {number}", line)
    if not found:
        raise DataError(f"stdin is empty; {wanted}")


def new_file(option: str, name: str) -> Path:
    """The path of a .jsonl file to write. Raises: ConfigError if it exists or has another suffix."""
    path = Path(name).expanduser()
    if path.suffix != ".jsonl":
        raise ConfigError(f"{option} is {name}; its name must end in .jsonl, the format that is written")
    if path.exists():
        raise ConfigError(f"{option}: {name} exists and is not overwritten; choose another name or remove it")
    return path


def write_files(files: Sequence[tuple[Path, str]]) -> None:
    """Writes all of the files, each atomically, or none. Raises: FileError naming the one that cannot be written."""
    done: list[Path] = []
    for path, text in files:
        try:
            write_text(path, text)
        except OSError as error:
            for earlier in done:
                earlier.unlink()
            raise FileError(f"cannot write {path}: {error.strerror}") from error
        done.append(path)
