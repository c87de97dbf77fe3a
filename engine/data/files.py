"""Reads files, datasets and label databases as raw rows, each with its place for error messages.

Files are .jsonl, .json, .csv, .parquet and .txt, each also compressed as .gz. datasets.py loads datasets,
labels/export.py converts labels; readers.py parses the rows.
"""

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.core.errors import ConfigError, DataError, FileError, did_you_mean
from engine.data.datasets import dataset_rows, is_dataset, parquet_rows, rows_hash
from engine.data.labels.export import MARKS, export_rows
from engine.data.labels.store import MAX_ID, Labels, read_database
from engine.data.records import Prompt, plain_prompt

FIELDS = (
    "prompt",
    "completion",
    "messages",
    "instruction",
    "input",
    "output",
    "chosen",
    "rejected",
    "responses",
    "ranking",
    "margin",
    "text",
)
FieldMap = Mapping[str, str]
"""Our names to theirs; dots separate nested names, and an empty name ignores the field."""


def parse_map(typed: Iterable[str]) -> dict[str, str]:
    """The map of typed pairs. Raises: ConfigError for a malformed pair or an unknown field."""
    found = {}
    for pair in (part.strip() for text in typed for part in text.split(",")):
        ours, mark, theirs = pair.partition("=")
        if not mark:
            raise ConfigError(f"--map {pair!r}: expected OURS=THEIRS, such as prompt=question")
        if ours not in FIELDS:
            raise ConfigError(f"--map {pair}: unknown field {ours!r}{did_you_mean(ours, FIELDS)} ({', '.join(FIELDS)})")
        found[ours] = theirs
    return found


def map_text(fields: FieldMap) -> str:
    """The map as text, which `parse_map` reads."""
    return ",".join(f"{ours}={theirs}" for ours, theirs in fields.items())


def apply_map(row: Any, fields: FieldMap) -> Any:
    """A row with our field names in place of theirs; other values are unchanged.

    Raises: DataError for a field that the row does not have.
    """
    if not isinstance(row, dict):
        return row
    theirs = {path if path in row else path.split(".")[0] for path in fields.values()}
    table = {name: value for name, value in row.items() if name not in fields and name not in theirs}
    return table | {ours: _value_at(row, ours, path) for ours, path in fields.items() if path}


def _value_at(row: Mapping[str, Any], ours: str, path: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            names = ", ".join(sorted(map(str, row)))
            raise DataError(f'field "{path}" of --map {ours}={path} is missing (found: {names})')
    return value


SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".txt")
COMPRESSED = ".gz"
LABELS = re.compile(r"(?P<file>.+\.(db|sqlite))(@(?P<until>\d{1,18}))?", re.DOTALL)
FORMS = {"comparisons": "rankings", "demonstrations": "sft"}
"""The export format of a label database for a kind of data."""
CUTS = {"prompts": "lines", "text": "paragraphs"}
"""How a .txt file is split, for the kinds of data that it can contain."""
JSON_COLUMNS = ("messages", "responses", "ranking", "margin")
"""Columns of a .csv file that contain JSON; in other columns, cells that start with "[{" are message lists."""
LONGEST_CELL = 2**31 - 1  # the default of csv is 128 kB
MOST_UNPACKED = 4 * 2**30  # bytes; a small compressed file can expand to more than any memory


@dataclass(frozen=True)
class Source:
    """A file, dataset folder or hub dataset, as typed, and its field map.

    FILE.db@N is a label database up to its row N.
    """

    name: str
    fields: FieldMap = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class RawRow:
    """One raw row; `place` reads like "data.jsonl, line 3".

    `value` is any JSON value, a string for a .txt file, or the error of a line that is not JSON.
    """

    place: str
    value: Any


def read_rows(source: Path | Source, kind: str) -> Iterator[RawRow]:
    """The rows of a source, read as this kind of data ("" for a format to be converted).

    Raises: FileError if it is missing or of an unsupported type; DataError if its content does not match its type.
    """
    given = source if isinstance(source, Source) else Source(str(source))
    rows: Iterator[RawRow]
    if is_dataset(given.name):
        rows = _rows_of_dataset(given.name)
    elif is_labels(given.name):
        rows = _rows_of_labels(given.name, kind)
    else:
        path = _readable(given.name, kind)
        rows = _rows_of_file(path, _read(path), kind)
    return (_mapped(row, given.fields) for row in rows) if given.fields else rows


