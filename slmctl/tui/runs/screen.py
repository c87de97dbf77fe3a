"""The Runs mode: all runs with their states, refreshed each second, and what can be done with the selected one."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import DataTable, Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.core.errors import FileError
from engine.run.planning import DEFAULT_PRESET
from engine.rundir.directory import RunDir
from slmctl.console.safe import clean, one_line
from slmctl.runs.command_form import CommandDraft
from slmctl.runs.launch import STAGE_COMMANDS, command_line
from slmctl.runs.overview import RunDetails, RunSummary, read_details
from slmctl.tui.messages import FilterChanged, OpenForm
from slmctl.tui.runs.launches import LaunchBegun, LaunchRefused
from slmctl.tui.runs.runs_table import STARTING, DetailsRead, RunDetail, RunsSeen, RunsTable
from slmctl.tui.watch.follow import send_request
from slmctl.tui.watch.messages import RequestSent
from slmctl.tui.widgets.filter_line import FilterLine
from slmctl.tui.widgets.option_list import SafeOptionList
from slmctl.watch.controls import RESUMABLE, nothing_to_do

if TYPE_CHECKING:
    from slmctl.tui.app import Playground

LOOK_EVERY_S = 1.0
NEED_A_RUN = ("chat", "label", "resume", "copy", "filter")
ABOUT = (
    "slmctl trains a small language model from human feedback, step by step: base model, fine-tuning, reward model, "
    "PPO. Start a run and watch it learn, chat with its models, and label its responses to teach it your preferences."
)
OFFERS = (
    ("tiny", "t", "run tiny", "the whole pipeline in about five minutes, no download"),
    ("new", "n", "custom run", "another preset, your own data, any setting"),
    ("app.help", "?", "help", "the keys that work here"),
)
KEY, NAME = 3, 20


class Welcome(Vertical):
    """Two sentences and what can be done first; `place` is the empty folder of runs."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place

    def compose(self) -> ComposeResult:
        """The sentences, the offers, and a line for the result of the chosen offer."""
        yield Static(Content(ABOUT), id="welcome-about")
        yield Static(Content(f"No runs in {one_line(self._place)} yet. To start:"), id="welcome-place")
        yield SafeOptionList(
            *(Option(_offer(*offer), id=offer[0]) for offer in OFFERS), id="welcome-offers", compact=True
        )
        yield Static("", markup=False, id="welcome-answer")

    def answer(self, text: str) -> None:
        """Shows the result of the chosen offer."""
        self.query_one("#welcome-answer", Static).update(Content(clean(text)))


def _offer(_: str, key: str, name: str, text: str) -> Content:
    return Content.assemble((f"{key:<{KEY}}", "bold $text-accent"), (f"{name:<{NAME}}", "bold"), text)


