"""The label database: every judgement that people made on a screen, one row each, in SQLite.

A judgement that `add` returned for is on the disk (WAL, synchronous=FULL). Rows are never changed or deleted: taking a
judgement back adds a row that withdraws it. Several processes may write one file at once. What judgements say about
each other is agreement.py's job, other formats are exports.py's.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from engine.errors import FileError
from engine.records import Message, Prompt

SCHEMA = 1
BUSY_S = 30.0  # how long a write waits for another labeler's
VERDICTS = ("choice", "ranking", "tie", "both_bad", "skip", "edit")
WITHDRAWN = "withdrawn"
TABLE = f"""
CREATE TABLE judgements (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    annotator TEXT NOT NULL,
    prompt TEXT NOT NULL,
    candidates TEXT NOT NULL,
    shown TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ({", ".join(f"'{name}'" for name in (*VERDICTS, WITHDRAWN))})),
    ranks TEXT,
    strength INTEGER NOT NULL,
    note TEXT NOT NULL,
    edited TEXT,
    flagged INTEGER NOT NULL,
    seconds REAL NOT NULL,
    selection TEXT NOT NULL,
    repeats INTEGER REFERENCES judgements (id),
    withdraws INTEGER REFERENCES judgements (id)
) STRICT;
CREATE INDEX withdrawals ON judgements (withdraws) WHERE withdraws IS NOT NULL;
CREATE TRIGGER never_changed BEFORE UPDATE ON judgements BEGIN SELECT RAISE (ABORT, 'judgements never change'); END;
CREATE TRIGGER never_deleted BEFORE DELETE ON judgements BEGIN SELECT RAISE (ABORT, 'judgements stay'); END;
PRAGMA user_version = {SCHEMA};
"""


@dataclass(frozen=True)
class Candidate:
    """One response that was judged, with what it takes to draw it again.

    `model` is the reference as a person typed it, `checkpoint` the hash of the directory, `sampling` the settings by
    name, `score` what a reward model thought of it, None where none was asked.
    """

    text: str
    model: str = ""
    checkpoint: str = ""
    seed: int = 0
    sampling: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    finished: bool = True
    score: float | None = None


@dataclass(frozen=True)
class Judgement:
    """One row.

    `shown` names the candidates in the order in which they stood on the screen. `ranks` has one number a candidate, 0
    the best and equal numbers a tie; None for skip and edit. `strength` is 2 where the better one is much better, else
    1. `selection` is how the pair was chosen, such as random or uncertainty; `repeats` the judgement of which this is
    the same pair again. `id` and `at` (unix seconds) are set by the store.
    """

    annotator: str
    prompt: Prompt
    candidates: tuple[Candidate, ...]
    verdict: str
    ranks: tuple[int, ...] | None = None
    shown: tuple[int, ...] = ()
    strength: int = 1
    note: str = ""
    edited: str | None = None
    flagged: bool = False
    seconds: float = 0.0
    selection: str = "random"
    repeats: int | None = None
    id: int = 0
    at: float = 0.0

    def __post_init__(self) -> None:
        assert self.verdict in VERDICTS, self.verdict
        assert self.ranks is None or len(self.ranks) == len(self.candidates), (self.ranks, len(self.candidates))
        assert sorted(self.shown or range(len(self.candidates))) == list(range(len(self.candidates))), self.shown


class LabelStore:
    """A label database, made where there is none; usable from several threads."""

    def __init__(self, path: Path) -> None:
        """Raises: FileError where the file cannot be opened, is no label database or one of a later version."""
        self.path = path
        self._guard = threading.Lock()
        with self._said():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(path)
            self._make_or_check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the file back."""
        with self._guard:
            self._connection.close()

    def add(self, judgement: Judgement) -> int:
        """The number of a new row, once it is on the disk. Raises: FileError where it cannot be written."""
        row = _row_of(judgement) | {"at": time.time(), "withdraws": None}
        return self._insert(row)

    def withdraw(self, number: int, annotator: str) -> int:
        """The number of the row that takes judgement `number` back. Raises: FileError."""
        nothing = Judgement(annotator, "", (), "skip")
        row = _row_of(nothing) | {"at": time.time(), "withdraws": number, "verdict": WITHDRAWN}
        return self._insert(row)

    def standing(self, annotator: str | None = None, after: int = 0) -> list[Judgement]:
        """The judgements that nobody took back, oldest first, of one annotator or of all; those above number `after`.

        Raises: FileError where the file is damaged.
        """
        query = (
            "SELECT * FROM judgements WHERE withdraws IS NULL AND id > ? AND (? IS NULL OR annotator = ?) AND id NOT IN"
            " (SELECT withdraws FROM judgements WHERE withdraws IS NOT NULL) ORDER BY id"
        )
        with self._said(), self._guard:
            return [_judgement_of(row) for row in self._connection.execute(query, (after, annotator, annotator))]

    def _insert(self, row: Mapping[str, Any]) -> int:
        names = ", ".join(row)
        marks = ", ".join("?" for _ in row)
        with self._said(), self._guard:
            cursor = self._connection.execute(f"INSERT INTO judgements ({names}) VALUES ({marks})", tuple(row.values()))
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def _make_or_check(self) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")  # two labelers may open a new file at the same moment
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if version == 0 and not tables:
                for statement in TABLE.split(";\n"):
                    connection.execute(statement)
            elif "judgements" not in tables:
                raise FileError(f"{self.path} is a database of something else; labels need a file of their own")
            elif version != SCHEMA:
                raise FileError(f"{self.path} has schema {version}; this slmctl reads schema {SCHEMA}")
        except BaseException:
            connection.execute("ROLLBACK")
            connection.close()
            raise
        connection.execute("COMMIT")

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise FileError(f"the label database {self.path} cannot be used: {error}") from error


