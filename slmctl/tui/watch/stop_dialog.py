"""Asks once more before a run is told to end."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from slmctl.console.safe import one_line


class StopScreen(ModalScreen[bool]):
    """Gives back whether the run shall stop."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "dismiss(True)", "Stop it", id="stop.yes"),
        Binding("escape,n,q", "dismiss(False)", "Let it run", id="stop.no"),
    ]

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def compose(self) -> ComposeResult:
        """The question with its keys."""
        name = one_line(self._run, 40)
        lines = (
            f"Stop {name}?",
            "",
            "It ends this step and saves; then its process ends.",
            "It can go on from there later.",
            "",
            "y  stop it        esc  let it run",
        )
        yield Static(Content("\n".join(lines)), id="stop-frame")
