"""The samples of a step, a line each; one of them is chosen."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from slmctl.plots.rows import Row
from slmctl.tui.messages import SampleChosen, SampleOpened
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.sample_rows import Listing, list_rows, row_at


class SampleList(RowsView, can_focus=True):
    """Says which sample is chosen; which it is, is the screen's to keep."""

    HELP = (
        "Sampled responses: up and down choose one, [ and ] go to the steps before and after, "
        "/ lists those of all steps that hold a text."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "choose(-1)", "Sample above", id="samples.up", show=False),
        Binding("down", "choose(1)", "Sample below", id="samples.down", show=False),
        Binding("enter", "open", "Whole text", id="samples.open", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._listing, self._ascii = Listing(()), False

    def look_at(self, listing: Listing, ascii: bool) -> None:
        """Shows a list of samples."""
        self._listing, self._ascii = listing, ascii
        self.paint(self._draw)

    def _draw(self, width: int, height: int) -> list[Row]:
        first, *rest = list_rows(self._listing, width, height, self._ascii)
        mark = " " if not self.has_focus else ">" if self._ascii else "▸"
        role = "head focus" if self.has_focus else "head"
        text = "".join(part for part, _ in first[:1])
        return [[(mark + text[1:], f"title {role}"), *((part, f"{own} {role}") for part, own in first[1:])], *rest]

    def on_focus(self) -> None:
        """Shows that it has the focus."""
        self.repaint()

    def on_blur(self) -> None:
        """Shows that it has it no more."""
        self.repaint()

    def on_click(self, event: events.Click) -> None:
        """Chooses the sample that was clicked; a double click opens it."""
        number = row_at(self._listing, self.content_size.height, event.y)
        if number is not None:
            self.post_message(SampleOpened() if event.chain > 1 else SampleChosen(number))

    def on_mouse_scroll_up(self) -> None:
        """Chooses the sample above."""
        self.action_choose(-1)

    def on_mouse_scroll_down(self) -> None:
        """Chooses the sample below."""
        self.action_choose(1)

    def action_choose(self, by: int) -> None:
        """Chooses another sample."""
        self.post_message(SampleChosen(max(0, self._listing.chosen + by)))

    def action_open(self) -> None:
        """Asks for the whole text."""
        self.post_message(SampleOpened())
