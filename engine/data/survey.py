"""What can be said about a data file before training on it: bad rows, counts, lengths, duplicates, leakage.

What comparisons say about each other is judgements.py's job; whether rows fit a model needs its tokenizer, and is
fitting.py's.
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
from engine.data.contradictions import Judgements, compared
from engine.data.files import RawRow, Source, is_labels, is_plain_text, labels_named, read_rows
from engine.data.labels.store import read_database
from engine.data.readers import KINDS, Record, fields_of, is_labeled_bad, parse_row, parser_of
from engine.data.records import Demonstration, Prompt, Ranking, Text, prompt_key, prompt_text

TELLING = {
    "comparisons": ("chosen", "rejected", "responses", "ranking"),
    "demonstrations": ("completion", "output"),
    "conversations": ("messages",),
    "prompts": ("prompt", "instruction"),
    "text": ("text",),
}
"""Fields that tell what a row is, the most telling first."""
NEAR = 0.8  # how like such a field a name must be: a letter too few or too many


@dataclass(frozen=True)
class Lengths:
    """Shortest, middle and longest, in characters; all 0 where there is nothing."""

    shortest: int = 0
    middle: int = 0
    longest: int = 0


@dataclass(frozen=True)
class Shared:
    """A row whose prompt is in the other split too, with both places."""

    prompt: str
    places: tuple[str, str]


@dataclass(frozen=True)
class Report:
    """What was found in one file.

    `rows` counts all, `good` those that can be used, `empty` and `judged_bad` those left out; `duplicates` are good
    rows seen before, `repeated` are responses that another row gives to the same prompt, duplicates aside; `ties` are
    pairs without a preference; `shared` are good rows whose prompt is in the other split too, spaces and case aside;
    `unused` counts the rows with a field that nothing reads, by its name; `against_problems` are rows of the other
    split without a prompt that can be read.
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
    judgements: Judgements = field(default_factory=Judgements)
    shared: list[Shared] = field(default_factory=list)
    prompt_length: Lengths = Lengths()
    response_length: Lengths = Lengths()
    unused: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    against_problems: list[str] = field(default_factory=list)


@dataclass
class Sorted:
    """A file's rows: the good records with their places, a sentence for each bad row, and how many are left out."""

    records: list[Record] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    empty: int = 0
    judged_bad: int = 0
    unused: Counter[str] = field(default_factory=Counter)


class Watched(dict[str, Any]):
    """A row that knows which of its fields were read."""

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
        """The fields that nothing has read."""
        return set(self) - self.read


def check(source: Path | Source, kind: str, against: Source | None = None) -> Report:
    """A report on a source; `against` is another split, of whatever kind, to look for the same prompts in.

    Raises: FileError where a file cannot be read at all; ConfigError for an unknown kind.
    """
    found = sort_out(source, kind)
    places, against_problems = _prompts_in(against, kind) if against is not None else ({}, [])
    records = found.records
    pairs = [_pairs(record) for record in records]
    rankings = ((place, one) for place, one in zip(found.places, records, strict=True) if isinstance(one, Ranking))
    return Report(
        kind=kind,
        rows=len(records) + len(found.problems) + found.empty + found.judged_bad,
        good=len(records),
        empty=found.empty,
        judged_bad=found.judged_bad,
        duplicates=len(records) - len(set(records)),
        repeated=_repeated(dict.fromkeys(records)),
        pairs=sum(decided + tied for decided, tied in pairs),
        ties=sum(tied for _, tied in pairs),
        judgements=compared(rankings),
        shared=_shared(found, places),
        against_problems=against_problems,
        prompt_length=_lengths([len(prompt_text(_prompt(record))) for record in records]),
        response_length=_lengths([len(text) for record in records for text in _responses(record)]),
        unused=dict(sorted(found.unused.items(), key=lambda item: (-item[1], item[0]))),
        problems=found.problems,
    )


def guess_kind(source: Source) -> str:
    """The kind of data that the first readable row of a source has the fields of, a slip of the pen in one allowed.

    Raises: FileError, DataError where there is no such row; ConfigError where its fields are of no kind.
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
    for kind, telling in TELLING.items():
        if any(get_close_matches(name, telling, n=1, cutoff=NEAR) for name in names):
            return _kind_of_turns(table) if kind == "conversations" else kind
    found = ", ".join(map(str, table)) or "none"
    raise ConfigError(
        f"{row.place} has the fields {found}, which fit no kind of data: say which is which with --map, such as "
        f"--map prompt={next(iter(table), 'question')}, or name a --kind ({', '.join(KINDS)})"
    )


def _kind_of_turns(table: Mapping[str, Any]) -> str:
    turns = table.get("messages")
    last = turns[-1] if isinstance(turns, list) and turns else None
    return "prompts" if isinstance(last, dict) and last.get("role") == "user" else "demonstrations"


def sort_out(source: Path | Source, kind: str) -> Sorted:
    """The rows of a source, good and bad. Raises: FileError where it cannot be read; ConfigError for a wrong kind."""
    parse = parser_of(kind)
    found = Sorted()
    for row in read_rows(source, kind):
        table = {k: v for k, v in row.value.items() if v is not None} if isinstance(row.value, dict) else None
        watched = Watched(table) if table is not None else None
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
    """The prompts of a source of whatever kind, each with the place where it stands first, and a sentence for each row
    that has none; a field map holds for the rows that have its fields."""
    kinds = ("text",) if kind == "text" else ("comparisons", "demonstrations", "prompts")
    parsers, like = [parser_of(each) for each in kinds], "comparisons" if is_labels(source.name) else kinds[-1]
    places: dict[object, str] = {}
    problems: list[str] = []
    unmapped = read_rows(replace(source, fields={}), like)
    for row, raw in zip(read_rows(source, like), unmapped, strict=True):
        try:
            record = _read_somehow((raw, row), parsers)
        except DataError as error:
            problems.append(str(error))
            continue
        if record is not None:
            places.setdefault(prompt_key(_prompt(record)), row.place)
    return places, problems


def _read_somehow(rows: Sequence[RawRow], parsers: Sequence[Callable[[Any], Record | None]]) -> Record | None:
    """What the first of the parsers that can makes of the last of the rows, else of those before it.

    Raises: DataError as the last parser does for the last row.
    """
    for row in reversed(rows):
        for parse in parsers:
            with suppress(DataError):
                return parse_row(row, parse)
    return parse_row(rows[-1], parsers[-1])


def _shared(found: Sorted, places: Mapping[object, str]) -> list[Shared]:
    return [
        Shared(prompt_text(prompt), (place, places[key]))
        for record, place in zip(found.records, found.places, strict=True)
        if (key := prompt_key(prompt := _prompt(record))) in places
    ]


def _repeated(records: Iterable[Record]) -> int:
    """How many responses an earlier record gives to the same prompt."""
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
    """Pairs with a preference, and pairs that are ties."""
    if not isinstance(record, Ranking):
        return 0, 0
    count = len(record.ranks)
    decided = len(record.pairs())
    return decided, count * (count - 1) // 2 - decided


def _lengths(numbers: list[int]) -> Lengths:
    return Lengths(min(numbers), int(median(numbers)), max(numbers)) if numbers else Lengths()
