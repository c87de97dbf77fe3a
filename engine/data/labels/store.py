"""The label database: labels made in the terminal, one SQLite row each.

Once `add` returns, the label is on disk (WAL, synchronous=FULL). Labels are append-only: withdrawing one adds a row.
Several processes may write to one file at once. Statistics of labels are agreement.py's job, other formats
export.py's.
"""

import json
import math
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from engine.core.errors import DataError, FileError, WithdrawnError
from engine.data.labels.database import BUSY_S, COLUMNS, connect, initialize, open_read_only, sqlite_errors
from engine.data.records import Prompt, Ranking, plain_prompt

VERDICTS = ("choice", "ranking", "tie", "both_bad", "skip", "edit")
WITHDRAWN = "withdrawn"
IS_WITHDRAWN = "id IN (SELECT withdraws FROM labels WHERE withdraws IS NOT NULL AND id <= :until)"
IS_REPLACED = (  # the row before the withdrawal is the replacement, added in the same transaction
    "id IN (SELECT gone.withdraws FROM labels gone JOIN labels new ON new.id = gone.id - 1 "
    "JOIN labels old ON old.id = gone.withdraws WHERE new.withdraws IS NULL AND new.id <> old.id "
    "AND new.annotator = gone.annotator AND new.prompt = old.prompt AND new.candidates = old.candidates)"
)
MAX_ID = 2**63 - 1  # of an SQLite row


@dataclass(frozen=True)
class Candidate:
    """One response that was judged, with all that is needed to sample it again.

    `model` is the reference as typed, `checkpoint` the hash of its directory, `sampling` the settings by name, `score`
    the reward model's score, None without a reward model.
    """

    text: str
    model: str = ""
    checkpoint: str = ""
    seed: int = 0
    sampling: Mapping[str, int | float] = field(default_factory=dict)
    tokens: int = 0
    finished: bool = True
    score: float | None = None


