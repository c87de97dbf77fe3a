"""The playground: one app, a screen a mode, one sampler child that chat and label share.

Wiring only: what a mode shows is its screen's job (screens/), what stands in it is a widget's (widgets/).
"""

from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.notifications import SeverityLevel
from textual.screen import Screen

from slmctl.tui.safe import clean
from slmctl.tui.screens.chat import ChatScreen
from slmctl.tui.screens.label import LabelScreen
from slmctl.tui.screens.runs import RunsScreen
from slmctl.tui.screens.train import TrainScreen
from slmctl.tui.start import Start
from slmctl.worker.sampler import Sampler


class Playground(App[None]):
    """All modes; `sampler` is made when a mode first asks for it."""

    TITLE = "slmctl"
    CSS_PATH = "playground.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "mode('runs')", "Runs", id="mode.runs"),
        Binding("f3", "mode('train')", "Train", id="mode.train"),
        Binding("f5", "mode('chat')", "Chat", id="mode.chat"),
        Binding("f6", "mode('label')", "Label", id="mode.label"),
        Binding("ctrl+q", "quit", "Quit", id="quit", priority=True),
    ]

    def __init__(self, start: Start, sampler: Sampler | None = None) -> None:
        super().__init__()
        self.start = start
        self._sampler = sampler
        self._screens: dict[str, type[Screen[None]]] = {
            "runs": RunsScreen,
            "train": TrainScreen,
            "chat": ChatScreen,
            "label": LabelScreen,
        }

    def on_mount(self) -> None:
        """Opens the mode that was asked for."""
        for name, screen in self._screens.items():
            self.add_mode(name, screen)
        self.switch_mode(self.start.mode)

    def action_mode(self, name: str) -> None:
        """Goes to a mode; each keeps its state."""
        self.switch_mode(name)

    @property
    def sampler(self) -> Sampler:
        """The one sampler of the playground."""
        assert self._sampler is not None, "no sampler yet"
        return self._sampler

    def say(self, text: str, severity: SeverityLevel = "information") -> None:
        """Shows a passing note; the text may be anybody's."""
        self.notify(clean(text), severity=severity, markup=False)
