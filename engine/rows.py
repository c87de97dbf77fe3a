"""From a file to raw rows, each with the place it came from, so that every complaint can name it.

Knows files (.jsonl, .json, .txt) and nothing of what the rows should hold: that is readers.py.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import DataError, FileError

SUFFIXES = (".jsonl", ".json", ".txt")


@dataclass(frozen=True)
class Row:
    """One raw row; `place` reads like "data.jsonl, line 3".

    `value` is any JSON value, text for a .txt file, or the error of a line that is not JSON.
    """

    place: str
    value: Any


def read_rows(path: Path, plain: str) -> Iterator[Row]:
    """The rows of a file. `plain` says how a .txt file is cut: "lines", "paragraphs", or "" where it cannot be used.

    Raises: FileError where it is missing or of another type; DataError for a row that is not JSON.
    """
    if not path.is_file():
        raise FileError(f"there is no file {path}")
    if path.suffix not in SUFFIXES or (path.suffix == ".txt" and not plain):
        allowed = ", ".join(SUFFIXES if plain else SUFFIXES[:2])
        raise FileError(f"{path} is of a type that cannot be read here; use {allowed}")
    text = _decode(path)
    if path.suffix == ".jsonl":
        yield from _lines_of_json(path, text)
    elif path.suffix == ".json":
        yield from _list_of_json(path, text)
    else:
        yield from _plain(path, text, plain)


def _decode(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: this is not UTF-8 text (byte 0x{raw[error.start]:02x})") from error


def _lines_of_json(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield json_row(f"{path}, line {number}", line)


def json_row(place: str, line: str) -> Row:
    """The row of one line; its value is a DataError where the line is not JSON."""
    try:
        return Row(place, json.loads(line))
    except (ValueError, RecursionError) as error:
        return Row(place, DataError(f"{place}: this is not JSON: {_reason(error)}"))


def _list_of_json(path: Path, text: str) -> Iterator[Row]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; one object a line belongs in a .jsonl file" if error.msg == "Extra data" else ""
        raise DataError(f"{path}, line {error.lineno}: this is not JSON: {error.msg}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: this is not JSON that can be read: {_reason(error)}") from error
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of rows and found {type(rows).__name__}")
    for number, row in enumerate(rows, start=1):
        yield Row(f"{path}, row {number}", row)


def _plain(path: Path, text: str, plain: str) -> Iterator[Row]:
    unified = text.replace("\r\n", "\n")
    number = 1
    for part in unified.split("\n\n" if plain == "paragraphs" else "\n"):
        if part.strip():
            yield Row(f"{path}, line {number}", part.strip("\n"))
        number += part.count("\n") + (2 if plain == "paragraphs" else 1)


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)
