"""A reply to be written better: a box over the chat, whose text becomes a demonstration."""

import os
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.core.errors import EngineError
from slmctl.console.safe import clean, one_line
from slmctl.tui.editor import edited_outside
from slmctl.tui.widgets.clean_area import CleanArea

PROMPT_LINES = 4


class EditArea(CleanArea):
    """The text; enter keeps it, as enter sends a prompt."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "keep", "Keep", id="chat.edit_keep", priority=True),
        Binding("ctrl+j,shift+enter", "new_line", "New line", id="chat.edit_newline", priority=True),
    ]

    def action_keep(self) -> None:
        """Keeps the text, once keys that were pressed before have been heard: they wait in a queue of ours."""
        self.call_later(self.run_action, "screen.keep")

    def action_new_line(self) -> None:
        """Begins a new line."""
        self.call_later(self.insert, "\n")


class EditScreen(ModalScreen[str | None]):
    """Gives the text that was kept, None where nothing was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="chat.edit_cancel"),
        Binding("f4", "editor", "$EDITOR", id="chat.edit_editor"),
    ]

    def __init__(self, prompt: str, by: str, text: str) -> None:
        super().__init__()
        self._prompt, self._by, self._text = prompt, by, text

    def compose(self) -> ComposeResult:
        """The prompt, the text, what the keys do."""
        with Vertical(id="chat-edit") as frame:
            frame.border_title = Content(f"a better reply than that of {one_line(self._by, 50)}")
            prompt = "\n".join(clean(self._prompt).splitlines()[:PROMPT_LINES])
            yield Static(Content.styled(prompt, "bold"), markup=False, id="chat-edit-prompt")
            yield EditArea(soft_wrap=True)
            yield Static("", markup=False, id="chat-edit-note")
            yield Static(Content("enter keeps a demonstration · ctrl+j new line · f4 $EDITOR · esc cancels"))

    def on_mount(self) -> None:
        """Puts the reply into the box."""
        area = self.query_one(EditArea)
        area.load_text(self._text)
        area.move_cursor(area.document.end)

    def action_keep(self) -> None:
        """Gives the text back, unless nothing was written."""
        text = self.query_one(EditArea).text
        if not text.strip():
            self._tell("write what the reply should have been; nothing is no demonstration")
        elif text == clean(self._text):
            self._tell("this is the reply as it was; change it, or press esc")
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
        note = self.query_one("#chat-edit-note", Static)
        note.display = True
        note.update(Content.styled(f"! {clean(sentence)}", "$text-error"))
