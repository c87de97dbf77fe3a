"""The label database: every judgement that people made on a screen, one row each, in SQLite.

A judgement that `add` returned for is on the disk (WAL, synchronous=FULL). Rows are never changed or deleted: taking a
judgement back adds a row that withdraws it. Several processes may write one file at once. What judgements say about
each other is agreement.py's job, other formats are exports.py's.
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
from types import NoneType
from typing import Any, Self

from engine.core.errors import DataError, FileError, WithdrawnError
from engine.data.labels.database import BUSY_S, COLUMNS, connect, make_or_check, reading, said
from engine.data.records import Message, Prompt, Ranking, plain_prompt

VERDICTS = ("choice", "ranking", "tie", "both_bad", "skip", "edit")
WITHDRAWN = "withdrawn"
Kinds = type | tuple[type, ...]
NUMBER = (int, float)
KINDS: Mapping[str, Kinds] = {
    "id": int,
    "at": NUMBER,
    "annotator": str,
    "verdict": str,
    "strength": int,
    "note": str,
    "edited": (str, NoneType),
    "flagged": int,
    "seconds": NUMBER,
    "selection": str,
    "repeats": (int, NoneType),
}
"""What the plain columns of a row must hold; the others are JSON."""
CANDIDATE: Mapping[str, Kinds] = {
    "text": str,
    "model": str,
    "checkpoint": str,
    "seed": int,
    "sampling": dict,
    "tokens": int,
    "finished": bool,
    "score": (*NUMBER, NoneType),
}
TAKEN_BACK = "id IN (SELECT withdraws FROM judgements WHERE withdraws IS NOT NULL AND id <= :until)"
REPLACED = (  # by the row before the one that withdraws them, which the same stroke added
    "id IN (SELECT gone.withdraws FROM judgements gone JOIN judgements new ON new.id = gone.id - 1 "
    "JOIN judgements old ON old.id = gone.withdraws WHERE new.withdraws IS NULL AND new.id <> old.id "
    "AND new.annotator = gone.annotator AND new.prompt = old.prompt AND new.candidates = old.candidates)"
)
EVER = 2**63 - 1  # the highest number that a row can have


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

    @property
    def ranking(self) -> Ranking | None:
        """What it says of its responses, None where it ranks none."""
        if self.ranks is None or len(self.ranks) < 2:
            return None
        return Ranking(self.prompt, tuple(candidate.text for candidate in self.candidates), self.ranks)


class LabelStore:
    """A label database, made where there is none; usable from several threads."""

    def __init__(self, path: Path, busy_s: float = BUSY_S) -> None:
        """`busy_s` is how long a write waits for another process.

        Raises: FileError where the file cannot be opened, is no label database or one of a later version; LockedError.
        """
        self.path = path
        self._guard = threading.Lock()
        with said(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connect(path, "mode=rwc", busy_s)
            try:
                make_or_check(self._connection, path, busy_s)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the file back."""
        with self._guard:
            self._connection.close()

    def add(self, judgement: Judgement, instead_of: int | None = None) -> int:
        """The number of a new row, once it is on the disk; judgement `instead_of` is taken back by the same stroke.

        Raises: FileError where it cannot be written, or holds half of a surrogate pair, which is not text; LockedError
        where another process holds the file; WithdrawnError where `instead_of` stands no longer. Nothing is written
        then.
        """
        with self._transaction():
            number = self._insert(judgement, {})
            if instead_of is not None:
                self._withdraw(instead_of, judgement.annotator)
        return number

    def withdraw(self, number: int, annotator: str) -> int:
        """The number of the row that takes judgement `number` back. Raises: FileError, LockedError, WithdrawnError."""
        with self._transaction():
            return self._withdraw(number, annotator)

    def newest(self, annotator: str, before: int = EVER) -> int:
        """The number of an annotator's last row of those before a number, 0 for none. Raises: FileError."""
        query = "SELECT max(id) FROM judgements WHERE annotator = ? AND id < ?"
        with said(self.path), self._guard:
            return self._connection.execute(query, (annotator, before)).fetchone()[0] or 0

    def standing(self, annotator: str | None = None, after: int = 0) -> list[Judgement]:
        """The judgements that nobody took back, oldest first, of one annotator or of all; those above number `after`.

        Raises: FileError where the file is damaged.
        """
        wanted = f"NOT {TAKEN_BACK} AND id > :after AND (:annotator IS NULL OR annotator = :annotator)"
        with said(self.path), self._guard:
            return _select(self._connection, self.path, wanted, after=after, annotator=annotator, until=EVER)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that is written inside, or nothing."""
        with said(self.path), self._guard:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _withdraw(self, number: int, annotator: str) -> int:
        if self._connection.execute("SELECT 1 FROM judgements WHERE withdraws = ?", (number,)).fetchone():
            raise WithdrawnError(f"label {number} was taken back already, in another window")
        nothing = Judgement(annotator, "", (), "skip")
        return self._insert(nothing, {"withdraws": number, "verdict": WITHDRAWN})

    def _insert(self, judgement: Judgement, changes: Mapping[str, Any]) -> int:
        try:
            row = {"at": time.time(), **_row_of(judgement), **changes}
            query = f"INSERT INTO judgements ({', '.join(row)}) VALUES ({', '.join('?' for _ in row)})"
            number = self._connection.execute(query, tuple(row.values())).lastrowid
        except UnicodeEncodeError:
            raise DataError(f"{self.path}: a label may not hold half of a surrogate pair, which is not text") from None
        assert number is not None
        return number


@dataclass(frozen=True)
class Labels:
    """The judgements of a label database: those that stand, and those that were taken back, oldest first.

    What another took the place of, as a stronger choice does of the first, is in neither. `newest` is the number of the
    last row, 0 where there is none.
    """

    standing: list[Judgement]
    withdrawn: list[Judgement]
    newest: int = 0


def read_labels(path: Path) -> list[Judgement]:
    """The judgements of a label database that nobody took back, oldest first. Raises: FileError as `read_database`."""
    return read_database(path).standing


def read_database(path: Path, until: int = EVER) -> Labels:
    """What a label database holds, or held when `until` was its last row, which never changes.

    The file is not changed, and nothing is left beside it.

    Raises: FileError where it is missing, damaged or no label database.
    """
    if not path.is_file():
        raise FileError(f"there is no label database {path}")
    with reading(path) as connection:
        newest = connection.execute("SELECT max(id) FROM judgements WHERE id <= ?", (until,)).fetchone()[0] or 0
        wanted = (f"NOT {TAKEN_BACK}", f"{TAKEN_BACK} AND NOT {REPLACED}")
        standing, withdrawn = (_select(connection, path, one, until=until) for one in wanted)
        return Labels(standing, withdrawn, newest)


def _select(connection: sqlite3.Connection, path: Path, wanted: str, **values: object) -> list[Judgement]:
    own = f"withdraws IS NULL AND id <= :until AND {wanted}"
    query = f"SELECT {', '.join(COLUMNS)} FROM judgements WHERE {own} ORDER BY id"
    return [_judgement_of(row, path) for row in connection.execute(query, values)]


def _row_of(judgement: Judgement) -> dict[str, Any]:
    prompt, shown = judgement.prompt, judgement.shown or range(len(judgement.candidates))
    return {
        "annotator": judgement.annotator,
        "prompt": _json(plain_prompt(prompt)),
        "candidates": _json([_plain(candidate) for candidate in judgement.candidates]),
        "shown": _json(list(shown)),
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


def _plain(candidate: Candidate) -> dict[str, Any]:
    score = candidate.score
    return asdict(candidate) | {"score": score if score is not None and math.isfinite(score) else None}


def _json(value: Any) -> str:
    """JSON of ASCII alone. Raises: UnicodeEncodeError where text holds half of a surrogate pair."""
    json.dumps(value, ensure_ascii=False).encode()
    return json.dumps(value)


def _judgement_of(row: sqlite3.Row, path: Path) -> Judgement:
    """The judgement of a row; what a later version may have put into its JSON is left out. Raises: DataError."""
    try:
        kept = {name: _checked(row[name], kinds, name) for name, kinds in KINDS.items()}
        candidates = _listed(row["candidates"], dict, "candidates")
        ranks = None if row["ranks"] is None else tuple(_listed(row["ranks"], int, "ranks"))
        shown = tuple(_listed(row["shown"], int, "shown"))
        if ranks is not None and len(ranks) != len(candidates):
            raise ValueError(f"{len(candidates)} candidates have {len(ranks)} ranks")
        if sorted(shown) != list(range(len(candidates))) or kept["verdict"] not in VERDICTS:
            raise ValueError(f"shown is {shown}, verdict is {kept['verdict']!r}")
        return Judgement(
            **kept | {"flagged": bool(kept["flagged"])},
            prompt=_prompt_of(json.loads(row["prompt"])),
            candidates=tuple(_candidate_of(item) for item in candidates),
            ranks=ranks,
            shown=shown,
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}, label {row['id']} is damaged: {error}") from error


def _candidate_of(item: Mapping[str, Any]) -> Candidate:
    return Candidate(**{name: _checked(item[name], kinds, name) for name, kinds in CANDIDATE.items() if name in item})


def _prompt_of(value: Any) -> Prompt:
    if isinstance(value, str):
        return value
    turns = [_checked(turn, dict, "prompt") for turn in _checked(value, list, "prompt")]
    if not turns:
        raise ValueError("prompt has no turn")
    return tuple(Message(*(_checked(turn.get(name), str, name) for name in ("role", "content"))) for turn in turns)


def _listed(text: str, kinds: Kinds, name: str) -> list[Any]:
    return [_checked(item, kinds, name) for item in _checked(json.loads(text), list, name)]


def _checked(value: Any, kinds: Kinds, name: str) -> Any:
    if not isinstance(value, kinds):
        raise ValueError(f"{name} is {value!r:.60}")
    return value
