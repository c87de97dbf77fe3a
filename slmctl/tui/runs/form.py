"""The form that starts a stage or a whole run: its settings, the resulting command, and what that will do.

It starts the exact command that it shows. Choices stay until a run has begun.
"""

import asyncio
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Button, DataTable, Input, Static

from engine.core.errors import EngineError, FileError
from engine.run.planning import DEFAULT_PRESET
from engine.rundir.directory import RunDir
from slmctl.console.safe import clean, one_line
from slmctl.runs.command_form import TARGETS, CommandDraft, Setting, effective_draft, preview, record_of, settings_of
from slmctl.runs.launch import command_line
from slmctl.runs.overview import RunSummary
from slmctl.tui.messages import FilterChanged
from slmctl.tui.runs.form_rows import (
    CHANGED,
    EditLine,
    FieldEdited,
    FieldTable,
    FormRow,
    matches,
    next_choice,
    rows_of,
    with_choice,
)
from slmctl.tui.runs.launches import LaunchBegun, LaunchRefused
from slmctl.tui.runs.runs_table import RunsSeen
from slmctl.tui.widgets.filter_line import FilterLine
from slmctl.tui.widgets.key_line import KeyLine
from slmctl.tui.widgets.mode_bar import ModeBar

if TYPE_CHECKING:
    from slmctl.tui.app import Playground

CHOICES_SHOWN = 6
CHECK_AFTER_S = 0.15  # of rest: typing and cycling come in bursts


@dataclass
class CommandChecked(Message, bubble=False):
    """What a command would do, or why it would be refused."""

    draft: CommandDraft
    preview: str
    refused: bool


