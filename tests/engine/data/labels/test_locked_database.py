"""A label database that another process holds: what is written meanwhile waits or is refused in words, none is lost."""

import asyncio
import threading
from pathlib import Path

import pytest

from engine.core.errors import FileError, LockedError
from engine.data.labels.store import LabelStore, read_labels
from slmctl.label.decisions import SKIP, choice
from slmctl.label.session import LabelSession
from tests.support.fake_sampler import FakeSampler
from tests.support.label_databases import judged, locked
from tests.support.label_sessions import PROMPTS, TWO, Clock, asked, opened

BUSY_S = 0.05


def test_a_locked_database_is_reported_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with LabelStore(path, BUSY_S) as store:
        number = store.add(judged())
        with locked(path):
            with pytest.raises(LockedError, match=r"labels\.db is locked by another process"):
                store.add(judged(), number)
            with pytest.raises(LockedError):
                store.withdraw(number, "ann")
            LabelStore(path, BUSY_S).close()
            assert len(store.standing()) == 1, "it can still be opened and read"
        assert store.add(judged("b"), number) == 2
        assert [one.candidates[0].text for one in store.standing()] == ["b"]
        assert (store.newest("ann"), store.newest("ann", before=3), store.newest("bob")) == (3, 2, 0)


def test_a_file_that_is_being_created_is_reported(tmp_path: Path) -> None:
    with locked(tmp_path / "labels.db"), pytest.raises(LockedError):
        LabelStore(tmp_path / "labels.db", BUSY_S)


def test_a_session_tries_again_until_it_is_written_or_closed(tmp_path: Path) -> None:
    path = tmp_path / "l.db"

    async def main() -> None:
        told, clock, sampler = asyncio.Event(), Clock(), FakeSampler()
        store = LabelStore(path, BUSY_S)
        session = LabelSession(TWO, PROMPTS, store, "ann", lambda: sampler, clock=clock, on_locked=told.set)
        await session.open()
        await asked(session)
        question, clock.now = session.question, 2.0
        with locked(path):
            answering = asyncio.create_task(session.answer(choice(0, 2)))
            await told.wait()
            clock.now = 99.0
            assert session.writes.turn.locked() and session.question is question
        assert (await answering).seconds == 2.0, "waiting is no time to decide"
        with locked(path):
            told.clear()
            undoing = asyncio.create_task(session.undo())
            await told.wait()
            await session.close()
            assert isinstance(session.unwritten, LockedError)
            with pytest.raises(LockedError):
                await undoing
        assert len(read_labels(path)) == 1

    asyncio.run(main())


def test_a_failed_last_write_is_reported_on_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        session = await opened(tmp_path / "l.db")
        writing, closing = threading.Event(), threading.Event()

        def full(*_: object) -> int:
            writing.set()
            assert closing.wait(60)
            raise FileError("the disk is full")

        monkeypatch.setattr(session.store, "add", full)
        answering = asyncio.create_task(session.answer(SKIP))
        await asyncio.to_thread(writing.wait, 60)
        answering.cancel()
        asyncio.get_running_loop().call_later(0.05, closing.set)
        await session.close()
        assert "the disk is full" in str(session.unwritten)

    asyncio.run(main())


def test_where_nobody_waits_it_is_an_error(tmp_path: Path) -> None:
    async def main() -> None:
        sampler = FakeSampler()
        session = LabelSession(TWO, PROMPTS, LabelStore(tmp_path / "l.db", BUSY_S), "ann", lambda: sampler)
        await session.open()
        await asked(session)
        question = session.question
        with locked(tmp_path / "l.db"), pytest.raises(LockedError):
            await session.answer(SKIP)
        assert session.question is question and not session.writes.turn.locked()
        await session.close()

    asyncio.run(main())
