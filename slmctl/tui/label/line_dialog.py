"""One line that is asked of a labeler, under the responses: a note, an order, the number of a response."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from engine.core.errors import EngineError
from slmctl.console.safe import clean


class AskScreen(ModalScreen[str | None]):
    """Gives the line that was typed, None where it was left; `check` raises what is wrong with a line."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel", id="label.ask_cancel")]

    def __init__(self, title: str, hint: str, value: str = "", check: Callable[[str], object] = str) -> None:
        super().__init__()
        self._title, self._hint, self._value, self._check = title, hint, value, check

    def compose(self) -> ComposeResult:
        """The line, and under it what is wrong."""
        with Vertical(id="label-ask") as frame:
            frame.border_title = Content(self._title)
            yield Input(clean(self._value), id="label-ask-line")
            yield Static(Content(self._hint), markup=False, id="label-ask-note")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Gives the line back, where nothing is wrong with it."""
        event.stop()
        try:
            self._check(event.value)
        except EngineError as error:
            self.query_one("#label-ask-note", Static).update(Content.styled(f"! {clean(str(error))}", "$text-error"))
        else:
            self.dismiss(event.value)


class WhichScreen(ModalScreen[int | None]):
    """Gives the place of the response whose number is pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel", id="label.which_cancel")]

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def compose(self) -> ComposeResult:
        """What to press."""
        with Vertical(id="label-ask") as frame:
            frame.border_title = Content("edit")
            yield Static(Content(f"Which response do you begin with? Press 1 to {self._count}; esc cancels."))

    def on_key(self, event: Key) -> None:
        """Takes a number."""
        event.stop()
        if event.character and event.character in "123456789" and int(event.character) <= self._count:
            self.dismiss(int(event.character) - 1)
        elif event.key == "escape":
            self.dismiss(None)