def read_labels(path: Path) -> list[Judgement]:
    """The judgements of a label database that nobody took back, oldest first; the file is not changed.

    Raises: FileError where it is missing, damaged or no label database.
    """
    if not path.is_file():
        raise FileError(f"there is no label database {path}")
    with closing(LabelStore(path)) as store:
        return store.standing()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _row_of(judgement: Judgement) -> dict[str, Any]:
    prompt = judgement.prompt
    return {
        "annotator": judgement.annotator,
        "prompt": _json(prompt if isinstance(prompt, str) else [asdict(turn) for turn in prompt]),
        "candidates": _json([asdict(candidate) for candidate in judgement.candidates]),
        "shown": _json(judgement.shown or range(len(judgement.candidates))),
        "verdict": judgement.verdict,
        "ranks": None if judgement.ranks is None else _json(judgement.ranks),
        "strength": judgement.strength,
        "note": judgement.note,
        "edited": judgement.edited,
        "flagged": int(judgement.flagged),
        "seconds": judgement.seconds,
        "selection": judgement.selection,
        "repeats": judgement.repeats,
    }


def _judgement_of(row: sqlite3.Row) -> Judgement:
    prompt = json.loads(row["prompt"])
    ranks = row["ranks"]
    return Judgement(
        annotator=row["annotator"],
        prompt=prompt if isinstance(prompt, str) else tuple(Message(**turn) for turn in prompt),
        candidates=tuple(Candidate(**candidate) for candidate in json.loads(row["candidates"])),
        verdict=row["verdict"],
        ranks=None if ranks is None else tuple(json.loads(ranks)),
        shown=tuple(json.loads(row["shown"])),
        strength=row["strength"],
        note=row["note"],
        edited=row["edited"],
        flagged=bool(row["flagged"]),
        seconds=row["seconds"],
        selection=row["selection"],
        repeats=row["repeats"],
        id=row["id"],
        at=row["at"],
    )


def _json(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, range) else value, ensure_ascii=True)