class RunsScreen(Screen[None]):
    """The table of runs and the selected one; in an empty folder, a welcome."""

    AUTO_FOCUS = ""  # set once it is known whether there are runs; Textual itself would focus the hidden filter
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "tiny", "Run tiny", id="runs.tiny"),
        Binding("c", "chat", "Chat", id="runs.chat"),
        Binding("l", "label", "Label", id="runs.label"),
        Binding("n", "new", "New", id="runs.new"),
        Binding("g", "resume", "Resume", id="runs.resume"),
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
        self._details: RunDetails | None = None
        self._details_for: RunSummary | None = None
        self._looking = False
        self._looked_for = ""  # the watched run when the last look began
        self._now = 0.0

    @property
    def _playground(self) -> "Playground":
        return cast("Playground", self.app)

    def compose(self) -> ComposeResult:
        """The summary, the filter, the table beside or above the details; or the welcome."""
        start = self._playground.start
        yield Static("", markup=False, id="runs-summary")
        yield FilterLine()
        with Container(id="runs-body"):
            yield RunsTable()
            yield RunDetail()
        yield Welcome(str(start.home))

    def on_mount(self) -> None:
        """Starts to look at the runs."""
        self.query_one("#runs-body").display = False
        self.query_one(Welcome).display = False
        self._look()
        self._timer = self.set_interval(LOOK_EVERY_S, self._look)

    def on_screen_suspend(self) -> None:
        """Pauses while another mode is shown."""
        self._timer.pause()

    def on_screen_resume(self) -> None:
        """Looks at once when the mode is shown again."""
        if self.is_mounted:
            self._timer.resume()
            self._select_watched()  # before the next key moves the cursor
            self._look()

    def _look(self) -> None:
        if not self._looking:
            self._looking, self._looked_for = True, self._playground.watched
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
        """Shows the runs in their states."""
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
        if self.app.current_mode == "runs":
            self._select_watched()
            if self._playground.watched == self._looked_for:  # else it was renamed after this look
                self._playground.watched = ""

    def _select_watched(self) -> None:
        """Moves the cursor to the run that was watched last, once it is in the table."""
        if self.query_one(RunsTable).select(self._playground.watched):
            self._playground.watched = ""

    def _show(self, error: str = "") -> None:
        shown = [run for run in self._runs if _matches(run, self._filter)]
        self.query_one(RunsTable).show(shown, self._now)
        active = sum(run.active for run in self._runs)
        runs = "1 run" if len(self._runs) == 1 else f"{len(self._runs)} runs"
        count = f'{len(shown)} of {runs} for "{self._filter}" (esc shows all)' if self._filter else runs
        summary = error or f"{count}, {active} active"
        self.query_one("#runs-summary", Static).update(Content(one_line(summary if self._runs or error else "")))
        self._show_selected()

    def _selected(self) -> RunSummary | None:
        name = self.query_one(RunsTable).selected()
        return next((run for run in self._runs if run.run == name), None)

    def _show_selected(self) -> None:
        run = self._selected()
        known = run is not None and self._details is not None and self._details.run == run.run
        self.query_one(RunDetail).show(run, self._details if known else None, self._now)
        if run is not None and run != self._details_for:
            self._details_for = run
            self.run_worker(self._read(run), group="read", exclusive=True)

    async def _read(self, run: RunSummary) -> None:
        directory = RunDir(Path(self._playground.start.home) / run.run)
        self.post_message(DetailsRead(await asyncio.to_thread(read_details, directory, run)))

    def on_details_read(self, message: DetailsRead) -> None:
        """Shows the details of the selected run."""
        self._details = message.details
        self._show_selected()

    def on_data_table_row_highlighted(self, message: DataTable.RowHighlighted) -> None:
        """Shows the run under the cursor."""
        message.stop()
        self._show_selected()

    async def on_data_table_row_selected(self, message: DataTable.RowSelected) -> None:
        """Opens the selected run in Train."""
        message.stop()
        if run := self._selected():
            await self._playground.open_train((run.run,))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disables what needs a run without one, the first run with one, and the filter's key while text is typed."""
        if action == "tiny":
            return self.query_one(Welcome).display
        if action == "filter" and isinstance(self.focused, Input):
            return False
        if action == "all":
            return bool(self._filter)
        if action == "change":
            run = self._selected()
            return run is not None and parameters[0] in self._playground.run_changes.offered(run)
        return action not in NEED_A_RUN or bool(self._runs)

    async def action_chat(self) -> None:
        """Chats with the selected run's last two policies side by side."""
        if (run := self._selected()) and self._has_policy(run):
            tuned = [name for name in run.policies if not name.endswith(":base")]
            await self._playground.open_chat(tuned[-2:] or run.policies[-1:])

    async def action_label(self) -> None:
        """Labels responses of the selected run's last policy."""
        if (run := self._selected()) and self._has_policy(run):
            await self._playground.open_label(run.policies[-1:])

    def _has_policy(self, run: RunSummary) -> bool:
        if not run.policies:
            self._playground.say(f"{run.run} has no finished model yet", "warning")
        return bool(run.policies)

    def action_filter(self) -> None:
        """Opens the filter."""
        self.query_one(FilterLine).open()

    def action_all(self) -> None:
        """Clears the filter."""
        self.query_one(FilterLine).action_clear()

    def on_filter_changed(self, message: FilterChanged) -> None:
        """Filters the table."""
        self._filter = message.text
        self._show()
        if message.done:
            self.set_focus(self.query_one(RunsTable))

    def action_copy(self) -> None:
        """Copies the selected run's name."""
        if run := self._selected():
            self._playground.copy(run.run)

    def action_change(self, change: str) -> None:
        """Stops, renames or deletes the selected run, after asking."""
        if run := self._selected():
            self._playground.run_changes.begin(change, run.run)

    def action_new(self) -> None:
        """Opens the form as it was left."""
        self._open_form(None)

    async def action_resume(self) -> None:
        """Resumes the selected run; if its stage is finished, opens the form for the remaining stages."""
        if (run := self._selected()) is None:
            return
        directory = RunDir(self._playground.start.home / run.run)
        if run.state in RESUMABLE:
            await self._playground.launches.resume(directory, run.last, self)
        elif run.state == "paused":
            self.post_message(await asyncio.to_thread(send_request, directory, "resume"))
        elif run.state == "finished" and run.last in STAGE_COMMANDS:
            self._open_form(CommandDraft("run", run=run.run))
        else:
            self._playground.say(nothing_to_do("resume", run.run, run.state), "warning")

    def on_request_sent(self, message: RequestSent) -> None:
        """Shows whether the paused run was asked to resume."""
        if message.error:
            self._playground.say(f"{message.run}: cannot be resumed: {message.error}", "error")
        else:
            self._playground.say(f"{message.run} will resume")

    def on_open_form(self, message: OpenForm) -> None:
        """Opens the form for a stage, with a parent if one is named."""
        preset = "" if message.parent else DEFAULT_PRESET
        self._open_form(CommandDraft(message.target, preset, parent=message.parent or ""))

    def _open_form(self, draft: CommandDraft | None) -> None:
        from slmctl.tui.runs.form import FormScreen

        if not self.app.is_screen_installed("form"):
            self.app.install_screen(FormScreen(draft or CommandDraft(preset=DEFAULT_PRESET)), "form")
        else:
            self.app.get_screen("form", FormScreen).begin(draft)
        self.app.push_screen("form")

    async def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Does what was chosen in the welcome."""
        message.stop()
        await self.run_action(message.option_id or "app.help")

    async def action_tiny(self) -> None:
        """Starts the first run."""
        draft = CommandDraft(preset=DEFAULT_PRESET)
        self.query_one(Welcome).answer(f"starting: {command_line(draft.words())}")
        run = RunDir(self._playground.start.home / draft.name)
        await self._playground.launches.start(draft.words(), run, self)

    async def on_launch_begun(self, message: LaunchBegun) -> None:
        """Opens the run in Train, unless another mode is shown."""
        self.query_one(Welcome).answer("")
        if self.is_current:
            await self._playground.open_train((message.run,))

    def on_launch_refused(self, message: LaunchRefused) -> None:
        """Shows why the run did not begin."""
        welcome = self.query_one(Welcome)
        welcome.answer(message.error)
        if not welcome.display:
            self._playground.say(f"{message.run} did not start: {message.error}", "error")


def _matches(run: RunSummary, words: str) -> bool:
    """Whether a run's name, preset, state or stage contains every word of a filter."""
    text = " ".join((run.run, run.preset or "", run.state, run.stage or "")).lower()
    return all(word in text for word in words.lower().split())
