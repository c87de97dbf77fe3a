"""A text to read over the pair: the guidelines, the figures."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from slmctl.console.safe import clean


class LabelTextScreen(ModalScreen[None]):
    """Shows a text of any origin until it is closed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,h,s,q,enter,space", "dismiss", "Close", id="label.text_close")
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """The text in a frame, which scrolls."""
        with VerticalScroll(id="label-text") as frame:
            frame.border_title = Content(self._title)
            frame.border_subtitle = Content("esc closes")
            yield Static(Content(clean(self._text)), markup=False)
