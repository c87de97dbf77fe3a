"""Stopping, deleting and renaming a run from the screen: a question first, then what came of it as a note."""

import asyncio
import time
from typing import TYPE_CHECKING

from engine.core.errors import EngineError
from engine.rundir.directory import check_name
from slmctl.runs.changes import check_unused, delete_run, rename_run, stop_run
from slmctl.runs.overview import RunSummary
from slmctl.tui.widgets.dialogs import ConfirmDialog, LineDialog, confirm_stop

if TYPE_CHECKING:
    from slmctl.tui.app import Playground


class RunChanges:
    """Asks and then changes a run, each in a worker of its own."""

    def __init__(self, app: "Playground") -> None:
        self._app = app

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
            self._app.say(str(error), "error")

    async def _stop(self, name: str) -> None:
        home = self._app.start.home
        if await self._app.push_screen_wait(confirm_stop(name)):
            await asyncio.to_thread(stop_run, home, name, time.time())
            self._app.say(f"{name} will stop after this step")

    async def _delete(self, name: str) -> None:
        home = self._app.start.home
        await asyncio.to_thread(check_unused, home, name, time.time())
        consequence = "Its models, samples and labels are deleted for good."
        if await self._app.push_screen_wait(ConfirmDialog("delete", name, consequence)):
            await asyncio.to_thread(delete_run, home, name, time.time())
            self._app.say(f"deleted {name}")

    async def _rename(self, name: str) -> None:
        home = self._app.start.home
        await asyncio.to_thread(check_unused, home, name, time.time())
        dialog = LineDialog(f"Rename {name}", "enter renames · esc cancels", name, check_name)
        new = await self._app.push_screen_wait(dialog)
        if new is not None and new != name:
            await asyncio.to_thread(rename_run, home, name, new, time.time())
            self._app.watched = new  # the table's cursor follows it
            self._app.say(f"renamed {name} to {new}")
