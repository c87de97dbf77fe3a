"""The SQLite file of a label database: its table, and how it is opened to write and to read.

A file is identified before anything in it is changed. What the rows mean is store.py's job.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from engine.core.errors import FileError, LockedError

SCHEMA = 2
APPLICATION = 0x534C4D43  # "SLMC", marks the file as a label database
BUSY_S = 30.0  # how long a write waits for other processes by default
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
    "repeats": "INTEGER REFERENCES labels (id)",
    "withdraws": "INTEGER REFERENCES labels (id)",
}
# No STRICT tables: they need SQLite 3.37, and some builds of Python 3.11 have an older one. Readers check the types.
CREATE = (
    f"CREATE TABLE labels ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})",
    "CREATE INDEX withdrawals ON labels (withdraws) WHERE withdraws IS NOT NULL",
    "CREATE TRIGGER changed BEFORE UPDATE ON labels BEGIN SELECT RAISE (ABORT, 'labels are append-only'); END",
    "CREATE TRIGGER deleted BEFORE DELETE ON labels BEGIN SELECT RAISE (ABORT, 'labels are append-only'); END",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {SCHEMA}",
)


def connect(path: Path, query: str, busy_s: float = BUSY_S) -> sqlite3.Connection:
    """A connection without implicit transactions; `query` is that of SQLite's URI, such as mode=rw."""
    uri = f"{path.absolute().as_uri()}?{query}"
    connection = sqlite3.connect(uri, busy_s, isolation_level=None, check_same_thread=False, uri=True)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may come from anybody
    return connection


def initialize(connection: sqlite3.Connection, path: Path, busy_s: float) -> None:
    """Prepares a connection for writing and creates the table in an empty file.

    Raises: FileError as `is_label_database`; the file is unchanged then.
    """
    connection.execute("BEGIN")  # one state of the file: another process may be creating it
    try:
        exists = is_label_database(connection, path)
    finally:
        connection.execute("ROLLBACK")
    enable_wal(connection, busy_s)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    if exists:
        return
    connection.execute("BEGIN IMMEDIATE")  # two processes may open a new file at the same moment
    if not is_label_database(connection, path):
        for statement in CREATE:
            connection.execute(statement)
    connection.execute("COMMIT")


def is_label_database(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether a file is a label database; False if it is empty.

    Raises: FileError for any other database, or a label database with another schema.
    """
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if not tables and not application and not version:
        return False
    if application != APPLICATION:
        raise FileError(f"{path} is another program's database; use a separate file for labels")
    if version != SCHEMA:
        raise FileError(
            f"{path} has schema {version}, and this slmctl reads schema {SCHEMA}; use the slmctl that created it"
        )
    return True


def enable_wal(connection: sqlite3.Connection, busy_s: float) -> None:
    """Turns on write-ahead logging; retries itself, because SQLite does not wait for another process here."""
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
def sqlite_errors(path: Path, hint: str = "") -> Iterator[None]:
    """Turns errors of SQLite and of the disk into FileError, with the reason and `hint`.

    Raises: FileError; LockedError if another process has the file locked.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0)  # errors that Python itself raises have none
        if code & 0xFF == sqlite3.SQLITE_BUSY:
            raise LockedError(f"{path} is locked by another process; try again when that has ended") from error
        unusable = code & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        why = (_obstacle(path) if unusable else "") or error
        raise FileError(f"cannot use label database {path}: {why}{hint}") from error
    except OSError as error:
        why = f"{error.filename}: {(error.strerror or '').lower()}"
        raise FileError(f"cannot use label database {path}: {why}") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise FileError(f"cannot use label database {path}: {error}{hint}") from error


def _obstacle(path: Path) -> str:
    """Why a file cannot be opened or written, "" if unknown."""
    folder = path.parent
    if path.is_dir():
        return "it is a folder"
    if not folder.is_dir():
        return f"folder {folder} does not exist"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"folder {folder} is not writable"
    return "the file is not writable" if path.exists() and not os.access(path, os.W_OK) else ""


@contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one state of a label database, changes nothing and leaves no file beside it.

    Where SQLite may write, it removes the log that it creates beside the file. Where it may not, the file cannot
    change, unless there is a log that a writer has left or is still writing.

    Raises: FileError as `is_label_database`, or if the file is empty or damaged.
    """
    log = path.with_name(path.name + "-wal")
    query, hint = "mode=rw", ""
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        query = "mode=ro&immutable=1"
        if log.exists() and log.stat().st_size:
            query, hint = "mode=ro", f"; copy it to another folder, together with {log.name}, and read it there"
    with sqlite_errors(path, hint), closing(connect(path, query)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        if not is_label_database(connection, path):
            raise FileError(f"{path} is empty, not a label database")
        yield connection
