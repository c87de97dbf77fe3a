"""The label database: what was acknowledged is there, whoever else writes."""

import multiprocessing
import os
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.errors import DataError, FileError, WithdrawnError
from engine.data.labels.store import VERDICTS, Candidate, Label, LabelStore, read_database, read_labels
from engine.data.records import Message
from tests.support.label_databases import acknowledged_until_killed, check, judged, kill_labelers, labeler, stored

KILLS = int(os.environ.get("LABEL_KILLS", "10"))
ANY_TEXT = st.text(max_size=20) | st.sampled_from(["", "\0", "a\0b", "\x1b]0;x\x07", "\u2028\r\n", "'); DROP TABLE"])
NUMBERS = st.integers(0, 2**40)
CANDIDATES = st.builds(
    Candidate,
    ANY_TEXT,
    ANY_TEXT,
    ANY_TEXT,
    NUMBERS,
    st.dictionaries(ANY_TEXT, st.floats(allow_nan=False), max_size=2),
    NUMBERS,
    st.booleans(),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@st.composite
def labels(draw: st.DrawFn) -> Label:
    """Any label."""
    candidates = draw(st.lists(CANDIDATES, max_size=4))
    turns = st.lists(st.builds(Message, ANY_TEXT, ANY_TEXT), min_size=1, max_size=3).map(tuple)
    ranks = st.lists(st.integers(0, 9), min_size=len(candidates), max_size=len(candidates)).map(tuple)
    return Label(
        draw(ANY_TEXT),
        draw(ANY_TEXT | turns),
        tuple(candidates),
        draw(st.sampled_from(VERDICTS)),
        draw(st.none() | ranks),
        tuple(draw(st.permutations(range(len(candidates))))),
        draw(st.integers(1, 2)),
        draw(ANY_TEXT),
        draw(st.none() | ANY_TEXT),
        draw(st.booleans()),
        draw(st.floats(0, 1e9)),
        draw(ANY_TEXT),
    )


@given(st.lists(labels(), min_size=1, max_size=3))
@settings(max_examples=25)
def test_any_label_survives_a_round_trip(made: list[Label]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.db"
        numbers = stored(path, *made)
        found = read_labels(path)
        assert numbers == [one.id for one in found] == list(range(1, len(made) + 1))
        assert [replace(one, id=0, at=0.0) for one in found] == made
        assert all(one.at > 1.7e9 for one in found)


def test_a_replaced_label_does_not_count_as_undone(tmp_path: Path) -> None:
    with LabelStore(tmp_path / "l.db") as store:
        stronger = store.add(judged(strength=2), instead_of=store.add(judged()))
        store.add(judged(prompt="Ho"))
        store.withdraw(store.add(judged("c", "d")), "ann")
        found = read_database(tmp_path / "l.db")
        assert ([one.strength for one in found.standing], [one.prompt for one in found.withdrawn]) == ([2, 1], ["Hi"])
        assert found.withdrawn[0].candidates[0].text == "c"
        store.withdraw(stronger, "ann")
    withdrawn = read_database(tmp_path / "l.db").withdrawn
    assert [(one.candidates[0].text, one.strength) for one in withdrawn] == [("a", 2), ("c", 1)]


HALF = "\ud83d"


@pytest.mark.parametrize(
    "fields",
    [{"annotator": HALF}, {"prompt": HALF + "\ude00"}, {"prompt": (Message("user", HALF),)}, {"first": HALF},
     {"note": HALF}, {"edited": HALF}, {"selection": HALF}],
    ids=str,
)  # fmt: skip
def test_a_lone_surrogate_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    with LabelStore(tmp_path / "labels.db") as store:
        with pytest.raises(DataError, match=r"labels\.db: a label contains a lone surrogate"):
            store.add(judged(**fields))
        assert (store.add(judged()), len(store.standing())) == (1, 1)


def test_withdrawing_and_selecting(tmp_path: Path) -> None:
    path = tmp_path / "new" / "labels.db"
    with LabelStore(path) as store:
        for annotator in ("ann", "bob", "ann"):
            store.add(judged(annotator=annotator))
        assert store.withdraw(1, "bob") == 4
        assert [one.id for one in store.standing()] == [2, 3]
        assert [one.id for one in store.standing("ann")] == [3] == [one.id for one in store.standing(after=2)]
        with pytest.raises(FileError, match="FOREIGN KEY"):
            store.withdraw(77, "ann")
        with pytest.raises(FileError, match="FOREIGN KEY"):
            store.add(judged(repeats=77))
        store.add(judged(repeats=3))
    found = read_database(path)
    assert ([one.id for one in found.standing], [one.id for one in found.withdrawn]) == ([2, 3, 5], [1])
    with closing(sqlite3.connect(path)) as raw:
        for change in ("UPDATE labels SET note = 'x'", "DELETE FROM labels"):
            with pytest.raises(sqlite3.IntegrityError, match="labels"):
                raw.execute(change)


def test_a_label_is_withdrawn_only_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with LabelStore(path) as one, LabelStore(path) as two:
        number = one.add(judged())
        one.withdraw(number, "ann")
        said = rf"label {number} was withdrawn already"
        with pytest.raises(WithdrawnError, match=said):
            two.withdraw(number, "ann")
        with pytest.raises(WithdrawnError, match=said):
            two.add(judged("b"), instead_of=number)
        assert (two.standing(), two.newest("ann")) == ([], number + 1), "nothing is written then"


def test_a_score_that_is_no_number_is_none(tmp_path: Path) -> None:
    nan = replace(judged(), candidates=(Candidate("a", score=float("nan")), Candidate("b", score=-0.5)))
    stored(tmp_path / "labels.db", nan)
    assert [one.score for one in read_labels(tmp_path / "labels.db")[0].candidates] == [None, -0.5]


def test_killed_labelers_lose_nothing_that_they_acknowledged(tmp_path: Path) -> None:
    acknowledged, there = kill_labelers(tmp_path, KILLS, labelers=2, seed=0)
    assert there >= acknowledged > KILLS / 2


def test_two_labelers_at_once_and_a_reader_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    children = {name: labeler(path, name) for name in ("ann", "bob")}
    said = [(name, acknowledged_until_killed(child, 0.2, from_first=True)) for name, child in children.items()]
    counted = check(path, said)
    assert all(counted[name] >= len(lines) > 0 for name, lines in said)
    with LabelStore(path) as store:
        threads = [Thread(target=lambda: [store.add(judged(annotator="cat")) for _ in range(5)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        seen = len(read_labels(path))
        for thread in threads:
            thread.join()
        assert counted.total() <= seen <= len(store.standing()) == counted.total() + 20


def open_label_close(path: Path, annotator: str, barrier: Barrier) -> None:
    """Opens a file in the same moment as others, and once more."""
    barrier.wait()
    for _ in range(2):
        stored(path, judged(annotator=annotator))


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    forked = multiprocessing.get_context("fork")
    for number in range(12):
        path, barrier = tmp_path / f"{number}.db", forked.Barrier(8)
        children = [forked.Process(target=open_label_close, args=(path, f"{i}", barrier)) for i in range(8)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0] * 8
        assert sorted(one.annotator for one in read_labels(path)) == sorted("01234567" * 2)