def read_hashed(source: Source, kind: str) -> tuple[list[RawRow], str]:
    """The rows of a source and the SHA-256 of the file, or of the rows of a dataset or label database.

    Raises: see `read_rows`.
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


def _rows_of_dataset(name: str) -> Iterator[RawRow]:
    for number, row in enumerate(dataset_rows(name), start=1):
        yield RawRow(f"{name}, row {number}", row)


def is_plain_text(source: Source) -> bool:
    """Whether a source is a text file, compressed or not."""
    return not is_dataset(source.name) and suffix_of(Path(source.name)) == ".txt"


def is_labels(name: str) -> bool:
    """Whether a name is a label database."""
    return not is_dataset(name) and LABELS.fullmatch(name) is not None


def labels_named(name: str) -> tuple[Path, int]:
    """The file of a label database, and the number of the last row to read."""
    match = LABELS.fullmatch(name)
    assert match is not None, name
    return Path(match["file"]).expanduser(), int(match["until"] or MAX_ID)


def _rows_of_labels(name: str, kind: str) -> Iterator[RawRow]:
    path, until = labels_named(name)
    labels = read_database(path, until)
    if not (labels.standing or labels.withdrawn):
        raise DataError(f"{path} has no labels yet")
    if kind == "prompts":
        yield from _prompts_of_labels(path, labels)
        return
    if kind not in FORMS:
        raise FileError(f"{path} is a label database; use it for {', '.join(FORMS)} or prompts")
    done = export_rows(labels, FORMS[kind])
    if not done.rows:
        reasons = "; ".join(f"skipped {count}: {reason}" for reason, count in done.left_out.most_common())
        raise DataError(f"{path} has no {kind} yet ({reasons})")
    for number, row in done.rows:
        yield RawRow(f"{path}, label {number}", {name: value for name, value in row.items() if name not in MARKS})


def _prompts_of_labels(path: Path, labels: Labels) -> Iterator[RawRow]:
    """Each labeled prompt once, in the order of the labels."""
    numbers: dict[Prompt, int] = {}
    for one in labels.standing:
        if one.verdict != "skip":
            numbers.setdefault(one.prompt, one.id)
    if not numbers:
        raise DataError(f"{path} has no prompts yet (every label is a skip)")
    for prompt, number in numbers.items():
        yield RawRow(f"{path}, label {number}", {"prompt": plain_prompt(prompt)})


def _mapped(row: RawRow, fields: FieldMap) -> RawRow:
    try:
        return RawRow(row.place, apply_map(row.value, fields))
    except DataError as error:
        return RawRow(row.place, DataError(f"{row.place}: {error}"))


def _readable(name: str, kind: str) -> Path:
    """The path of a file. Raises: FileError if it is missing or its type cannot contain this kind of data."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise FileError(f"file {path} not found")
    suffix = suffix_of(path)
    if suffix not in SUFFIXES or (suffix == ".txt" and kind not in CUTS):
        allowed = ", ".join(SUFFIXES if kind in CUTS else SUFFIXES[:-1])
        raise FileError(f"{path} has an unsupported type; use {allowed}, optionally with .gz")
    return path


def _rows_of_file(path: Path, raw: bytes, kind: str) -> Iterator[RawRow]:
    suffix, content = suffix_of(path), _unpacked(path, raw)
    if suffix == ".parquet":
        for number, row in enumerate(parquet_rows(io.BytesIO(content), str(path)), start=1):
            yield RawRow(f"{path}, row {number}", row)
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
    """The suffix of a file without .gz: ".csv" for "data.csv.gz"."""
    return Path(path.stem).suffix if path.suffix == COMPRESSED else path.suffix


def _read(path: Path) -> bytes:
    """The bytes of a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error


def _unpacked(path: Path, raw: bytes) -> bytes:
    """The bytes of a file, decompressed if its name ends in .gz."""
    if path.suffix != COMPRESSED:
        return raw
    try:
        with gzip.open(io.BytesIO(raw)) as file:
            content = file.read(MOST_UNPACKED + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileError(f"cannot decompress {path}: {error}") from error
    if len(content) > MOST_UNPACKED:
        raise FileError(f"{path} decompresses to more than {MOST_UNPACKED / 2**30:.0f} GiB; split the file")
    return content


def _decode(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: not valid UTF-8 (byte 0x{raw[error.start]:02x})") from error


def _lines_of_json(path: Path, text: str) -> Iterator[RawRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield json_row(f"{path}, line {number}", line)


def json_row(place: str, line: str) -> RawRow:
    """The row of one line; its value is a DataError if the line is not valid JSON."""
    try:
        return RawRow(place, json.loads(line))
    except (ValueError, RecursionError) as error:
        return RawRow(place, DataError(f"{place}: not valid JSON: {_reason(error)}"))


def _list_of_json(path: Path, text: str) -> Iterator[RawRow]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; rename the file to .jsonl if it has one object per line" if error.msg == "Extra data" else ""
        raise DataError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {_reason(error)}") from error
    if not isinstance(rows, list):
        kind = "an object" if isinstance(rows, dict) else type(rows).__name__
        raise DataError(f"{path}: expected a list of rows, [{{...}}, ...], got {kind}")
    for number, row in enumerate(rows, start=1):
        yield RawRow(f"{path}, row {number}", row)


def _cells(path: Path, text: str) -> Iterator[RawRow]:
    """Rows of a .csv file by the column names in its first line; missing cells are missing fields, and columns without
    a name, such as an index, are ignored."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = reader.fieldnames
        if names is None or not any(name.strip() for name in names):
            raise DataError(f"{path}, line 1: expected column names")
        if len(set(names)) < len(names):
            raise DataError(f"{path}, line 1: column names must be unique, got {names}")
        line = reader.line_num + 1
        for cells in reader:
            yield _row_of_cells(f"{path}, line {line}", cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from error


def _row_of_cells(place: str, cells: dict[Any, Any]) -> RawRow:
    if None in cells:
        return RawRow(place, DataError(f"{place}: {len(cells[None])} more cells than columns"))
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
            return RawRow(place, DataError(f"{place}: {name} must be JSON in a .csv file, got {cell[:60]!r}"))
    return RawRow(place, value)


def _plain(path: Path, text: str, plain: str) -> Iterator[RawRow]:
    unified = text.replace("\r\n", "\n")
    number = 1
    for part in unified.split("\n\n" if plain == "paragraphs" else "\n"):
        if part.strip():
            yield RawRow(f"{path}, line {number}", part.strip("\n"))
        number += part.count("\n") + (2 if plain == "paragraphs" else 1)


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)
