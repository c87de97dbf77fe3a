"""The commands that were started from this playground, looked after until they end.

Each runs on when the screen goes; here it is only told to whoever started it that it began, or why it did not, and to
everybody how it ended.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message_pump import MessagePump

from engine.core.errors import INTERRUPTED, EngineError
from engine.rundir.directory import RunDir
from slmctl.runs.launch import Launched, command_line, killed_by, launch, resume_words
from slmctl.tui.messages import LaunchBegun, LaunchRefused

if TYPE_CHECKING:
    from slmctl.tui.app import Playground

LOOK_EVERY_S = 0.2


@dataclass
class _Tended:
    launched: Launched
    told: MessagePump
    begun: bool = False


class Launches:
    """The commands that run, in a list that is looked through for as long as there are any."""

    def __init__(self, app: "Playground") -> None:
        self._app = app
        self._tended: list[_Tended] = []

    async def start(self, words: Sequence[str], run: RunDir, told: MessagePump) -> None:
        """Starts a command; `told` hears LaunchBegun or LaunchRefused."""
        try:
            launched = await asyncio.to_thread(launch, words, run, os.environ)
        except EngineError as error:
            told.post_message(LaunchRefused(run.name, str(error)))
            return
        self._tended.append(_Tended(launched, told))
        if len(self._tended) == 1:
            self._app.run_worker(self._tend(), group="launches")

    async def go_on(self, run: RunDir, last: str, told: MessagePump) -> None:
        """Starts again what a run's process was started for, up to its stage `last`."""
        words = resume_words(run.name, last)
        self._app.say(f"starting: {command_line(words)}")
        await self.start(words, run, told)

    def starting(self) -> set[str]:
        """The runs that have been started and are not at work yet."""
        return {one.launched.run.name for one in self._tended if not one.begun}

    def settle(self) -> None:
        """Leaves the commands to themselves."""
        for one in self._tended:
            one.launched.settle()

    async def _tend(self) -> None:
        while self._tended:
            await asyncio.sleep(LOOK_EVERY_S)
            for one in tuple(self._tended):
                begun, code = await asyncio.to_thread(_look, one.launched)
                if begun and not one.begun:
                    one.begun = True
                    one.told.post_message(LaunchBegun(one.launched.run.name))
                if code is not None:
                    self._tended.remove(one)
                    self._end(one, code)

    def _end(self, one: _Tended, code: int) -> None:
        run, words = one.launched.run.name, one.launched.output().removeprefix("error: ")
        last = words.splitlines()[-1].removeprefix("error: ") if words else ""
        if not one.begun:
            one.launched.forget()
            one.told.post_message(LaunchRefused(run, words or f"{command_line(one.launched.words)} {_ended(code)}"))
        elif code == 0:
            self._app.say(f"{run}: done")
        elif code == INTERRUPTED:
            self._app.say(f"{run}: stopped and saved")
        elif killed_by(code):
            self._app.say(f"{run} {_ended(code)}", "error")  # it had no time to say why
        else:
            self._app.say(f"{run} {_ended(code)}: {last}", "error")


def _ended(code: int) -> str:
    """How a process ended."""
    return f"was killed (signal {signal})" if (signal := killed_by(code)) else f"ended with code {code}"


def _look(launched: Launched) -> tuple[bool, int | None]:
    begun, code = launched.begun(), launched.ended()
    launched.settle()
    return begun, code