class FormScreen(Screen[None]):
    """A command draft, its rows, and what it would do."""

    HELP = "Start: choose a stage and its settings. Shows the exact command that it will run."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "start", "Start", id="form.start"),
        Binding("slash", "filter", "Filter", id="form.filter"),
        Binding("y", "copy", "Copy", id="form.copy"),
        Binding("escape", "all", "All rows", id="form.all", show=False),
    ]

    def __init__(self, draft: CommandDraft) -> None:
        super().__init__()
        self._draft = draft
        self._settings: list[Setting] = []
        self._rows: list[FormRow] = []
        self._runs: tuple[RunSummary, ...] = ()
        self._filter = ""
        self._problem = ""
        self._status = ("", False)
        self._refused: dict[str, str] = {}  # by row key, why the typed text was refused
        self._starting = False

    @property
    def _playground(self) -> "Playground":
        return cast("Playground", self.app)

    def compose(self) -> ComposeResult:
        """The rows, and below or beside them the selected row, the command and what it will do."""
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
                yield Static("", markup=False, id="form-preview")
        yield KeyLine()

    def on_mount(self) -> None:
        """Shows the draft."""
        self.set_focus(self.query_one(FieldTable))
        self._take(self._draft)

    def begin(self, draft: CommandDraft | None) -> None:
        """Shows all rows, of another draft if one is given."""
        self.query_one(FilterLine).empty()
        self._filter = ""
        self.set_focus(self.query_one(FieldTable))
        if draft is not None:
            self._refused.clear()
        self._take(draft or self._draft)

    def on_screen_resume(self) -> None:
        """Lists the runs and models to choose from."""
        self.run_worker(self._look(), group="look", exclusive=True)

    async def _look(self) -> None:
        try:
            runs = await asyncio.to_thread(self._playground.overview.rows, 0.0)
        except FileError:
            runs = []
        self.post_message(RunsSeen(tuple(runs), 0.0))

    def on_runs_seen(self, message: RunsSeen) -> None:
        """Offers the runs and their models as choices."""
        message.stop()
        self._runs = message.runs
        self._take(self._draft)

    def _take(self, draft: CommandDraft) -> None:
        """Shows a draft and checks it."""
        self._draft = draft
        home, preset = self._playground.start.home, draft.preset or DEFAULT_PRESET
        try:
            record = record_of(draft, home)
            preset = record.preset if record is not None else preset
            self._settings = settings_of(replace(effective_draft(draft, home), settings={}), home, os.environ)
        except EngineError:
            pass  # the check reports it; the rows stay
        self._rows = rows_of(draft, self._settings, self._runs, preset)
        self._show()
        self.run_worker(self._check(self._command()), group="check", exclusive=True)

    def _command(self) -> CommandDraft:
        return effective_draft(self._draft, self._playground.start.home)

    async def _check(self, draft: CommandDraft) -> None:
        await asyncio.sleep(CHECK_AFTER_S)
        try:
            text, refused = await asyncio.to_thread(preview, draft, self._playground.start.home, os.environ), False
        except EngineError as error:
            text, refused = str(error), True
        self.post_message(CommandChecked(draft, text, refused))

    def on_command_checked(self, message: CommandChecked) -> None:
        """Shows what the command would do, or why it would be refused."""
        if message.draft == self._command():
            self._problem = message.preview if message.refused else ""
            self._show_status(message.preview, message.refused)

    def _show_status(self, text: str, wrong: bool) -> None:
        """Shows a sentence on the command, below the refusals that have not been fixed yet."""
        self._status = (text, wrong)
        lines = [*((sentence, True) for sentence in self._refused.values()), self._status]
        parts = [Content.styled(clean(line), "bold $text-error" if bad else "") for line, bad in lines if line]
        self.query_one("#form-preview", Static).update(Content("\n").join(parts))

    def _show(self) -> None:
        changed = sum(row.changed for row in self._rows)
        count = f"; {changed} changed ({CHANGED})" if changed else ""
        self.query_one("#form-title", Static).update(Content(f"Start {TARGETS[self._draft.target]}{count}"))
        self.query_one(FieldTable).show([row for row in self._rows if matches(row, self._filter)])
        command = one_line(command_line(self._command().words()))
        self.query_one("#form-command", Static).update(Content.assemble(("$ ", "bold"), command))
        self._show_row()

    def _selected(self) -> FormRow | None:
        key = self.query_one(FieldTable).selected()
        return next((row for row in self._rows if row.key == key), None)

    def _show_row(self) -> None:
        row = self._selected()
        self.query_one("#form-about", Static).update(Content("") if row is None else _about(row))

    def on_data_table_row_highlighted(self, message: DataTable.RowHighlighted) -> None:
        """Explains the row under the cursor."""
        message.stop()
        self._show_row()

    def on_data_table_row_selected(self, message: DataTable.RowSelected) -> None:
        """Edits the row."""
        message.stop()
        if row := self._selected():
            self.query_one(EditLine).edit(row)

    def on_field_edited(self, message: FieldEdited) -> None:
        """Applies what was typed."""
        message.stop()
        self.set_focus(self.query_one(FieldTable))
        row = next(row for row in self._rows if row.key == message.key)
        if message.text is not None:
            self._change(row, message.text)

    def action_cycle(self, step: int) -> None:
        """Applies the next of a row's choices."""
        if (row := self._selected()) and row.choices:
            self._change(row, next_choice(row, step))

    def action_reset(self) -> None:
        """Resets the selected row."""
        row = self._selected()
        if row is None:
            return
        if row.free | row.changed and row.key != "what":
            self._change(row, "")
        elif self._refused.pop(row.key, ""):
            self._show_status(*self._status)

    def _change(self, row: FormRow, text: str) -> None:
        self.app.clear_notifications()  # they were about the previous value
        self._refused.pop(row.key, None)
        if not row.free and text and text not in row.choices:
            allowed = ", ".join(row.choices)
            self._refused[row.key] = f"{row.key} is {text!r}; it must be one of {allowed}; change or reset that row"
        self._show_status(*self._status)
        if row.key in self._refused:
            return
        before = next((setting.text for setting in self._settings if setting.name == row.key), "")
        self._take(with_choice(self._draft, row, text, before))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disables the filter's key while text is typed, and its removal without a filter."""
        if action == "all":
            return bool(self._filter)
        return action != "filter" or not isinstance(self.focused, Input)

    def action_all(self) -> None:
        """Clears the filter."""
        self.query_one(FilterLine).action_clear()

    def action_filter(self) -> None:
        """Opens the filter."""
        self.query_one(FilterLine).open()

    def on_filter_changed(self, message: FilterChanged) -> None:
        """Filters the rows."""
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
        """Starts the command, unless it would be refused."""
        if self.query_one(EditLine).display:
            self._playground.say("apply the edited value first with enter, or cancel it with esc", "warning")
            return
        problem = next(iter(self._refused.values()), self._problem)
        if self._starting or problem:
            self._playground.say(problem or "already starting", "warning")
            return
        command = self._command()
        self._starting = True
        self._show_status(f"starting: {command_line(command.words())}", False)
        run = RunDir(self._playground.start.home / command.name)
        await self._playground.launches.start(command.words(), run, self)

    async def on_launch_begun(self, message: LaunchBegun) -> None:
        """Shows the run in Train; the form starts over."""
        self._starting = False
        here = self.is_current
        self.begin(CommandDraft(preset=DEFAULT_PRESET))
        if here:
            await self._playground.open_mode("runs")
            await self._playground.open_train((message.run,))
        else:
            self._playground.say(f"{message.run} is running")

    def on_launch_refused(self, message: LaunchRefused) -> None:
        """Shows why nothing was started; the choices stay."""
        self._starting = False
        self._show_status(message.error, True)
        if not self.is_current:
            self._playground.say(f"{message.run} was not started: {message.error}", "error")


def _about(row: FormRow) -> Content:
    """A row's meaning, its allowed values and the origin of its value."""
    choices = [choice for choice in row.choices if choice]
    offered = ", ".join(choices[:CHOICES_SHOWN]) + (" ..." if len(choices) > CHOICES_SHOWN else "")
    parts = [row.allowed, offered and f"{'such as' if row.free else 'one of'} {offered}"]
    parts += [f"from {row.origin}" if row.origin else ""]
    parts += [f"changed from {row.instead}" if row.instead else "", "backspace resets it" if row.changed else ""]
    more = "; ".join(filter(None, parts))
    text = f"  {one_line(row.meaning)}" + (f" ({one_line(more)})" if more else "")
    return Content.assemble((one_line(row.key), "bold"), text)
