"""The commands started from this playground, followed until they end.

A command outlives the playground. Its starter receives LaunchBegun or LaunchRefused; a note shows how it ended.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message_pump import MessagePump

from engine.core.errors import INTERRUPTED, EngineError
from engine.rundir.directory import RunDir
from slmctl.runs.launch import LaunchedCommand, command_line, killed_by, launch, resume_words
from slmctl.tui.runs.messages import LaunchBegun, LaunchRefused

if TYPE_CHECKING:
    from slmctl.tui.app import Playground

LOOK_EVERY_S = 0.2


@dataclass
class _Followed:
    launched: LaunchedCommand
    starter: MessagePump
    begun: bool = False


class LaunchedCommands:
    """The commands that are running, polled until the last has ended."""

    def __init__(self, app: "Playground") -> None:
        self._app = app
        self._followed: list[_Followed] = []

    async def start(self, words: Sequence[str], run: RunDir, starter: MessagePump) -> None:
        """Starts a command; `starter` receives LaunchBegun or LaunchRefused."""
        try:
            launched = await asyncio.to_thread(launch, words, run, os.environ)
        except EngineError as error:
            starter.post_message(LaunchRefused(run.name, str(error)))
            return
        self._followed.append(_Followed(launched, starter))
        if len(self._followed) == 1:
            self._app.run_worker(self._follow(), group="launches")

    async def resume(self, run: RunDir, last: str, starter: MessagePump) -> None:
        """Starts the command that resumes a run up to its stage `last`."""
        words = resume_words(run.name, last)
        self._app.say(f"starting: {command_line(words)}")
        await self.start(words, run, starter)

    def starting(self) -> set[str]:
        """The runs that were started and have not begun yet."""
        return {one.launched.run.name for one in self._followed if not one.begun}

    def settle(self) -> None:
        """Moves the logs into the run directories before the playground ends."""
        for one in self._followed:
            one.launched.settle()

    async def _follow(self) -> None:
        while self._followed:
            await asyncio.sleep(LOOK_EVERY_S)
            for one in tuple(self._followed):
                begun, code = await asyncio.to_thread(_look, one.launched)
                if begun and not one.begun:
                    one.begun = True
                    one.starter.post_message(LaunchBegun(one.launched.run.name))
                if code is not None:
                    self._followed.remove(one)
                    self._end(one, code)

    def _end(self, one: _Followed, code: int) -> None:
        run, words = one.launched.run.name, one.launched.output().removeprefix("error: ")
        last = words.splitlines()[-1].removeprefix("error: ") if words else ""
        if not one.begun:
            one.launched.discard_log()
            one.starter.post_message(LaunchRefused(run, words or f"{command_line(one.launched.words)} {_ended(code)}"))
        elif code == 0:
            self._app.say(f"{run} finished")
        elif code == INTERRUPTED:
            self._app.say(f"{run} stopped and saved")
        elif killed_by(code):
            self._app.say(f"{run} {_ended(code)}", "error")  # without a message
        else:
            self._app.say(f"{run} {_ended(code)}: {last}", "error")


def _ended(code: int) -> str:
    """How a process ended, in words."""
    return f"was killed (signal {signal})" if (signal := killed_by(code)) else f"ended with code {code}"


def _look(launched: LaunchedCommand) -> tuple[bool, int | None]:
    begun, code = launched.begun(), launched.ended()
    launched.settle()
    return begun, code