@dataclass(frozen=True)
class Label:
    """What one annotator decided about the responses to one prompt: a row of the database.

    `shown` lists candidate indices in screen order. `ranks` has one number per candidate, 0 for the best, equal for a
    tie; None for skip and edit. `strength` is 2 for "much better", else 1. `selection` is how the pair was selected,
    such as random or uncertainty; `repeats` is the id of the label whose pair this repeats. The store sets `id` and
    `at` (unix seconds).
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
        assert self.prompt != (), "the prompt has no messages"
        assert self.verdict in VERDICTS, self.verdict
        assert self.ranks is None or len(self.ranks) == len(self.candidates), (self.ranks, len(self.candidates))
        assert sorted(self.shown or range(len(self.candidates))) == list(range(len(self.candidates))), self.shown

    @property
    def ranking(self) -> Ranking | None:
        """The ranking of the responses, None if the label has none."""
        if self.ranks is None or len(self.ranks) < 2:
            return None
        return Ranking(self.prompt, tuple(candidate.text for candidate in self.candidates), self.ranks)


LABEL = TypeAdapter(Label)


class LabelStore:
    """A label database, created if missing; usable from several threads."""

    def __init__(self, path: Path, busy_s: float = BUSY_S) -> None:
        """`busy_s` is how long a write waits for another process.

        Raises: FileError if the file cannot be opened, is no label database or has another schema; LockedError.
        """
        self.path = path
        self._guard = threading.Lock()
        with sqlite_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connect(path, "mode=rwc", busy_s)
            try:
                initialize(self._connection, path, busy_s)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        with self._guard:
            self._connection.close()

    def add(self, label: Label, instead_of: int | None = None) -> int:
        """The id of the new row, once it is on disk; label `instead_of` is withdrawn in the same transaction.

        Raises, and writes nothing: FileError if the disk fails; DataError for a lone surrogate, which is not text;
        LockedError if another process has the file locked; WithdrawnError if `instead_of` was withdrawn already.
        """
        with self._transaction():
            number = self._insert(label, {})
            if instead_of is not None:
                self._withdraw(instead_of, label.annotator)
        return number

    def withdraw(self, number: int, annotator: str) -> int:
        """The id of the row that withdraws label `number`. Raises: FileError, LockedError, WithdrawnError."""
        with self._transaction():
            return self._withdraw(number, annotator)

    def newest(self, annotator: str, before: int = MAX_ID) -> int:
        """The id of an annotator's last row with an id below `before`, 0 for none. Raises: FileError."""
        query = "SELECT max(id) FROM labels WHERE annotator = ? AND id < ?"
        with sqlite_errors(self.path), self._guard:
            return self._connection.execute(query, (annotator, before)).fetchone()[0] or 0

    def standing(self, annotator: str | None = None, after: int = 0) -> list[Label]:
        """Labels that were not withdrawn, with an id above `after`, oldest first; of one annotator or of all.

        Raises: FileError if the file is damaged.
        """
        wanted = f"NOT {IS_WITHDRAWN} AND id > :after AND (:annotator IS NULL OR annotator = :annotator)"
        with sqlite_errors(self.path), self._guard:
            return _select(self._connection, self.path, wanted, after=after, annotator=annotator, until=MAX_ID)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commits all writes of the block, or none."""
        with sqlite_errors(self.path), self._guard:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _withdraw(self, number: int, annotator: str) -> int:
        if self._connection.execute("SELECT 1 FROM labels WHERE withdraws = ?", (number,)).fetchone():
            raise WithdrawnError(f"label {number} was withdrawn already, in another window")
        nothing = Label(annotator, "", (), "skip")
        return self._insert(nothing, {"withdraws": number, "verdict": WITHDRAWN})

    def _insert(self, label: Label, changes: Mapping[str, Any]) -> int:
        try:
            row = {"at": time.time(), **_row_of(label), **changes}
            query = f"INSERT INTO labels ({', '.join(row)}) VALUES ({', '.join('?' for _ in row)})"
            number = self._connection.execute(query, tuple(row.values())).lastrowid
        except UnicodeEncodeError:
            raise DataError(f"{self.path}: a label contains a lone surrogate, which is not text") from None
        assert number is not None
        return number


@dataclass(frozen=True)
class Labels:
    """The labels of a database, oldest first: `standing` and `withdrawn`.

    A label that was replaced, as a choice is by a stronger one, is in neither. `newest` is the id of the last row, 0
    for none.
    """

    standing: list[Label]
    withdrawn: list[Label]
    newest: int = 0


def read_labels(path: Path) -> list[Label]:
    """Labels that were not withdrawn, oldest first. Raises: FileError as `read_database`."""
    return read_database(path).standing


def read_database(path: Path, until: int = MAX_ID) -> Labels:
    """The labels of a database up to row `until`: the same ones at any later time.

    The file does not change, and no file is left beside it. Raises: FileError if it is missing, damaged or no label
    database.
    """
    if not path.is_file():
        raise FileError(f"label database {path} not found")
    with open_read_only(path) as connection:
        newest = connection.execute("SELECT max(id) FROM labels WHERE id <= ?", (until,)).fetchone()[0] or 0
        wanted = (f"NOT {IS_WITHDRAWN}", f"{IS_WITHDRAWN} AND NOT {IS_REPLACED}")
        standing, withdrawn = (_select(connection, path, one, until=until) for one in wanted)
        return Labels(standing, withdrawn, newest)


def _select(connection: sqlite3.Connection, path: Path, wanted: str, **values: object) -> list[Label]:
    own = f"withdraws IS NULL AND id <= :until AND {wanted}"
    query = f"SELECT {', '.join(COLUMNS)} FROM labels WHERE {own} ORDER BY id"
    return [_label_of(row, path) for row in connection.execute(query, values)]


def _row_of(label: Label) -> dict[str, Any]:
    prompt, shown = label.prompt, label.shown or range(len(label.candidates))
    return {
        "annotator": label.annotator,
        "prompt": _json(plain_prompt(prompt)),
        "candidates": _json([_plain(candidate) for candidate in label.candidates]),
        "shown": _json(list(shown)),
        "verdict": label.verdict,
        "ranks": None if label.ranks is None else _json(label.ranks),
        "strength": label.strength,
        "note": label.note,
        "edited": label.edited,
        "flagged": int(label.flagged),
        "seconds": label.seconds,
        "selection": label.selection,
        "repeats": label.repeats,
    }


def _plain(candidate: Candidate) -> dict[str, Any]:
    score = candidate.score
    return asdict(candidate) | {"score": score if score is not None and math.isfinite(score) else None}


def _json(value: Any) -> str:
    """ASCII JSON. Raises: UnicodeEncodeError for a lone surrogate."""
    json.dumps(value, ensure_ascii=False).encode()
    return json.dumps(value)


def _label_of(row: sqlite3.Row, path: Path) -> Label:
    """The label of a row; unknown keys in its JSON are ignored. Raises: DataError."""
    try:
        content = {name: row[name] for name in COLUMNS if name != "withdraws"}
        for name in ("prompt", "candidates", "shown", "ranks"):
            content[name] = json.loads(row[name]) if name != "ranks" or row[name] is not None else None
        content["flagged"] = bool(row["flagged"])
        return LABEL.validate_json(json.dumps(content), strict=True)
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))} {first['msg']}"[:200]
        raise DataError(f"{path}, label {row['id']} is damaged: {reason}") from error
