"""Surveys a data file before training on it: bad rows, counts, lengths, duplicates, leakage between splits.

contradictions.py compares rankings with each other; model/fitting.py finds rows that are too long for a model.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from statistics import median
from typing import Any

from engine.core.errors import ConfigError, DataError
from engine.data.contradictions import Consistency, compare_rankings
from engine.data.files import RawRow, Source, is_labels, is_plain_text, labels_named, read_rows
from engine.data.labels.store import read_database
from engine.data.readers import KINDS, Record, fields_of, is_labeled_bad, parse_row, parser_of
from engine.data.records import Demonstration, Prompt, Ranking, Text, prompt_key, prompt_text

TELLTALE_FIELDS = {
    "comparisons": ("chosen", "rejected", "responses", "ranking"),
    "demonstrations": ("completion", "output"),
    "conversations": ("messages",),
    "prompts": ("prompt", "instruction"),
    "text": ("text",),
}
"""Fields that identify a kind of data, the most specific first."""
SIMILARITY = 0.8  # of a field name to one of these: allows one missing or extra letter


@dataclass(frozen=True)
class Lengths:
    """Shortest, median and longest in characters; all 0 if there are none."""

    shortest: int = 0
    middle: int = 0
    longest: int = 0


@dataclass(frozen=True)
class SharedPrompt:
    """A prompt that is also in the other split, with the places of both rows."""

    prompt: str
    places: tuple[str, str]


@dataclass(frozen=True)
class DataReport:
    """The survey of one file.

    `rows` counts all rows, `good` the usable ones, `empty` and `judged_bad` the skipped ones; `duplicates` repeat an
    earlier good row, `repeated` counts responses that another row gives to the same prompt, without duplicates; `ties`
    are pairs without a preference; `shared` are good rows whose prompt is also in the other split, ignoring spacing and
    case; `unused` counts rows with an unused field, by field; `against_problems` are errors in the other split.
    """

    kind: str
    rows: int = 0
    good: int = 0
    empty: int = 0
    judged_bad: int = 0
    duplicates: int = 0
    repeated: int = 0
    pairs: int = 0
    ties: int = 0
    consistency: Consistency = field(default_factory=Consistency)
    shared: list[SharedPrompt] = field(default_factory=list)
    prompt_length: Lengths = Lengths()
    response_length: Lengths = Lengths()
    unused: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    against_problems: list[str] = field(default_factory=list)


@dataclass
class SortedRows:
    """The rows of a file: good records with their places, an error for each bad row, and counts of skipped rows."""

    records: list[Record] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    empty: int = 0
    judged_bad: int = 0
    unused: Counter[str] = field(default_factory=Counter)


class ReadTracker(dict[str, Any]):
    """A row that records which of its fields were read."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__(row)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def unused(self) -> set[str]:
        """The fields that were not read."""
        return set(self) - self.read


def survey_source(source: Path | Source, kind: str, against: Source | None = None) -> DataReport:
    """A report on a source; `against` is another split of any kind, to find shared prompts.

    Raises: FileError if a file cannot be read; ConfigError for an unknown kind.
    """
    found = sort_rows(source, kind)
    places, against_problems = _prompts_in(against, kind) if against is not None else ({}, [])
    records = found.records
    pairs = [_pairs(record) for record in records]
    rankings = ((place, one) for place, one in zip(found.places, records, strict=True) if isinstance(one, Ranking))
    return DataReport(
        kind=kind,
        rows=len(records) + len(found.problems) + found.empty + found.judged_bad,
        good=len(records),
        empty=found.empty,
        judged_bad=found.judged_bad,
        duplicates=len(records) - len(set(records)),
        repeated=_repeated(dict.fromkeys(records)),
        pairs=sum(decided + tied for decided, tied in pairs),
        ties=sum(tied for _, tied in pairs),
        consistency=compare_rankings(rankings),
        shared=_shared(found, places),
        against_problems=against_problems,
        prompt_length=_lengths([len(prompt_text(_prompt(record))) for record in records]),
        response_length=_lengths([len(text) for record in records for text in _responses(record)]),
        unused=dict(sorted(found.unused.items(), key=lambda item: (-item[1], item[0]))),
        problems=found.problems,
    )


