"""The file of a label database: reading changes nothing, other people's and damaged files are left alone and said in a
sentence."""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.errors import FileError
from engine.data.labels.store import Candidate, LabelStore, read_labels
from engine.data.records import Message
from tests.support.label_databases import judged, stored

NOBODY = 65534


def state(folder: Path) -> dict[str, str]:
    """The files of a folder by name, with their hashes."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as raw:
        for statement in statements:
            raw.execute(statement)
        raw.commit()


def test_reading_changes_nothing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    stored(tmp_path / "a%20b?#.db", judged(), judged())
    before = state(tmp_path)
    assert len(read_labels(tmp_path / "a%20b?#.db")) == 2 and state(tmp_path) == before


FOREIGN = {
    "of another": ["CREATE TABLE labels (id, note)", "PRAGMA user_version = 1"],
    "of another in WAL": ["PRAGMA journal_mode = WAL", "CREATE TABLE pictures (id)"],
    "only a view": ["CREATE VIEW labels AS SELECT 1 AS id"],
    "only marked": ["PRAGMA user_version = 7"],
}


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
def test_foreign_databases_are_refused_and_unchanged(tmp_path: Path, statements: list[str]) -> None:
    database(tmp_path / "other.db", *statements)
    before = state(tmp_path)
    for opening in (LabelStore, read_labels):
        with pytest.raises(FileError, match=r"other\.db is another program's database; use a separate file"):
            opening(tmp_path / "other.db")
    assert state(tmp_path) == before


def test_a_later_version_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    stored(tmp_path / "labels.db", judged())
    database(tmp_path / "labels.db", "PRAGMA user_version = 3")
    before = state(tmp_path)
    for opening in (LabelStore, read_labels):
        with pytest.raises(FileError, match=r"labels\.db has schema 3, and this slmctl reads schema 2"):
            opening(tmp_path / "labels.db")
    assert state(tmp_path) == before


def test_what_is_no_database_or_not_yet_one(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("these are no labels, but it is long enough for the header of a database" * 9)
    (tmp_path / "empty.db").touch()
    (tmp_path / "folder.db").mkdir()
    for name, words in {"text.db": "not a database", "folder.db": "not found", "none.db": "not found",
                        "empty.db": "empty, not a label database"}.items():  # fmt: skip
        with pytest.raises(FileError, match=words):
            read_labels(tmp_path / name)
    assert (tmp_path / "empty.db").stat().st_size == 0 and not (tmp_path / "none.db").exists()
    for name, words in {"text.db": "not a database", "folder.db": "it is a folder"}.items():
        with pytest.raises(FileError, match=f"cannot use label database .*: .*{words}"):
            LabelStore(tmp_path / name)
    assert stored(tmp_path / "empty.db", judged()) == [1]


NEW_FIELDS = '[{"text": "a", "mood": 3}, {"text": "b", "score": 1}]'
DAMAGED = [
    ("prompt", "{"),
    ("prompt", "[]"),
    ("prompt", '[{"role": "user"}]'),
    ("prompt", "[" * 10**5),
    ("candidates", "3"),
    ("candidates", '[{"model": "x"}, {"text": "b"}]'),
    ("candidates", '[{"text": 3}, {"text": "b"}]'),
    ("ranks", "[0]"),
    ("ranks", '["0", "1"]'),
    ("ranks", "7" * 5000),
    ("shown", "[0, 2]"),
    ("verdict", "best"),
    ("note", b"\xff"),
    ("seconds", "soon"),
]


@pytest.mark.parametrize(("column", "value"), DAMAGED, ids=[f"{column}-{value!r:.20}" for column, value in DAMAGED])
def test_a_damaged_row_is_named(tmp_path: Path, column: str, value: object) -> None:
    path = tmp_path / "labels.db"
    stored(path, judged(), judged())
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("DROP TRIGGER changed")
        raw.execute(f"UPDATE labels SET {column} = ? WHERE id = 2", (value,))
    with pytest.raises(FileError, match=r"labels\.db, label 2 is damaged: .") as caught:
        read_labels(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(path))


def test_fields_of_a_later_version_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    turns = json.dumps([{"role": "user", "content": "Hi", "name": "Eve"}])
    stored(path, judged())
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("DROP TRIGGER changed")
        raw.execute("ALTER TABLE labels ADD COLUMN mood TEXT")
        raw.execute("UPDATE labels SET candidates = ?, prompt = ?", (NEW_FIELDS, turns))
    (found,) = read_labels(path)
    assert found.candidates == (Candidate("a"), Candidate("b", score=1)) and found.prompt == (Message("user", "Hi"),)
    assert stored(path, judged()) == [2]


@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=40)), max_size=3))
@settings(max_examples=25)
def test_a_file_with_damaged_bytes_is_read_or_refused(changes: list[tuple[float, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.db"
        stored(path, *[judged("x" * 3000)] * 3)
        content = bytearray(path.read_bytes())
        for place, put in changes:
            at = int(place * len(content))
            content[at : at + len(put)] = put
        path.write_bytes(content)
        for use in (read_labels, lambda path: stored(path, judged())):
            try:
                use(path)
            except FileError as error:
                assert str(path) in str(error) and "\n" not in str(error)


def as_nobody(task: Callable[[], object]) -> str:
    """What `task` gives, or the sentence that it raises, in a process of a user without rights."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.getuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            said = repr(task())
        except FileError as error:
            said = str(error)
        except BaseException as error:
            said = f"a bug: {error!r}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_a_folder_that_cannot_be_written_is_read_all_the_same() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "labels.db"
        stored(path, judged(), judged())
        folder.chmod(0o555)
        try:
            before = state(folder)
            assert as_nobody(lambda: len(read_labels(path))) == "2"
            for file in (path, folder / "new.db"):
                said = as_nobody(partial(LabelStore, file))
                assert said == f"cannot use label database {file}: folder {folder} is not writable"
            deep = as_nobody(lambda: LabelStore(folder / "a" / "new.db"))
            assert deep.endswith(f"new.db: {folder / 'a'}: permission denied")
            assert state(folder) == before
        finally:
            folder.chmod(0o755)


def test_a_read_only_file_is_reported() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        stored(folder / "labels.db", judged())
        (folder / "labels.db").chmod(0o444)
        said = as_nobody(lambda: LabelStore(folder / "labels.db").add(judged()))
        assert said.endswith("labels.db: the file is not writable")


def test_a_log_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with LabelStore(tmp_path / "labels.db") as store:
            store.add(judged())
            for file in ("labels.db", "labels.db-wal"):  # as a labeler leaves them who was killed
                shutil.copy(tmp_path / file, folder)
        folder.chmod(0o555)
        try:
            said = as_nobody(lambda: len(read_labels(folder / "labels.db")))
        finally:
            folder.chmod(0o755)
        assert "cannot use label database" in said and "copy it to another folder, together with labels.db-wal" in said
        assert len(read_labels(folder / "labels.db")) == 1
        assert [path.name for path in folder.iterdir()] == ["labels.db"]
