"""Writes to label databases: in order, retried while the file is locked, and given up when the queue closes."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from engine.core.errors import FileError, LockedError, WithdrawnError
from slmctl.label.writes import WriteQueue, retry_while_locked

LOCKED = LockedError("labels.db is locked by another process")


class Disk:
    """A file that another process locks for the first `locked` tries."""

    def __init__(self, locked: int = 0) -> None:
        self.locked, self.rows = locked, list[str]()

    def writer(self, row: str) -> Callable[[], int]:
        """A call that adds a row and returns its number."""

        def write() -> int:
            if self.locked:
                self.locked -= 1
                raise LOCKED
            self.rows.append(row)
            return len(self.rows)

        return write


def ignore(_: LockedError) -> None:
    """Goes on trying."""


def run(script: Callable[[WriteQueue], Awaitable[None]]) -> None:
    """Runs a script with a queue."""

    async def main() -> None:
        await script(WriteQueue())

    asyncio.run(main())


def test_operations_write_in_the_order_in_which_they_begin() -> None:
    disk, reports = Disk(locked=3), list[LockedError]()

    async def script(queue: WriteQueue) -> None:
        async def operation(row: str) -> tuple[int, int]:
            async with queue.turn:
                before = len(disk.rows)
                return before, await queue.write(disk.writer(row), reports.append)

        numbers = await asyncio.gather(*(operation(row) for row in "abc"))
        assert numbers == [(0, 1), (1, 2), (2, 3)] and disk.rows == ["a", "b", "c"]
        assert reports == [LOCKED] * 3 and not queue.turn.locked() and not queue.locked
        assert await queue.close() is None

    run(script)


def test_it_is_known_whether_a_write_waits_for_a_lock() -> None:
    disk = Disk(locked=10**9)
    states = list[bool]()

    async def script(queue: WriteQueue) -> None:
        def seen(_: LockedError) -> None:
            states.append(queue.locked)
            disk.locked = 0 if len(states) == 2 else disk.locked

        async with queue.turn:
            assert queue.turn.locked() and not queue.locked
            assert await queue.write(disk.writer("a"), seen) == 1
        assert states == [False, True], "false in the first report of a write, so that it can be told from later ones"
        assert not queue.locked

    run(script)


def test_a_failed_write_raises_and_lets_the_next_one_through() -> None:
    disk = Disk()

    async def script(queue: WriteQueue) -> None:
        def full() -> int:
            raise FileError("the disk is full")

        async def operation(call: Callable[[], int]) -> int:
            async with queue.turn:
                return await queue.write(call, ignore)

        failed, written = await asyncio.gather(operation(full), operation(disk.writer("a")), return_exceptions=True)
        assert isinstance(failed, FileError) and written == 1

    run(script)


def test_closing_reports_what_a_lock_kept_from_being_written() -> None:
    async def script(queue: WriteQueue) -> None:
        waits = asyncio.Event()

        async def operation() -> int:
            async with queue.turn:
                return await queue.write(Disk(locked=10**9).writer("a"), lambda _: waits.set())

        writing = asyncio.create_task(operation())
        await waits.wait()
        assert await queue.close() is LOCKED
        with pytest.raises(LockedError):
            await writing

    run(script)


@pytest.mark.parametrize(
    ("outcome", "reported"), [(FileError("full"), True), (WithdrawnError("gone"), False), (7, False)]
)
def test_closing_waits_for_a_write_whose_caller_was_cancelled(outcome: object, reported: bool) -> None:
    async def script(queue: WriteQueue) -> None:
        writing, go_on = threading.Event(), threading.Event()

        def slow() -> object:
            writing.set()
            assert go_on.wait(60)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        async def operation() -> object:
            async with queue.turn:
                return await queue.write(slow, ignore)

        task = asyncio.create_task(operation())
        await asyncio.to_thread(writing.wait, 60)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        assert await queue.close() is (outcome if reported else None)

    run(script)


def test_a_reported_lock_can_be_given_up() -> None:
    def give_up(error: LockedError) -> None:
        raise error

    with pytest.raises(LockedError):
        asyncio.run(retry_while_locked(Disk(locked=1).writer("a"), give_up))
