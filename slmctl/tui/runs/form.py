"""The form that starts a stage, or everything: what, with which settings, the command that this makes, what it will do.

It starts the very command that it shows. What is chosen stays until a run has begun.
"""

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Button, DataTable, Input, Static

from engine.core.errors import EngineError, FileError
from engine.run.planning import DEFAULT_PRESET
from engine.rundir.directory import RunDir
from slmctl.console.safe import clean, one_line
from slmctl.runs.command_form import TARGETS, Draft, Setting, fitted, outlook, record_of, settings_of
from slmctl.runs.launch import command_line
from slmctl.runs.overview import RunSummary
from slmctl.tui.messages import DraftChecked, FieldEdited, FilterChanged, LaunchBegun, LaunchRefused, RunsSeen
from slmctl.tui.runs.edit_line import EditLine
from slmctl.tui.runs.field_table import FieldTable
from slmctl.tui.runs.form_rows import CHANGED, Row, changed, fits, next_choice, rows_of
from slmctl.tui.widgets.filter_line import FilterLine
from slmctl.tui.widgets.key_line import KeyLine
from slmctl.tui.widgets.mode_bar import ModeBar

if TYPE_CHECKING:
    from slmctl.tui.app import Playground

CHOICES_SHOWN = 6
REST_S = 0.15  # typing and cycling come in bursts; what it would do is asked once they rest


