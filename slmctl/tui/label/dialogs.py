"""Dialogs over the question: a number to press, a text to read."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Static

from slmctl.console.safe import clean


class NumberDialog(ModalScreen[int | None]):
    """Returns the place of the response whose number was pressed, None if canceled."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel", id="label.number_cancel")]

    def __init__(self, title: str, count: int) -> None:
        super().__init__()
        self._title, self._count = title, count

    def compose(self) -> ComposeResult:
        """The keys."""
        with Vertical(id="label-number") as frame:
            frame.border_title = Content(self._title)
            yield Static(Content(f"Which response? Press 1 to {self._count}; esc cancels."))

    def on_key(self, event: Key) -> None:
        """Takes a number."""
        event.stop()
        if event.character and event.character in "123456789" and int(event.character) <= self._count:
            self.dismiss(int(event.character) - 1)
        elif event.key == "escape":
            self.dismiss(None)


class LabelTextDialog(ModalScreen[None]):
    """Shows a text: the guidelines, the statistics."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,h,s,q,enter,space", "dismiss", "Close", id="label.text_close")
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """The text in a frame that scrolls."""
        with VerticalScroll(id="label-text") as frame:
            frame.border_title = Content(self._title)
            frame.border_subtitle = Content("esc closes")
            yield Static(Content(clean(self._text)), markup=False)
