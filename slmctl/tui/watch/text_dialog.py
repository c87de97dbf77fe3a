"""A text to read: the alarms, or a sample in full. It scrolls."""

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from slmctl.console.safe import clean
from slmctl.plots.rows import Row
from slmctl.tui.widgets.rows_view import RowsView

FRAME = 6  # columns of border, padding and scroll bar


class ReadingScreen(ModalScreen[None]):
    """Rows that are made for the width there is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,z,a", "dismiss", "Close", id="reading.close")]

    def __init__(self, title: str, rows: Callable[[int], list[Row]]) -> None:
        super().__init__()
        self._title, self._rows = title, rows

    def compose(self) -> ComposeResult:
        """One text in a frame."""
        with VerticalScroll(id="reading-frame") as frame:
            frame.border_title = Content(clean(self._title))
            frame.border_subtitle = Content("esc closes")
            yield RowsView(id="reading-text")

    def on_mount(self) -> None:
        """Fills the frame."""
        self._fill()
        self.query_one(VerticalScroll).focus()

    def on_resize(self, event: events.Resize) -> None:
        """Breaks the lines anew."""
        self._fill()

    def _fill(self) -> None:
        rows = self._rows(max(10, min(100, self.app.size.width) - FRAME))
        text = self.query_one("#reading-text", RowsView)
        text.styles.height = max(1, len(rows))
        text.paint(lambda width, height: rows)
