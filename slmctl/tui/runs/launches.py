"""The commands started from this playground, followed until they end; stopping, deleting and renaming runs.

A command outlives the playground. Its starter receives LaunchBegun or LaunchRefused; a note shows how it ended.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump

from engine.core.errors import INTERRUPTED, EngineError
from engine.rundir.directory import RunDir, check_name
from slmctl.runs.changes import check_unused, delete_run, rename_run, stop_run
from slmctl.runs.launch import LaunchedCommand, command_line, killed_by, launch, resume_words
from slmctl.runs.overview import RunSummary
from slmctl.tui.widgets.dialogs import ConfirmDialog, LineDialog, confirm_stop

LOOK_EVERY_S = 0.2


@dataclass
class LaunchBegun(Message, bubble=False):
    """To the screen that started a command: it has begun to work on this run."""

    run: str


@dataclass
class LaunchRefused(Message, bubble=False):
    """To the screen that started a command: it ended before it began, with this error."""

    run: str
    error: str


@dataclass
class _Followed:
    launched: LaunchedCommand
    starter: MessagePump
    begun: bool = False


class LaunchedCommands:
    """The commands that are running, polled until the last has ended; `say` shows a note."""

    def __init__(self, app: App[Any], say: Callable[..., None]) -> None:
        self._app, self._say = app, say
        self._followed: list[_Followed] = []

    async def start(self, words: Sequence[str], run: RunDir, starter: MessagePump) -> None:
        """Starts a command; `starter` receives LaunchBegun or LaunchRefused."""
        try:
            launched = await asyncio.to_thread(launch, words, run, os.environ)
        except EngineError as error:
            starter.post_message(LaunchRefused(run.name, str(error)))
            return
        self._followed.append(followed := _Followed(launched, starter))
        self._app.run_worker(self._follow(followed), group="launches")

    async def resume(self, run: RunDir, last: str, starter: MessagePump) -> None:
        """Starts the command that resumes a run up to its stage `last`."""
        words = resume_words(run.name, last)
        self._say(f"starting: {command_line(words)}")
        await self.start(words, run, starter)

    def starting(self) -> set[str]:
        """The runs that were started and have not begun yet."""
        return {one.launched.run.name for one in self._followed if not one.begun}

    def settle(self) -> None:
        """Moves the logs into the run directories before the playground ends."""
        for one in self._followed:
            one.launched.settle()

    async def _follow(self, one: _Followed) -> None:
        code = None
        while code is None:
            await asyncio.sleep(LOOK_EVERY_S)
            begun, code = await asyncio.to_thread(_look, one.launched)
            if begun and not one.begun:
                one.begun = True
                one.starter.post_message(LaunchBegun(one.launched.run.name))
        self._followed.remove(one)
        self._end(one, code)

    def _end(self, one: _Followed, code: int) -> None:
        run, words = one.launched.run.name, one.launched.output().removeprefix("error: ")
        last = words.splitlines()[-1].removeprefix("error: ") if words else ""
        if not one.begun:
            one.launched.discard_log()
            one.starter.post_message(LaunchRefused(run, words or f"{command_line(one.launched.words)} {_ended(code)}"))
        elif code == 0:
            self._say(f"{run} finished")
        elif code == INTERRUPTED:
            self._say(f"{run} stopped and saved")
        elif killed_by(code):
            self._say(f"{run} {_ended(code)}", "error")  # without a message
        else:
            self._say(f"{run} {_ended(code)}: {last}", "error")


def _ended(code: int) -> str:
    """How a process ended, in words."""
    return f"was killed (signal {signal})" if (signal := killed_by(code)) else f"ended with code {code}"


def _look(launched: LaunchedCommand) -> tuple[bool, int | None]:
    begun, code = launched.begun(), launched.ended()
    launched.settle()
    return begun, code


class RunChanges:
    """Asks and then changes a run of `home`, each in a worker of its own.

    `say` shows a note, `renamed` is called with the new name of a run.
    """

    def __init__(self, app: App[Any], home: Path, say: Callable[..., None], renamed: Callable[[str], object]) -> None:
        self._app, self._home, self._say, self._renamed = app, home, say, renamed

    def offered(self, run: RunSummary) -> list[str]:
        """What can be done with a run in its state."""
        return ["stop"] if run.active else ["rename", "delete"]

    def begin(self, change: str, name: str) -> None:
        """Asks, then stops, renames or deletes a run."""
        self._app.run_worker(self._change(change, name), group="changes")

    async def _change(self, change: str, name: str) -> None:
        try:
            await {"stop": self._stop, "rename": self._rename, "delete": self._delete}[change](name)
        except EngineError as error:
            self._say(str(error), "error")

    async def _stop(self, name: str) -> None:
        if await self._app.push_screen_wait(confirm_stop(name)):
            await asyncio.to_thread(stop_run, self._home, name, time.time())
            self._say(f"{name} will stop after this step")

    async def _delete(self, name: str) -> None:
        await asyncio.to_thread(check_unused, self._home, name, time.time())
        consequence = "Its models, samples and labels are deleted for good."
        if await self._app.push_screen_wait(ConfirmDialog("delete", name, consequence)):
            await asyncio.to_thread(delete_run, self._home, name, time.time())
            self._say(f"deleted {name}")

    async def _rename(self, name: str) -> None:
        await asyncio.to_thread(check_unused, self._home, name, time.time())
        dialog = LineDialog(f"Rename {name}", "enter renames · esc cancels", name, check_name)
        new = await self._app.push_screen_wait(dialog)
        if new is not None and new != name:
            await asyncio.to_thread(rename_run, self._home, name, new, time.time())
            self._renamed(new)
            self._say(f"renamed {name} to {new}")
