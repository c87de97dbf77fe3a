"""Several sessions of one labeler in one database: each asks in an order of its own, and knows of the others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from engine.core.errors import FileError, WithdrawnError
from engine.data.labels.store import read_database, read_labels
from slmctl.label import session as session_module
from slmctl.label.session import REPEATED_AFTER, LabelSession
from tests.support.label_sessions import PROMPTS, asked, first, lived, opened, second, skipped, stronger, undone

MANY = [f"prompt {number}" for number in range(400)]
LABELS = 80  # of both sessions
TWICE = 10  # labels of a prompt that the other session asked at the same time; equal orders would make half of all


def together(
    path: Path,
    script: Callable[[LabelSession, LabelSession], Awaitable[None]],
    names: tuple[str, str] = ("ann", "ann"),
    prompts: Sequence[str] = PROMPTS,
) -> tuple[LabelSession, LabelSession]:
    """Two sessions after a script, closed."""

    async def main() -> tuple[LabelSession, LabelSession]:
        one, two = [await opened(path, annotator=name, prompts=prompts) for name in names]
        await script(one, two)
        for session in (one, two):
            await session.close()
        return one, two

    return asyncio.run(main())


def test_two_sessions_of_one_labeler_rarely_ask_the_same(tmp_path: Path) -> None:
    async def script(one: LabelSession, two: LabelSession) -> None:
        for _ in range(LABELS // 2):
            for session in (one, two):
                await first(session)
                await asked(session)

    together(tmp_path / "l.db", script, prompts=MANY)
    judged = read_labels(tmp_path / "l.db")
    assert len(judged) == LABELS, "no label is lost"
    prompts = [one.prompt for one in judged if one.repeats is None]
    assert len(prompts) - len(set(prompts)) <= TWICE
    assert {file.name for file in tmp_path.iterdir()} == {"l.db"}, "nothing is left beside the database"


def test_two_sessions_of_one_labeler_ask_different_prompts(tmp_path: Path) -> None:
    async def script(one: LabelSession, two: LabelSession) -> None:
        while {label.prompt for label in (*one.labels, *two.labels)} != set(PROMPTS):
            for session in (one, two):
                if session.question is not None:
                    await first(session)
                await asked(session)

    together(tmp_path / "l.db", script)
    judged = [one.prompt for one in read_labels(tmp_path / "l.db") if one.repeats is None]
    assert len(judged) <= len(PROMPTS) + TWICE


def test_two_labelers_get_the_same_prompts(tmp_path: Path) -> None:
    async def script(one: LabelSession, two: LabelSession) -> None:
        for _ in range(3):
            assert one.question == two.question
            for session in (one, two):
                await first(session)
                await asked(session)

    together(tmp_path / "l.db", script, ("ann", "bob"))


def test_each_session_knows_what_was_judged_in_the_other(tmp_path: Path) -> None:
    async def script(one: LabelSession, two: LabelSession) -> None:
        for deed in (first, second, stronger, skipped, undone):
            await deed(one)
            await asked(one)
        await first(two)
        stands = read_labels(tmp_path / "l.db")
        assert [label.id for label in two.labels] == [label.id for label in stands]

    together(tmp_path / "l.db", script)


def test_labels_of_the_other_session_are_not_undone_here(tmp_path: Path) -> None:
    async def script(one: LabelSession, two: LabelSession) -> None:
        await first(two)
        await asked(two)
        for _ in range(3):
            await first(one)
            await asked(one)
        await second(two)
        assert await two.strengthen() is not None
        assert [await two.undo() is None for _ in range(3)] == [False, False, True]

    together(tmp_path / "l.db", script)
    database = read_database(tmp_path / "l.db")
    assert len(database.standing) == 3 and len(database.withdrawn) == 2, "the weaker one was not taken back"


def test_an_earlier_label_is_undone_in_one_session_only(tmp_path: Path) -> None:
    async def script(one: LabelSession, two: LabelSession) -> None:
        assert await one.undo() is not None
        with pytest.raises(WithdrawnError, match="label 2 was withdrawn already"):
            await two.strengthen()
        taken = await two.undo()
        assert taken is not None and taken.id == 1
        with pytest.raises(WithdrawnError, match="label 1 was withdrawn already"):
            await one.undo()
        assert (await one.undo(), await two.undo()) == (None, None)

    lived(tmp_path / "l.db", first, second)
    together(tmp_path / "l.db", script)
    database = read_database(tmp_path / "l.db")
    assert (len(database.standing), len(database.withdrawn), database.newest) == (0, 2, 4)


def test_the_other_session_is_read_later_if_it_was_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(*_: object) -> int:
        raise FileError("it cannot be read")

    async def script(one: LabelSession, two: LabelSession) -> None:
        await first(two)
        await asked(two)
        await first(one)
        with monkeypatch.context() as patch:
            patch.setattr(two.store, "newest", torn)
            assert await two.strengthen() is not None
        await second(two)
        assert [label.id for label in two.labels] == [one.id for one in read_labels(tmp_path / "l.db")]

    together(tmp_path / "l.db", script)


def test_pairs_come_back_whichever_session_judged_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "REPEATED", 0.9)

    async def script(one: LabelSession, two: LabelSession) -> None:
        for _ in range(REPEATED_AFTER + 2):
            await first(one)
            await asked(one)
        for _ in range(5):
            await first(two)
            await asked(two)

    together(tmp_path / "l.db", script)
    judged = read_labels(tmp_path / "l.db")
    mine = {one.id for one in judged[: REPEATED_AFTER + 2]}
    assert mine & {one.repeats for one in judged[REPEATED_AFTER + 2 :]}
