"""The form's rows as a table, and the line in which the selected one is edited."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import DataTable, Input, Static

from slmctl.console.safe import one_line
from slmctl.tui.runs.form_rows import CHANGED, FormRow, next_choice
from slmctl.tui.runs.messages import FieldEdited

NAME, VALUE, ORIGIN = 27, 16, 13
ORIGIN_FROM = 96
CHANGED_STYLE = "bold yellow"
PADDING, SCROLLBAR, LEAST_MEANING = 2, 2, 10


class FieldTable(DataTable[Text]):
    """The rows by key: name, value, meaning; a changed one is marked with a star."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Edit", id="form.edit"),
        Binding("right", "screen.cycle(1)", "Choices", id="form.next"),
        Binding("left", "screen.cycle(-1)", "Previous choice", id="form.previous", show=False),
        Binding("backspace,delete", "screen.reset", "Reset", id="form.reset"),
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", show_header=False, id="form-fields")
        self._rows: Sequence[FormRow] = ()
        self._keys: list[str] = []
        self._widths: dict[str, int] = {}

    def on_resize(self) -> None:
        """Fits the columns to the width."""
        self.show(self._rows)

    def show(self, rows: Sequence[FormRow]) -> None:
        """Shows these rows; the selected row stays selected if it is still there."""
        self._rows = rows
        keys, widths = [row.key for row in rows], _widths(self.size.width)
        lines = [[_cell(row, column) for column in widths] for row in rows]
        if keys != self._keys or widths != self._widths:
            self._rebuild(keys, widths, lines)
            return
        for key, line in zip(keys, lines, strict=True):
            for column, cell in zip(widths, line, strict=True):
                if self.get_cell(key, column) != cell:
                    self.update_cell(key, column, cell)

    def selected(self) -> str | None:
        """The key of the row under the cursor."""
        return self._keys[self.cursor_row] if 0 <= self.cursor_row < len(self._keys) else None

    def _rebuild(self, keys: list[str], widths: dict[str, int], lines: Sequence[Sequence[Text]]) -> None:
        selected = self.selected()
        self.clear(columns=True)
        self._keys, self._widths = keys, widths
        for column, width in widths.items():
            self.add_column("", key=column, width=width)
        for key, line in zip(keys, lines, strict=True):
            self.add_row(*line, key=key)
        self.move_cursor(row=keys.index(selected) if selected in keys else 0, animate=False)


def _widths(width: int) -> dict[str, int]:
    """The columns that fit, with their widths; the meaning takes what is left."""
    columns = {"name": NAME, "value": VALUE}
    if width >= ORIGIN_FROM:
        columns["origin"] = ORIGIN
    rest = width - sum(columns.values()) - PADDING * (len(columns) + 1) - SCROLLBAR
    return {**columns, "meaning": max(LEAST_MEANING, rest)}


def _cell(row: FormRow, column: str) -> Text:
    style = CHANGED_STYLE if row.changed else ""
    if column == "name":
        return Text(f"{CHANGED if row.changed else ' '} {row.key}", style)
    if column == "value" and row.text:
        return Text(one_line(row.text, VALUE), style)
    text = {
        "value": one_line(row.hint, VALUE),
        "origin": one_line(row.origin, ORIGIN),
        "meaning": one_line(row.meaning),
    }
    return Text(text[column], style if column == "origin" and style else "dim", no_wrap=True, overflow="ellipsis")


class EditInput(Input):
    """The text of the edited row."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Apply", id="form.apply")]


class EditLine(Horizontal):
    """Shown while a row is edited; enter applies the text, escape cancels, up and down go through the choices."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="form.cancel"),
        Binding("down", "choose(1)", "Next choice", show=False),
        Binding("up", "choose(-1)", "Previous choice", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self._row: FormRow | None = None

    def compose(self) -> ComposeResult:
        """The row's name and the text."""
        yield Static("", markup=False, id="edit-name")
        yield EditInput(compact=True, id="edit-text")

    def edit(self, row: FormRow) -> None:
        """Starts to edit a row."""
        self._row, self.display = row, True
        self.query_one("#edit-name", Static).update(Content(f"{one_line(row.key)} ="))
        line = self.query_one(Input)
        line.value, line.placeholder = row.text, one_line(row.hint)
        self.screen.set_focus(line)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Applies what was typed."""
        event.stop()
        self._finish(event.value)

    def action_cancel(self) -> None:
        """Leaves the row as it was."""
        self._finish(None)

    def _finish(self, text: str | None) -> None:
        assert self._row is not None
        self.display = False
        self.post_message(FieldEdited(self._row.key, text))

    def action_choose(self, step: int) -> None:
        """Types the next of the row's choices."""
        assert self._row is not None
        line = self.query_one(Input)
        line.value = next_choice(FormRow(self._row.key, line.value, "", choices=self._row.choices), step)
        line.action_end()