def guess_kind(source: Source) -> str:
    """The kind of data of a source, by the fields of its first readable row; allows a typo in a field name.

    Raises: FileError, DataError if there is no such row; ConfigError if its fields fit no kind.
    """
    if is_labels(source.name):
        ranked = any(one.ranking for one in read_database(*labels_named(source.name)).standing)
        return "comparisons" if ranked else "demonstrations"
    rows = list(read_rows(source, "prompts"))
    if not rows:
        raise DataError(f"{source} is empty")
    row = next((row for row in rows if not isinstance(row.value, DataError)), rows[0])
    if isinstance(row.value, DataError):
        raise row.value
    if isinstance(row.value, str):
        return "prompts" if is_plain_text(source) else "text"
    table = parse_row(row, fields_of)
    names = [str(name).strip().lower() for name in table]
    for kind, telling in TELLTALE_FIELDS.items():
        if any(get_close_matches(name, telling, n=1, cutoff=SIMILARITY) for name in names):
            return _kind_of_turns(table) if kind == "conversations" else kind
    found = ", ".join(map(str, table)) or "none"
    raise ConfigError(
        f"{row.place}: the fields {found} match no kind of data; rename them, such as "
        f"--map prompt={next(iter(table), 'question')}, or pass --kind ({', '.join(KINDS)})"
    )


def _kind_of_turns(table: Mapping[str, Any]) -> str:
    turns = table.get("messages")
    last = turns[-1] if isinstance(turns, list) and turns else None
    return "prompts" if isinstance(last, dict) and last.get("role") == "user" else "demonstrations"


def sort_rows(source: Path | Source, kind: str) -> SortedRows:
    """The rows of a source, good and bad. Raises: FileError; ConfigError for an unknown kind."""
    parse = parser_of(kind)
    found = SortedRows()
    for row in read_rows(source, kind):
        table = {k: v for k, v in row.value.items() if v is not None} if isinstance(row.value, dict) else None
        watched = ReadTracker(table) if table is not None else None
        try:
            record = parse_row(row if watched is None else RawRow(row.place, watched), parse)
        except DataError as error:
            found.problems.append(str(error))
            continue
        judged_bad = is_labeled_bad(watched, kind)
        found.unused.update(watched.unused() if watched is not None else ())
        if record is None:
            found.empty += 1
        elif judged_bad:
            found.judged_bad += 1
        else:
            found.records.append(record)
            found.places.append(row.place)
    return found


def _prompts_in(source: Source, kind: str) -> tuple[dict[object, str], list[str]]:
    """The prompts of a source of any kind, each with its first place, and an error for each row without one.

    A field map applies only to rows that have its fields.
    """
    kinds = ("text",) if kind == "text" else ("comparisons", "demonstrations", "prompts")
    parsers, like = [parser_of(each) for each in kinds], "comparisons" if is_labels(source.name) else kinds[-1]
    places: dict[object, str] = {}
    problems: list[str] = []
    unmapped = read_rows(replace(source, fields={}), like)
    for row, raw in zip(read_rows(source, like), unmapped, strict=True):
        try:
            record = _first_record((raw, row), parsers)
        except DataError as error:
            problems.append(str(error))
            continue
        if record is not None:
            places.setdefault(prompt_key(_prompt(record)), row.place)
    return places, problems


def _first_record(rows: Sequence[RawRow], parsers: Sequence[Callable[[Any], Record | None]]) -> Record | None:
    """The record of the last of `rows`, else of an earlier one, by the first of the parsers that accepts it.

    Raises: DataError of the last parser for the last row.
    """
    for row in reversed(rows):
        for parse in parsers:
            with suppress(DataError):
                return parse_row(row, parse)
    return parse_row(rows[-1], parsers[-1])


def _shared(found: SortedRows, places: Mapping[object, str]) -> list[SharedPrompt]:
    return [
        SharedPrompt(prompt_text(prompt), (place, places[key]))
        for record, place in zip(found.records, found.places, strict=True)
        if (key := prompt_key(prompt := _prompt(record))) in places
    ]


def _repeated(records: Iterable[Record]) -> int:
    """The number of responses that an earlier record also gives to the same prompt."""
    seen: set[object] = set()
    count = 0
    for record in records:
        own = {(prompt_key(_prompt(record)), text.strip()) for text in _responses(record)}
        count += len(own & seen)
        seen |= own
    return count


def _prompt(record: Record) -> Prompt:
    return record.text if isinstance(record, Text) else record.prompt


def _responses(record: Record) -> tuple[str, ...]:
    if isinstance(record, Demonstration):
        return (record.response,)
    return record.responses if isinstance(record, Ranking) else ()


def _pairs(record: Record) -> tuple[int, int]:
    """The number of pairs with a preference, and of ties."""
    if not isinstance(record, Ranking):
        return 0, 0
    count = len(record.ranks)
    decided = len(record.pairs())
    return decided, count * (count - 1) // 2 - decided


def _lengths(numbers: list[int]) -> Lengths:
    return Lengths(min(numbers), int(median(numbers)), max(numbers)) if numbers else Lengths()
