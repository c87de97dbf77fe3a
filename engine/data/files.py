"""From a file to raw rows, each with the place it came from, so that every complaint can name it.

Knows files (.jsonl, .json, .csv, .parquet, .txt, each also compressed as .gz), datasets by way of tables.py, label
databases by way of exports.py, and little of what the rows should hold: that is readers.py.
"""

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.core.errors import DataError, FileError
from engine.data.datasets import dataset_rows, is_dataset, parquet_rows, rows_hash
from engine.data.fields import FieldMap, renamed
from engine.data.labels.export import MARKS, export_rows
from engine.data.labels.store import MAX_ID, Labels, read_database
from engine.data.records import Prompt, plain_prompt

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".txt")
COMPRESSED = ".gz"
LABELS = re.compile(r"(?P<file>.+\.(db|sqlite))(@(?P<until>\d{1,18}))?", re.DOTALL)
FORMS = {"comparisons": "rankings", "demonstrations": "sft"}
"""What a label database gives for a kind of data, as exports.py names it; prompts are what was asked."""
CUTS = {"prompts": "lines", "text": "paragraphs"}
"""How a .txt file is cut for the kinds of data that it can hold."""
JSON_COLUMNS = ("messages", "responses", "ranking", "margin")
"""What a cell of a .csv file holds as JSON, since a cell is text; message lists in other columns are known by "[{"."""
LONGEST_CELL = 2**31 - 1  # csv refuses cells of more than 128 kB unless told
MOST_UNPACKED = 4 * 2**30  # bytes; a compressed file of a few MB can hold more than any memory


@dataclass(frozen=True)
class Source:
    """Where rows come from as a person named it, a file, a dataset folder or a hub dataset, and its field map.

    A label database may be named as it was when row N was its last one, FILE.db@N.
    """

    name: str
    fields: FieldMap = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Row:
    """One raw row; `place` reads like "data.jsonl, line 3".

    `value` is any JSON value, text for a .txt file, or the error of a line that is not JSON.
    """

    place: str
    value: Any


def read_rows(source: Path | Source, kind: str) -> Iterator[Row]:
    """The rows of a source that are to be read as this kind of data, or "" where the form is a foreign one.

    Raises: FileError where it is missing or of another type; DataError for a file that is not what its name says.
    """
    given = source if isinstance(source, Source) else Source(str(source))
    rows: Iterator[Row]
    if is_dataset(given.name):
        rows = _rows_of_dataset(given.name)
    elif is_labels(given.name):
        rows = _rows_of_labels(given.name, kind)
    else:
        path = _readable(given.name, kind)
        rows = _rows_of_file(path, _read(path), kind)
    return (_mapped(row, given.fields) for row in rows) if given.fields else rows


def read_hashed(source: Source, kind: str) -> tuple[list[Row], str]:
    """The rows of a source, and the SHA-256 of a file's content or of a dataset's or label database's rows; one read.

    Raises: as `read_rows`.
    """
    name = source.name
    if is_dataset(name) or is_labels(name):
        rows = list(read_rows(Source(name), kind))
        digest = rows_hash(row.value for row in rows)
    else:
        path = _readable(name, kind)
        raw = _read(path)
        rows, digest = list(_rows_of_file(path, raw, kind)), hashlib.sha256(raw).hexdigest()
    return [_mapped(row, source.fields) for row in rows] if source.fields else rows, digest


def _rows_of_dataset(name: str) -> Iterator[Row]:
    for number, row in enumerate(dataset_rows(name), start=1):
        yield Row(f"{name}, row {number}", row)


def is_plain_text(source: Source) -> bool:
    """Whether a source is a text file, compressed or not."""
    return not is_dataset(source.name) and suffix_of(Path(source.name)) == ".txt"


def is_labels(name: str) -> bool:
    """Whether a name means a label database."""
    return not is_dataset(name) and LABELS.fullmatch(name) is not None


def labels_named(name: str) -> tuple[Path, int]:
    """The file of a label database, and the number of the last row that counts."""
    match = LABELS.fullmatch(name)
    assert match is not None, name
    return Path(match["file"]).expanduser(), int(match["until"] or MAX_ID)


def _rows_of_labels(name: str, kind: str) -> Iterator[Row]:
    path, until = labels_named(name)
    labels = read_database(path, until)
    if not (labels.standing or labels.withdrawn):
        raise DataError(f"{path} holds no labels yet")
    if kind == "prompts":
        yield from _prompts_of_labels(path, labels)
        return
    if kind not in FORMS:
        held = f"it holds {', '.join(FORMS)} and prompts, and no {kind or 'other rows'}"
        raise FileError(f"{path} is a label database; {held}")
    done = export_rows(labels, FORMS[kind])
    if not done.rows:
        reasons = "; ".join(f"{count} left out: {reason}" for reason, count in done.left_out.most_common())
        raise DataError(f"{path} holds no {kind} yet ({reasons})")
    for number, row in done.rows:
        yield Row(f"{path}, label {number}", {name: value for name, value in row.items() if name not in MARKS})


