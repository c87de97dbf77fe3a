"""The Runs mode: every run of the folder at a glance, looked at each second, and what can be done with one of them."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import Screen
from textual.widgets import DataTable, Input, OptionList, Static

from engine.core.errors import FileError
from engine.run.planning import DEFAULT_PRESET
from engine.rundir.directory import RunDir
from slmctl.console.safe import one_line
from slmctl.runs.command_form import Draft
from slmctl.runs.details import RunDetails, read_details
from slmctl.runs.launch import STAGE_COMMANDS, command_line
from slmctl.runs.overview import RunSummary
from slmctl.tui.messages import FilterChanged, LaunchBegun, LaunchRefused, OpenForm, RunRead, RunsSeen
from slmctl.tui.runs.run_detail import RunDetail
from slmctl.tui.runs.runs_table import STARTING, RunsTable
from slmctl.tui.runs.welcome import Welcome
from slmctl.tui.watch.follow import send_request
from slmctl.tui.watch.messages import RequestSent
from slmctl.tui.widgets.filter_line import FilterLine
from slmctl.watch.controls import RESUMABLE, nothing_to_do

if TYPE_CHECKING:
    from slmctl.tui.app import Playground

LOOK_EVERY_S = 1.0
OF_A_RUN = ("chat", "label", "go_on", "copy", "filter")


class RunsScreen(Screen[None]):
    """The table of the runs and the chosen one; in an empty folder, a welcome."""

    AUTO_FOCUS = ""  # the table or the welcome has it once it is known which; by itself Textual takes the hidden filter
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "tiny", "Run tiny", id="runs.tiny"),
        Binding("c", "chat", "Chat", id="runs.chat"),
        Binding("l", "label", "Label", id="runs.label"),
        Binding("n", "new", "New", id="runs.new"),
        Binding("g", "go_on", "Go on", id="runs.go_on"),
        Binding("slash", "filter", "Filter", id="runs.filter"),
        Binding("y", "copy", "Copy name", id="runs.copy"),
        Binding("x", "change('stop')", "Stop", id="runs.stop"),
        Binding("r", "change('rename')", "Rename", id="runs.rename"),
        Binding("d", "change('delete')", "Delete", id="runs.delete"),
        Binding("escape", "all", "All runs", id="runs.all", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._runs: tuple[RunSummary, ...] = ()
        self._filter = ""
        self._found: RunDetails | None = None
        self._read_as: RunSummary | None = None
        self._looking = False
        self._now = 0.0

    @property
    def _playground(self) -> "Playground":
        return cast("Playground", self.app)

    def compose(self) -> ComposeResult:
        """The summary, the filter, the table beside or above the detail; the welcome in their place."""
        start = self._playground.start
        yield Static("", markup=False, id="runs-summary")
        yield FilterLine()
        with Container(id="runs-body"):
            yield RunsTable()
            yield RunDetail()
        yield Welcome(str(start.home))

    def on_mount(self) -> None:
        """Begins to look."""
        self.query_one("#runs-body").display = False
        self.query_one(Welcome).display = False
        self._look()
        self._timer = self.set_interval(LOOK_EVERY_S, self._look)

    def on_screen_suspend(self) -> None:
        """Rests while another mode is shown."""
        self._timer.pause()

    def on_screen_resume(self) -> None:
        """Looks at once when the mode is shown again."""
        if self.is_mounted:
            self._timer.resume()
            self._choose_watched()  # before the next key moves the cursor
            self._look()

    def _look(self) -> None:
        if not self._looking:
            self._looking = True
            self.run_worker(self._look_once(), group="look")

    async def _look_once(self) -> None:
        now = time.time()
        try:
            seen = RunsSeen(tuple(await asyncio.to_thread(self._playground.overview.rows, now)), now)
        except FileError as error:
            seen = RunsSeen((), now, str(error))
        finally:
            self._looking = False
        self.post_message(seen)

    def on_runs_seen(self, message: RunsSeen) -> None:
        """Shows the runs as they stand."""
        starting = self._playground.launches.starting()
        self._runs = tuple(replace(run, state=STARTING) if run.run in starting else run for run in message.runs)
        self._now = message.now
        empty = not message.runs and not message.error
        welcome = self.query_one(Welcome)
        body = self.query_one("#runs-body")
        if welcome.display != empty or body.display == empty:
            welcome.display, body.display = empty, not empty
            self.refresh_bindings()
            self.set_focus(self.query_one(OptionList if empty else RunsTable))
        self._show(message.error)
        self._choose_watched()
        self._playground.watched = ""

    def _choose_watched(self) -> None:
        """Puts the cursor on the run that was watched last, once it is in the table."""
        if self.query_one(RunsTable).choose(self._playground.watched):
            self._playground.watched = ""

    def _show(self, error: str = "") -> None:
        shown = [run for run in self._runs if _fits(run, self._filter)]
        self.query_one(RunsTable).show(shown, self._now)
        at_work = sum(run.active for run in self._runs)
        runs = "1 run" if len(self._runs) == 1 else f"{len(self._runs)} runs"
        count = f'{len(shown)} of {runs} for "{self._filter}" (esc shows all)' if self._filter else runs
        summary = error or f"{count}, {at_work} at work"
        self.query_one("#runs-summary", Static).update(Content(one_line(summary if self._runs or error else "")))
        self._show_chosen()

    def _chosen(self) -> RunSummary | None:
        name = self.query_one(RunsTable).chosen()
        return next((run for run in self._runs if run.run == name), None)

    def _show_chosen(self) -> None:
        run = self._chosen()
        found = self._found if run is not None and self._found is not None and self._found.run == run.run else None
        self.query_one(RunDetail).show(run, found, self._now)
        if run is not None and run != self._read_as:
            self._read_as = run
            self.run_worker(self._read(run), group="read", exclusive=True)

    async def _read(self, run: RunSummary) -> None:
        directory = RunDir(Path(self._playground.start.home) / run.run)
        self.post_message(RunRead(await asyncio.to_thread(read_details, directory, run)))

    def on_run_read(self, message: RunRead) -> None:
        """Shows what was found in the events of the chosen run."""
        self._found = message.found
        self._show_chosen()

    def on_data_table_row_highlighted(self, message: DataTable.RowHighlighted) -> None:
        """Shows the run that the cursor is on."""
        message.stop()
        self._show_chosen()

    async def on_data_table_row_selected(self, message: DataTable.RowSelected) -> None:
        """Watches the chosen run."""
        message.stop()
        if run := self._chosen():
            await self._playground.open_train((run.run,))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What needs a run rests where there is none, the first run is offered only there, and the filter's key is a
        character like others where text is typed."""
        if action == "tiny":
            return self.query_one(Welcome).display
        if action == "filter" and isinstance(self.focused, Input):
            return False
        if action == "all":
            return bool(self._filter)
        if action == "change":
            run = self._chosen()
            return run is not None and parameters[0] in self._playground.run_changes.offered(run)
        return action not in OF_A_RUN or bool(self._runs)

    async def action_chat(self) -> None:
        """Talks to the chosen run's policies, the last two side by side."""
        if (run := self._chosen()) and self._has_policy(run):
            tuned = [name for name in run.policies if not name.endswith(":base")]
            await self._playground.open_chat(tuned[-2:] or run.policies[-1:])

    async def action_label(self) -> None:
        """Labels responses of the chosen run's last policy."""
        if (run := self._chosen()) and self._has_policy(run):
            await self._playground.open_label(run.policies[-1:])

    def _has_policy(self, run: RunSummary) -> bool:
        if not run.policies:
            self._playground.say(f"{run.run} has no finished model to talk to yet", "warning")
        return bool(run.policies)

    def action_filter(self) -> None:
        """Opens the line that narrows the table down."""
        self.query_one(FilterLine).open()

    def action_all(self) -> None:
        """Takes the filter off."""
        self.query_one(FilterLine).action_drop()

    def on_filter_changed(self, message: FilterChanged) -> None:
        """Narrows the table down."""
        self._filter = message.text
        self._show()
        if message.done:
            self.set_focus(self.query_one(RunsTable))

    def action_copy(self) -> None:
        """Copies the chosen run's name."""
        if run := self._chosen():
            self._playground.copy(run.run)

    def action_change(self, change: str) -> None:
        """Stops, renames or deletes the chosen run, after asking."""
        if run := self._chosen():
            self._playground.run_changes.begin(change, run.run)

    def action_new(self) -> None:
        """Opens the form as it was left."""
        self._open_form(None)

    async def action_go_on(self) -> None:
        """Goes on with what was asked of the chosen run; where that is done, opens the form for what is left."""
        if (run := self._chosen()) is None:
            return
        directory = RunDir(self._playground.start.home / run.run)
        if run.state in RESUMABLE:
            await self._playground.launches.go_on(directory, run.last, self)
        elif run.state == "paused":
            self.post_message(await asyncio.to_thread(send_request, directory, "resume"))
        elif run.state == "finished" and run.last in STAGE_COMMANDS:
            self._open_form(Draft("run", run=run.run))
        else:
            self._playground.say(nothing_to_do("go on with", run.run, run.state), "warning")

    def on_request_sent(self, message: RequestSent) -> None:
        """Says that the paused run was told to go on."""
        if message.error:
            self._playground.say(f"{message.run}: cannot ask it to go on: {message.error}", "error")
        else:
            self._playground.say(f"{message.run} was asked to go on")

    def on_open_form(self, message: OpenForm) -> None:
        """Opens the form for a stage, from a parent if one is named."""
        preset = "" if message.parent else DEFAULT_PRESET
        self._open_form(Draft(message.target, preset, parent=message.parent or ""))

    def _open_form(self, draft: Draft | None) -> None:
        from slmctl.tui.runs.form import FormScreen

        if not self.app.is_screen_installed("form"):
            self.app.install_screen(FormScreen(draft or Draft(preset=DEFAULT_PRESET)), "form")
        else:
            self.app.get_screen("form", FormScreen).begin(draft)
        self.app.push_screen("form")

    async def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Does what the welcome offers."""
        message.stop()
        offers = {"tiny": "tiny", "form": "new", "help": "app.help"}
        await self.run_action(offers[message.option_id or "help"])

    async def action_tiny(self) -> None:
        """Starts the first run."""
        draft = Draft(preset=DEFAULT_PRESET)
        self.query_one(Welcome).answer(f"starting: {command_line(draft.words())}")
        run = RunDir(self._playground.start.home / draft.name)
        await self._playground.launches.start(draft.words(), run, self)

    async def on_launch_begun(self, message: LaunchBegun) -> None:
        """Shows the run at work, unless one has gone elsewhere."""
        self.query_one(Welcome).answer("")
        if self.is_current:
            await self._playground.open_train((message.run,))

    def on_launch_refused(self, message: LaunchRefused) -> None:
        """Says why the run did not begin."""
        welcome = self.query_one(Welcome)
        welcome.answer(message.error)
        if not welcome.display:
            self._playground.say(f"{message.run} does not go on: {message.error}", "error")


def _fits(run: RunSummary, words: str) -> bool:
    """Whether a run holds every word of a filter in its name, preset, state or stage."""
    text = " ".join((run.run, run.preset or "", run.state, run.stage or "")).lower()
    return all(word in text for word in words.lower().split())
