"""The line in which a row of the form is edited: free text, or one of its choices by the arrow keys."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from slmctl.console.safe import one_line
from slmctl.tui.messages import FieldEdited
from slmctl.tui.runs.form_rows import Row, next_choice


class EditInput(Input):
    """The text, whose enter is told in the footer."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Take", id="form.take")]


class EditLine(Horizontal):
    """There while a row is edited; enter takes what is typed over, escape drops it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "drop", "Drop", id="form.drop"),
        Binding("down", "choose(1)", "Next choice", show=False),
        Binding("up", "choose(-1)", "Previous choice", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self._row: Row | None = None

    def compose(self) -> ComposeResult:
        """The row's name and the text."""
        yield Static("", markup=False, id="edit-name")
        yield EditInput(compact=True, id="edit-text")

    def edit(self, row: Row) -> None:
        """Begins to edit a row."""
        self._row, self.display = row, True
        self.query_one("#edit-name", Static).update(Content(f"{one_line(row.key)} ="))
        line = self.query_one(Input)
        line.value, line.placeholder = row.text, one_line(row.hint)
        self.screen.set_focus(line)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hands over what was typed."""
        event.stop()
        assert self._row is not None
        self.display = False
        self.post_message(FieldEdited(self._row.key, event.value))

    def action_drop(self) -> None:
        """Leaves the row as it was."""
        assert self._row is not None
        self.display = False
        self.post_message(FieldEdited(self._row.key, None))

    def action_choose(self, step: int) -> None:
        """Types the next of the row's choices."""
        assert self._row is not None
        line = self.query_one(Input)
        line.value = next_choice(Row(self._row.key, line.value, "", choices=self._row.choices), step)
        line.action_end()
