"""The file of a label database: its table, and how SQLite opens it to write and to read.

Whose file it is is found out before anything in it is changed. What the rows mean is preferences.py's job.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from engine.core.errors import FileError, LockedError

SCHEMA = 1
APPLICATION = 0x534C4D43  # "SLMC", which tells a label database from other people's
BUSY_S = 30.0  # how long a write waits for another labeler's, unless told
RETRY_S = 0.01
COLUMNS = {
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "at": "REAL NOT NULL",
    "annotator": "TEXT NOT NULL",
    "prompt": "TEXT NOT NULL",
    "candidates": "TEXT NOT NULL",
    "shown": "TEXT NOT NULL",
    "verdict": "TEXT NOT NULL",
    "ranks": "TEXT",
    "strength": "INTEGER NOT NULL",
    "note": "TEXT NOT NULL",
    "edited": "TEXT",
    "flagged": "INTEGER NOT NULL",
    "seconds": "REAL NOT NULL",
    "selection": "TEXT NOT NULL",
    "repeats": "INTEGER REFERENCES judgements (id)",
    "withdraws": "INTEGER REFERENCES judgements (id)",
}
MAKE = (
    f"CREATE TABLE judgements ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})",
    "CREATE INDEX withdrawals ON judgements (withdraws) WHERE withdraws IS NOT NULL",
    "CREATE TRIGGER changed BEFORE UPDATE ON judgements BEGIN SELECT RAISE (ABORT, 'judgements never change'); END",
    "CREATE TRIGGER deleted BEFORE DELETE ON judgements BEGIN SELECT RAISE (ABORT, 'judgements stay'); END",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {SCHEMA}",
)
"""No STRICT: SQLite knows it since 3.37, and Python 3.11 is met with older ones. Readers check what they read."""


def connect(path: Path, how: str, busy_s: float = BUSY_S) -> sqlite3.Connection:
    """A connection that begins transactions only when told; `how` is the query of SQLite's URI, such as mode=rw."""
    uri = f"{path.absolute().as_uri()}?{how}"
    connection = sqlite3.connect(uri, busy_s, isolation_level=None, check_same_thread=False, uri=True)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may be anybody's
    return connection


def make_or_check(connection: sqlite3.Connection, path: Path, busy_s: float) -> None:
    """Readies a connection for writing, the table made where the file is empty.

    Raises: FileError as `is_ours`; a file of something else stays as it is.
    """
    connection.execute("BEGIN")  # one state of the file: another labeler may just be making it
    try:
        made = is_ours(connection, path)
    finally:
        connection.execute("ROLLBACK")
    log_ahead(connection, busy_s)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    if made:
        return
    connection.execute("BEGIN IMMEDIATE")  # two labelers may open a new file at the same moment
    if not is_ours(connection, path):
        for statement in MAKE:
            connection.execute(statement)
    connection.execute("COMMIT")


def is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether a file is a label database; False where nothing is in it yet.

    Raises: FileError for anything else, or a label database of a later version.
    """
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if not tables and not application and not version:
        return False
    if application != APPLICATION:
        raise FileError(f"{path} is a database of something else; labels need a file of their own")
    if version != SCHEMA:
        raise FileError(
            f"{path} has schema {version} and this slmctl reads schema {SCHEMA}: use the slmctl that made it"
        )
    return True


def log_ahead(connection: sqlite3.Connection, busy_s: float) -> None:
    """Turns the write-ahead log on; SQLite itself does not wait where another process does so too."""
    until = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(RETRY_S)


@contextmanager
def said(path: Path, hint: str = "") -> Iterator[None]:
    """Has whatever SQLite or the disk complains of raised as a FileError, with what to do about it.

    Raises: FileError; LockedError where another process holds the file.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0)  # what Python itself finds wrong has none
        if code & 0xFF == sqlite3.SQLITE_BUSY:
            raise LockedError(f"{path} is locked by another process; try again when that has ended") from error
        closed = code & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        why = (_in_the_way(path) if closed else "") or error
        raise FileError(f"the label database {path} cannot be used: {why}{hint}") from error
    except OSError as error:
        why = f"{error.filename}: {(error.strerror or '').lower()}"
        raise FileError(f"the label database {path} cannot be used: {why}") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise FileError(f"the label database {path} cannot be used: {error}{hint}") from error


def _in_the_way(path: Path) -> str:
    """What keeps a file from being opened or written, "" where that does not show."""
    folder = path.parent
    if path.is_dir():
        return "it is a folder"
    if not folder.is_dir():
        return f"there is no folder {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"nothing can be written in its folder {folder}"
    return "the file cannot be written" if path.exists() and not os.access(path, os.W_OK) else ""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one state of a label database; nothing in it changes, and nothing is left beside it.

    Where SQLite may write, it removes the log that it makes beside the file. Where it may not, the file stands still,
    unless there is a log, which a writer has left or is still writing.

    Raises: FileError as `is_ours`, or where the file is empty or damaged.
    """
    log = path.with_name(path.name + "-wal")
    how, hint = "mode=rw", ""
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        how = "mode=ro&immutable=1"
        if log.exists() and log.stat().st_size:
            how, hint = "mode=ro", f"; copy it to another folder, together with {log.name}, and read it there"
    with said(path, hint), closing(connect(path, how)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        if not is_ours(connection, path):
            raise FileError(f"{path} is empty, not yet a label database")
        yield connection
