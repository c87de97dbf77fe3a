"""Several sittings of one labeler in one database at once: they ask different questions and know of each other."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from engine.core.errors import FileError, WithdrawnError
from engine.data.labels.store import read_database, read_labels
from slmctl.label import session as labelling
from slmctl.label.seats import order_at, seat_at
from slmctl.label.session import REPEATED_AFTER, Labelling
from tests.support.label_sessions import PROMPTS, asked, first, lived, opened, second, skipped, stronger, undone

HOLD = """
import sys
from pathlib import Path
from slmctl.label.seats import seat_at
seat = seat_at(Path(sys.argv[1]), "ann")
print(seat.number, flush=True)
sys.stdin.read()
"""


def together(
    path: Path, script: Callable[[Labelling, Labelling], Awaitable[None]], *names: str
) -> tuple[Labelling, Labelling]:
    """Two sittings after a script, closed."""

    async def main() -> tuple[Labelling, Labelling]:
        one, two = [await opened(path, annotator=name) for name in names or ("ann", "ann")]
        await script(one, two)
        for session in (one, two):
            await session.close()
        return one, two

    return asyncio.run(main())


def test_two_sittings_of_one_name_ask_different_prompts_until_all_are_asked(tmp_path: Path) -> None:
    async def script(one: Labelling, two: Labelling) -> None:
        while {judgement.prompt for judgement in (*one.judged, *two.judged)} != set(PROMPTS):
            for session in (one, two):
                if session.question is not None:
                    await first(session)
                await asked(session)

    together(tmp_path / "l.db", script)
    judged = [one.prompt for one in read_labels(tmp_path / "l.db") if one.repeats is None]
    assert len(judged) <= len(PROMPTS) + 1, "they meet at one prompt at most"
    assert not list(tmp_path.glob("*seat*")), "nothing is left beside the database"


def test_two_names_are_asked_the_same_so_that_their_agreement_is_known(tmp_path: Path) -> None:
    async def script(one: Labelling, two: Labelling) -> None:
        assert one.question == two.question

    together(tmp_path / "l.db", script, "ann", "bob")


def test_each_sitting_knows_what_was_judged_in_the_other(tmp_path: Path) -> None:
    async def script(one: Labelling, two: Labelling) -> None:
        for deed in (first, second, stronger, skipped, undone):
            await deed(one)
            await asked(one)
        await first(two)
        stands = read_labels(tmp_path / "l.db")
        assert [judgement.id for judgement in two.judged] == [judgement.id for judgement in stands]

    together(tmp_path / "l.db", script)


def test_what_was_judged_in_the_other_sitting_is_not_taken_back_here(tmp_path: Path) -> None:
    async def script(one: Labelling, two: Labelling) -> None:
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


def test_what_stood_before_is_taken_back_in_one_sitting_alone(tmp_path: Path) -> None:
    async def script(one: Labelling, two: Labelling) -> None:
        assert await one.undo() is not None
        with pytest.raises(WithdrawnError, match="label 2 was taken back already"):
            await two.strengthen()
        taken = await two.undo()
        assert taken is not None and taken.id == 1
        with pytest.raises(WithdrawnError, match="label 1 was taken back already"):
            await one.undo()
        assert (await one.undo(), await two.undo()) == (None, None)

    lived(tmp_path / "l.db", first, second)
    together(tmp_path / "l.db", script)
    database = read_database(tmp_path / "l.db")
    assert (len(database.standing), len(database.withdrawn), database.newest) == (0, 2, 4)


def test_what_could_not_be_read_of_the_other_sitting_is_read_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(*_: object) -> int:
        raise FileError("it cannot be read")

    async def script(one: Labelling, two: Labelling) -> None:
        await first(two)
        await asked(two)
        await first(one)
        with monkeypatch.context() as patch:
            patch.setattr(two.store, "newest", torn)
            assert await two.strengthen() is not None
        await second(two)
        assert [judgement.id for judgement in two.judged] == [one.id for one in read_labels(tmp_path / "l.db")]

    together(tmp_path / "l.db", script)


def test_pairs_come_back_whichever_sitting_judged_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "REPEATED", 0.9)

    async def script(one: Labelling, two: Labelling) -> None:
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


def test_a_seat_is_free_again_when_its_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == "0\n"
    own, other = seat_at(path, "ann"), seat_at(path, "somebody \x00/ else")
    assert own is not None and other is not None and (own.number, other.number) == (1, 0)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    child.stdin.close()
    child.stdout.close()
    again = seat_at(path, "ann")
    assert again is not None and again.number == 0
    for seat in (own, other, again):
        seat.leave()
    assert not list(tmp_path.glob("*seat*")), "the file of the killed one is gone, too"
    assert seat_at(tmp_path / "nowhere" / "labels.db", "ann") is None


def test_each_seat_asks_in_an_order_of_its_own() -> None:
    orders = [order_at(seat, range(8)) for seat in range(4)]
    assert orders[:2] == [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0]]
    assert all(sorted(order) == orders[0] for order in orders) and len(set(map(tuple, orders))) == 4
    assert order_at(3, range(8)) == orders[3], "the same each time"
    assert order_at(5, ["only"]) == ["only"] and order_at(3, []) == []
