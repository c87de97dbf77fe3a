"""What can be said about a data file before training on it: bad rows, counts, lengths, duplicates, leakage."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from engine.errors import DataError
from engine.readers import Record, parser, placed
from engine.records import Demonstration, Prompt, Ranking, Text, prompt_text
from engine.rows import Source, read_rows


@dataclass(frozen=True)
class Lengths:
    """Shortest, middle and longest, in characters; all 0 where there is nothing."""

    shortest: int = 0
    middle: int = 0
    longest: int = 0


@dataclass(frozen=True)
class Report:
    """What was found in one file.

    `rows` counts all, `good` those that can be used, `empty` those left out; `duplicates` are good rows seen before,
    `ties` are pairs without a preference, `shared_prompts` are good rows whose prompt is in the other split too.
    """

    kind: str
    rows: int = 0
    good: int = 0
    empty: int = 0
    duplicates: int = 0
    pairs: int = 0
    ties: int = 0
    shared_prompts: int = 0
    prompt_length: Lengths = Lengths()
    response_length: Lengths = Lengths()
    problems: list[str] = field(default_factory=list)


def check(source: Path | Source, kind: str, against: Path | Source | None = None) -> Report:
    """A report on a source; `against` is another split to look for the same prompts in.

    Raises: FileError where a file cannot be read at all; ConfigError for an unknown kind.
    """
    records, problems, empty = _sort_out(source, kind)
    other = set() if against is None else {_prompt(record) for record in _sort_out(against, kind)[0]}
    pairs = [_pairs(record) for record in records]
    return Report(
        kind=kind,
        rows=len(records) + len(problems) + empty,
        good=len(records),
        empty=empty,
        duplicates=sum(count - 1 for count in Counter(records).values()),
        pairs=sum(decided + tied for decided, tied in pairs),
        ties=sum(tied for _, tied in pairs),
        shared_prompts=sum(_prompt(record) in other for record in records),
        prompt_length=_lengths([len(prompt_text(_prompt(record))) for record in records]),
        response_length=_lengths([len(text) for record in records for text in _responses(record)]),
        problems=problems,
    )


def _sort_out(source: Path | Source, kind: str) -> tuple[list[Record], list[str], int]:
    """The good records, a sentence for each bad row, and the number of empty ones."""
    parse, plain = parser(kind)
    records: list[Record] = []
    problems: list[str] = []
    empty = 0
    for row in read_rows(source, plain):
        try:
            record = placed(row, parse)
        except DataError as error:
            problems.append(str(error))
            continue
        if record is None:
            empty += 1
        else:
            records.append(record)
    return records, problems, empty


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
