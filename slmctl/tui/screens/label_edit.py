"""A response written better: a box over the pair, whose text becomes a demonstration."""

import os
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.errors import EngineError
from slmctl.tui.editor import edited_outside
from slmctl.tui.safe import clean
from slmctl.tui.widgets.clean_area import CleanArea

KEYS = "enter keeps it as a demonstration · ctrl+j new line · f4 $EDITOR · esc cancels"


class EditArea(CleanArea):
    """The text; enter keeps it, as enter sends a prompt in a chat."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.keep", "Keep", id="label.edit_keep", priority=True),
        Binding("ctrl+j,shift+enter", "new_line", "New line", id="label.edit_newline", priority=True),
    ]

    def action_new_line(self) -> None:
        """Begins a new line."""
        self.insert("\n")


class LabelEditScreen(ModalScreen[str | None]):
    """Gives the text that was kept, None where nothing was. `number` is that of the response it begins with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="label.edit_cancel"),
        Binding("f4", "editor", "$EDITOR", id="label.edit_editor"),
    ]

    def __init__(self, number: int, text: str) -> None:
        super().__init__()
        self._number, self._text = number, text

    def compose(self) -> ComposeResult:
        """The text, and what the keys do."""
        with Vertical(id="label-edit") as frame:
            frame.border_title = Content(f"a better response, from {self._number}")
            yield EditArea(soft_wrap=True)
            yield Static("", markup=False, id="label-edit-note")
            yield Static(Content(KEYS))

    def on_mount(self) -> None:
        """Puts the response into the box."""
        self.query_one(EditArea).load_text(self._text)

    def action_keep(self) -> None:
        """Gives the text back, unless nothing was written."""
        text = self.query_one(EditArea).text
        if not text.strip():
            self._tell("write what the response should have been; nothing is no demonstration")
        else:
            self.dismiss(text)

    def action_editor(self) -> None:
        """Hands the text to the person's editor."""
        area = self.query_one(EditArea)
        try:
            area.load_text(edited_outside(self.app, area.text, os.environ))
        except EngineError as error:
            self._tell(str(error))

    def _tell(self, sentence: str) -> None:
        self.query_one("#label-edit-note", Static).update(Content.styled(f"! {clean(sentence)}", "$text-error"))