def _prompts_of_labels(path: Path, labels: Labels) -> Iterator[Row]:
    """Each prompt that was judged, once, in the order of the labels."""
    numbers: dict[Prompt, int] = {}
    for one in labels.standing:
        if one.verdict != "skip":
            numbers.setdefault(one.prompt, one.id)
    if not numbers:
        raise DataError(f"{path} holds no prompts yet (no label in it judges anything)")
    for prompt, number in numbers.items():
        yield Row(f"{path}, label {number}", {"prompt": plain_prompt(prompt)})


def _mapped(row: Row, fields: FieldMap) -> Row:
    try:
        return Row(row.place, renamed(row.value, fields))
    except DataError as error:
        return Row(row.place, DataError(f"{row.place}: {error}"))


def _readable(name: str, kind: str) -> Path:
    """The path of a file of a type that can hold this kind of data. Raises: FileError."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise FileError(f"there is no file {path}")
    suffix = suffix_of(path)
    if suffix not in SUFFIXES or (suffix == ".txt" and kind not in CUTS):
        allowed = ", ".join(SUFFIXES if kind in CUTS else SUFFIXES[:-1])
        raise FileError(f"{path} is of a type that cannot be read here; use {allowed}, or one of them with .gz")
    return path


def _rows_of_file(path: Path, raw: bytes, kind: str) -> Iterator[Row]:
    suffix, content = suffix_of(path), _unpacked(path, raw)
    if suffix == ".parquet":
        for number, row in enumerate(parquet_rows(io.BytesIO(content), str(path)), start=1):
            yield Row(f"{path}, row {number}", row)
        return
    text = _decode(path, content)
    if suffix == ".jsonl":
        yield from _lines_of_json(path, text)
    elif suffix == ".json":
        yield from _list_of_json(path, text)
    elif suffix == ".csv":
        yield from _cells(path, text)
    else:
        yield from _plain(path, text, CUTS[kind])


def suffix_of(path: Path) -> str:
    """What a file's name says that it holds, compressed or not: ".csv" for "data.csv.gz"."""
    return Path(path.stem).suffix if path.suffix == COMPRESSED else path.suffix


def _read(path: Path) -> bytes:
    """The bytes of a file as they are on disk."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error


def _unpacked(path: Path, raw: bytes) -> bytes:
    """The bytes of a file, decompressed where its name ends in .gz."""
    if path.suffix != COMPRESSED:
        return raw
    try:
        with gzip.open(io.BytesIO(raw)) as file:
            content = file.read(MOST_UNPACKED + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileError(f"cannot unpack {path}: {error}") from error
    if len(content) > MOST_UNPACKED:
        raise FileError(f"{path} holds more than {MOST_UNPACKED / 2**30:.0f} GiB; unpack it and give its parts")
    return content


def _decode(path: Path, raw: bytes) -> str:
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
        kind = "an object" if isinstance(rows, dict) else type(rows).__name__
        raise DataError(
            f"{path}: expected a list of rows, [{{...}}, ...], and found {kind}; a list inside it cannot be used"
        )
    for number, row in enumerate(rows, start=1):
        yield Row(f"{path}, row {number}", row)


def _cells(path: Path, text: str) -> Iterator[Row]:
    """Rows of a .csv file by the names in its first line; a cell that is not there is a field that is not there, and a
    column without a name, such as an index, is not read."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = reader.fieldnames
        if names is None or not any(name.strip() for name in names):
            raise DataError(f"{path}, line 1: expected the names of the columns")
        if len(set(names)) < len(names):
            raise DataError(f"{path}, line 1: each column needs a name of its own, and the names are {names}")
        line = reader.line_num + 1
        for cells in reader:
            yield _row_of_cells(f"{path}, line {line}", cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: this is not CSV: {error}") from error


def _row_of_cells(place: str, cells: dict[Any, Any]) -> Row:
    if None in cells:
        return Row(place, DataError(f"{place}: {len(cells[None])} cells more than there are columns"))
    value = {name: cell for name, cell in cells.items() if cell is not None and name.strip()}
    for name, cell in tuple(value.items()):
        column = name in JSON_COLUMNS
        if column and not cell.strip():
            del value[name]
        if not (column or cell.startswith("[{")) or name not in value:
            continue
        parsed = json_row(place, cell).value
        if not isinstance(parsed, DataError):
            value[name] = parsed
        elif column:
            return Row(place, DataError(f"{place}: {name} must be JSON in a .csv file and is {cell[:60]!r}"))
    return Row(place, value)


def _plain(path: Path, text: str, plain: str) -> Iterator[Row]:
    unified = text.replace("\r\n", "\n")
    number = 1
    for part in unified.split("\n\n" if plain == "paragraphs" else "\n"):
        if part.strip():
            yield Row(f"{path}, line {number}", part.strip("\n"))
        number += part.count("\n") + (2 if plain == "paragraphs" else 1)


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)