class FormScreen(Screen[None]):
    """A draft, its rows, and what it comes to."""

    HELP = "Start: choose what to run and with which settings. The command below is what will be started."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "start", "Start", id="form.start"),
        Binding("slash", "filter", "Filter", id="form.filter"),
        Binding("y", "copy", "Copy", id="form.copy"),
        Binding("escape", "all", "All rows", id="form.all", show=False),
    ]

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._draft = draft
        self._settings: list[Setting] = []
        self._rows: list[Row] = []
        self._runs: tuple[RunSummary, ...] = ()
        self._filter = ""
        self._problem = ""
        self._told = ("", False)
        self._refused: dict[str, str] = {}  # by the row's key, why what was typed was not taken
        self._starting = False

    @property
    def _playground(self) -> "Playground":
        return cast("Playground", self.app)

    def compose(self) -> ComposeResult:
        """The rows, and below or beside them the row that is chosen, the command and what it will do."""
        app = self._playground
        yield ModeBar("runs", app.key_of, str(app.start.home))
        with Horizontal(id="form-head"):
            yield Static("", markup=False, id="form-title")
            yield Button("Start", "primary", id="form-start", compact=True)
        yield FilterLine()
        with Container(id="form-body"):
            yield FieldTable()
            with VerticalScroll(id="form-side", can_focus=False):
                yield EditLine()
                yield Static("", markup=False, id="form-about")
                yield Static("", markup=False, id="form-command")
                yield Static("", markup=False, id="form-outlook")
        yield KeyLine()

    def on_mount(self) -> None:
        """Shows the draft."""
        self.set_focus(self.query_one(FieldTable))
        self._take(self._draft)

    def begin(self, draft: Draft | None) -> None:
        """Shows all rows, of another draft where there is one."""
        self.query_one(FilterLine).empty()
        self._filter = ""
        self.set_focus(self.query_one(FieldTable))
        if draft is not None:
            self._refused.clear()
        self._take(draft or self._draft)

    def on_screen_resume(self) -> None:
        """Looks which runs and models there are to choose from."""
        self.run_worker(self._look(), group="look", exclusive=True)

    async def _look(self) -> None:
        try:
            runs = await asyncio.to_thread(self._playground.overview.rows, 0.0)
        except FileError:
            runs = []
        self.post_message(RunsSeen(tuple(runs), 0.0))

    def on_runs_seen(self, message: RunsSeen) -> None:
        """Offers what there is."""
        message.stop()
        self._runs = message.runs
        self._take(self._draft)

    def _take(self, draft: Draft) -> None:
        """Shows a draft, and has it checked."""
        self._draft = draft
        home, preset = self._playground.start.home, draft.preset or DEFAULT_PRESET
        try:
            record = record_of(draft, home)
            preset = record.preset if record is not None else preset
            self._settings = settings_of(replace(fitted(draft, home), settings={}), home, os.environ)
        except EngineError:
            pass  # the check says it; the rows stay as they were
        self._rows = rows_of(draft, self._settings, self._runs, preset)
        self._show()
        self.run_worker(self._check(self._command()), group="check", exclusive=True)

    def _command(self) -> Draft:
        return fitted(self._draft, self._playground.start.home)

    async def _check(self, draft: Draft) -> None:
        await asyncio.sleep(REST_S)
        try:
            text, refused = await asyncio.to_thread(outlook, draft, self._playground.start.home, os.environ), False
        except EngineError as error:
            text, refused = str(error), True
        self.post_message(DraftChecked(draft, text, refused))

    def on_draft_checked(self, message: DraftChecked) -> None:
        """Shows what the command would do, or why it would refuse."""
        if message.draft == self._command():
            self._problem = message.outlook if message.refused else ""
            self._tell(message.outlook, message.refused)

    def _tell(self, text: str, wrong: bool) -> None:
        """Says something of the command, below what was refused and is not mended yet."""
        self._told = (text, wrong)
        lines = [*((sentence, True) for sentence in self._refused.values()), self._told]
        parts = [Content.styled(clean(line), "bold $text-error" if bad else "") for line, bad in lines if line]
        self.query_one("#form-outlook", Static).update(Content("\n").join(parts))

    def _show(self) -> None:
        changed = sum(row.changed for row in self._rows)
        count = f"; {changed} changed ({CHANGED})" if changed else ""
        self.query_one("#form-title", Static).update(Content(f"Start {TARGETS[self._draft.target]}{count}"))
        self.query_one(FieldTable).show([row for row in self._rows if fits(row, self._filter)])
        command = one_line(command_line(self._command().words()))
        self.query_one("#form-command", Static).update(Content.assemble(("$ ", "bold"), command))
        self._show_row()

    def _chosen(self) -> Row | None:
        key = self.query_one(FieldTable).chosen()
        return next((row for row in self._rows if row.key == key), None)

    def _show_row(self) -> None:
        row = self._chosen()
        self.query_one("#form-about", Static).update(Content("") if row is None else _about(row))

    def on_data_table_row_highlighted(self, message: DataTable.RowHighlighted) -> None:
        """Says what the row under the cursor means."""
        message.stop()
        self._show_row()

    def on_data_table_row_selected(self, message: DataTable.RowSelected) -> None:
        """Edits the row."""
        message.stop()
        if row := self._chosen():
            self.query_one(EditLine).edit(row)

    def on_field_edited(self, message: FieldEdited) -> None:
        """Takes over what was typed."""
        message.stop()
        self.set_focus(self.query_one(FieldTable))
        row = next(row for row in self._rows if row.key == message.key)
        if message.text is not None:
            self._change(row, message.text)

    def action_cycle(self, step: int) -> None:
        """Takes the next of a row's choices."""
        if (row := self._chosen()) and row.choices:
            self._change(row, next_choice(row, step))

    def action_reset(self) -> None:
        """Takes a choice back."""
        row = self._chosen()
        if row is None:
            return
        if row.free | row.changed and row.key != "what":
            self._change(row, "")
        elif self._refused.pop(row.key, ""):
            self._tell(*self._told)

    def _change(self, row: Row, text: str) -> None:
        self.app.clear_notifications()  # they were about what stood there before
        self._refused.pop(row.key, None)
        if not row.free and text and text not in row.choices:
            told = f"{row.key} is {text!r}; it must be one of {', '.join(row.choices)}"
            self._refused[row.key] = f"{told}: not taken, change or reset that row"
        self._tell(*self._told)
        if row.key in self._refused:
            return
        before = next((setting.text for setting in self._settings if setting.name == row.key), "")
        self._take(changed(self._draft, row, text, before))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The filter's key is a character like others where text is typed; it can be taken off where there is one."""
        if action == "all":
            return bool(self._filter)
        return action != "filter" or not isinstance(self.focused, Input)

    def action_all(self) -> None:
        """Takes the filter off."""
        self.query_one(FilterLine).action_drop()

    def action_filter(self) -> None:
        """Opens the line that narrows the rows down."""
        self.query_one(FilterLine).open()

    def on_filter_changed(self, message: FilterChanged) -> None:
        """Narrows the rows down."""
        message.stop()
        self._filter = message.text
        self._show()
        if message.done:
            self.set_focus(self.query_one(FieldTable))

    def action_copy(self) -> None:
        """Copies the command."""
        self._playground.copy(command_line(self._command().words()))

    async def on_button_pressed(self, message: Button.Pressed) -> None:
        """Starts the command."""
        message.stop()
        await self.action_start()

    async def action_start(self) -> None:
        """Starts the command, unless it is known that it would refuse."""
        if self.query_one(EditLine).display:
            self._playground.say("first take what is being typed, by enter, or drop it, by esc", "warning")
            return
        problem = next(iter(self._refused.values()), self._problem)
        if self._starting or problem:
            self._playground.say(problem or "it is starting already", "warning")
            return
        command = self._command()
        self._starting = True
        self._tell(f"starting: {command_line(command.words())}", False)
        run = RunDir(self._playground.start.home / command.name)
        await self._playground.launches.start(command.words(), run, self)

    async def on_launch_begun(self, message: LaunchBegun) -> None:
        """Shows the run at work; the form is free for another."""
        self._starting = False
        here = self.is_current
        self.begin(Draft(preset=DEFAULT_PRESET))
        if here:
            await self._playground.open_mode("runs")
            await self._playground.open_train((message.run,))
        else:
            self._playground.say(f"{message.run} is at work")

    def on_launch_refused(self, message: LaunchRefused) -> None:
        """Says why nothing was started; what was chosen stays."""
        self._starting = False
        self._tell(message.error, True)
        if not self.is_current:
            self._playground.say(f"{message.run} was not started: {message.error}", "error")


def _about(row: Row) -> Content:
    """What a row means, what is allowed in it, where its value comes from."""
    choices = [choice for choice in row.choices if choice]
    offered = ", ".join(choices[:CHOICES_SHOWN]) + (" ..." if len(choices) > CHOICES_SHOWN else "")
    parts = [row.allowed, offered and f"{'there is' if row.free else 'one of'} {offered}"]
    parts += [f"from {row.origin}" if row.origin else ""]
    parts += [f"yours, in place of {row.instead}" if row.instead else "", "backspace resets it" if row.changed else ""]
    more = "; ".join(filter(None, parts))
    text = f"  {one_line(row.meaning)}" + (f" ({one_line(more)})" if more else "")
    return Content.assemble((one_line(row.key), "bold"), text)
