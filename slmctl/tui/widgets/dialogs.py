"""Small dialogs that every mode may open: a question to confirm, one line to type."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from engine.core.errors import EngineError
from slmctl.console.safe import clean, one_line

NAME_SHOWN = 40


class ConfirmDialog(ModalScreen[bool]):
    """Returns whether `verb` shall be done to `name`; `consequence` says what happens then."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "dismiss(True)", "Yes", id="confirm.yes"),
        Binding("escape,n,q", "dismiss(False)", "Cancel", id="confirm.no"),
    ]

    def __init__(self, verb: str, name: str, consequence: str) -> None:
        super().__init__()
        self._verb, self._subject, self._consequence = verb, name, consequence

    def compose(self) -> ComposeResult:
        """The question with its keys."""
        question = f"{self._verb.capitalize()} {one_line(self._subject, NAME_SHOWN)}?"
        keys = f"y  {self._verb}        esc  cancel"
        yield Static(Content("\n\n".join((question, self._consequence, keys))), id="confirm-frame")


class LineDialog(ModalScreen[str | None]):
    """Returns the line that was typed, None if it was canceled; `check` raises an EngineError for a line to refuse."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel", id="line.cancel")]

    def __init__(self, title: str, hint: str, value: str = "", check: Callable[[str], object] = str) -> None:
        super().__init__()
        self._title, self._hint, self._value, self._check = title, hint, value, check

    def compose(self) -> ComposeResult:
        """The line, and a hint under it."""
        with Vertical(id="line-frame") as frame:
            frame.border_title = Content(clean(self._title))
            yield Input(clean(self._value), compact=True, id="line-input")
            yield Static(Content(self._hint), markup=False, id="line-hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Returns the line, or shows why it is refused."""
        event.stop()
        try:
            self._check(event.value)
        except EngineError as error:
            self.query_one("#line-hint", Static).update(Content.styled(f"! {clean(str(error))}", "$text-error"))
        else:
            self.dismiss(event.value)


def confirm_stop(run: str) -> ConfirmDialog:
    """The question before a run is stopped."""
    return ConfirmDialog("stop", run, "It finishes its step and saves. It can be resumed later.")
