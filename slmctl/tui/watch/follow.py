"""Looking at run directories several times a second, in a thread, and telling a screen by messages what was seen."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from textual.message_pump import MessagePump

from engine.core.errors import EngineError
from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import make_request
from slmctl.tui.watch.messages import RequestSent, RunsFound, RunsPolled
from slmctl.watch.follower import Follower, runs_to_watch

LOOK_EVERY_S = 0.25  # also the most often that charts are drawn again for news
LOOK_AWAY_S = 2.0  # while another mode is shown
FIND_EVERY_S = 1.0  # while there is no run


class FollowLoop:
    """Tells `screen` of the runs named `names` in the folder `home`; without names, of the one that matters most.

    `turn` counts how often other runs were followed, so that what is late can be told from what is wanted.
    """

    def __init__(self, screen: MessagePump, home: Path, names: tuple[str, ...]) -> None:
        self._screen, self._home, self._names = screen, home, names
        self._followers: tuple[Follower, ...] = ()
        self._wanted = True
        self._wake = asyncio.Event()
        self.turn = 0

    def want(self, names: tuple[str, ...]) -> None:
        """Looks for other runs."""
        self._names, self._wanted = names, True
        self._wake.set()

    def follow(self, runs: Sequence[RunDir]) -> None:
        """Follows these runs from now on."""
        self._followers = tuple(Follower(run) for run in runs)
        self.turn += 1
        self._wake.set()

    def look_now(self) -> None:
        """Looks without waiting for its time."""
        self._wake.set()

    async def run(self, shown: Callable[[], bool]) -> None:
        """Goes on looking for ever, less often while the screen is not `shown`."""
        while True:
            self._wake.clear()
            if self._wanted or not self._followers:
                self._wanted = False
                self._screen.post_message(await asyncio.to_thread(_found, self._home, self._names))
            else:
                self._screen.post_message(await asyncio.to_thread(_followed, self.turn, self._followers))
            rest_s = FIND_EVERY_S if not self._followers else LOOK_EVERY_S if shown() else LOOK_AWAY_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), rest_s)

    async def ask(self, name: str, request: str) -> None:
        """Writes a request for a run, and tells the screen its number."""
        self._screen.post_message(await asyncio.to_thread(send_request, RunDir(self._home / name), request))


def _found(home: Path, names: tuple[str, ...]) -> RunsFound:
    try:
        return RunsFound(tuple(runs_to_watch(home, names, time.time())))
    except EngineError as error:
        return RunsFound((), str(error))


def _followed(turn: int, followers: Sequence[Follower]) -> RunsPolled:
    return RunsPolled(turn, tuple(follower.poll() for follower in followers))


def send_request(run: RunDir, request: str) -> RequestSent:
    """Writes a request for a run: under which number, or why it could not be."""
    try:
        return RequestSent(run.name, request, make_request(run, request))
    except (OSError, EngineError) as error:
        return RequestSent(run.name, request, error=str(error))
