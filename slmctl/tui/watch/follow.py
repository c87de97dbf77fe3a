"""Polls run directories several times a second, in a thread, and posts what it found to a screen."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from textual.message_pump import MessagePump

from engine.core.errors import EngineError
from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import make_request
from slmctl.tui.watch.messages import RequestSent, RunsFound, RunsPolled
from slmctl.watch.follower import Follower, runs_to_watch

POLL_EVERY_S = 0.25  # also the most often that charts are redrawn for news
POLL_HIDDEN_EVERY_S = 2.0  # while another mode is shown
FIND_EVERY_S = 1.0  # while there is no run


class FollowLoop:
    """Posts updates of the runs named `names` in the folder `home` to `screen`; without names, of the best choice.

    `turn` counts how often the followed runs changed, so that late updates can be recognized.
    """

    def __init__(self, screen: MessagePump, home: Path, names: tuple[str, ...], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._screen, self._home, self._names = screen, home, names
        self._followers: tuple[Follower, ...] = ()
        self._find = True
        self._wake = asyncio.Event()
        self.turn = 0

    def find(self, names: tuple[str, ...]) -> None:
        """Looks for other runs."""
        self._names, self._find = names, True
        self._wake.set()

    def follow(self, runs: Sequence[RunDir]) -> None:
        """Follows these runs from now on."""
        self._followers = tuple(Follower(run, self._clock) for run in runs)
        self.turn += 1
        self._wake.set()

    def poll_now(self) -> None:
        """Polls without waiting for the next turn."""
        self._wake.set()

    async def run(self, is_shown: Callable[[], bool]) -> None:
        """Polls forever, less often while the screen is hidden."""
        while True:
            self._wake.clear()
            if self._find or not self._followers:
                self._find = False
                self._screen.post_message(await asyncio.to_thread(_found, self._home, self._names, self._clock()))
            else:
                self._screen.post_message(await asyncio.to_thread(_polled, self.turn, self._followers))
            pause_s = FIND_EVERY_S if not self._followers else POLL_EVERY_S if is_shown() else POLL_HIDDEN_EVERY_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause_s)

    async def send(self, name: str, request: str) -> None:
        """Writes a request to a run, and posts its number."""
        self._screen.post_message(await asyncio.to_thread(send_request, RunDir(self._home / name), request))


def _found(home: Path, names: tuple[str, ...], now: float) -> RunsFound:
    try:
        return RunsFound(tuple(runs_to_watch(home, names, now)))
    except EngineError as error:
        return RunsFound((), str(error))


def _polled(turn: int, followers: Sequence[Follower]) -> RunsPolled:
    return RunsPolled(turn, tuple(follower.poll() for follower in followers))


def send_request(run: RunDir, request: str) -> RequestSent:
    """Writes a request to a run; returns its number, or why it could not be written."""
    try:
        return RequestSent(run.name, request, make_request(run, request))
    except (OSError, EngineError) as error:
        return RequestSent(run.name, request, error=str(error))
