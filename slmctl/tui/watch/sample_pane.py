"""The samples of a step, one line each, beside the full text of the chosen one."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from slmctl.plots.styled_rows import Row
from slmctl.tui.watch.messages import SampleChosen, SampleOpened
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.sample_rows import SampleListing, list_rows, row_at, text_rows
from slmctl.watch.state import WatchState


class SampleList(RowsView, can_focus=True):
    """Posts which sample is chosen; the state belongs to the screen."""

    HELP = (
        "Sampled responses: up and down choose one, [ and ] go to the previous and next step with samples, "
        "/ lists the samples of all steps that contain a text."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "choose(-1)", "Sample above", id="samples.up", show=False),
        Binding("down", "choose(1)", "Sample below", id="samples.down", show=False),
        Binding("enter", "open", "Full text", id="samples.open", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._listing, self._ascii = SampleListing(()), False

    def show_listing(self, listing: SampleListing, ascii: bool) -> None:
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
        """Shows that it lost the focus."""
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
        """Shows the full text."""
        self.post_message(SampleOpened())


class SamplePane(Container):
    """List and text, side by side on a wide screen, otherwise stacked."""

    def compose(self) -> ComposeResult:
        """The list and the text."""
        yield SampleList(id="sample-list")
        yield RowsView(id="sample-text")

    def show_state(self, state: WatchState) -> None:
        """Shows the samples of the watched stage."""
        self.query_one(SampleList).show_listing(state.listing, state.view.ascii)
        steps, position = tuple(state.sampled_steps), state.position

        def rows(width: int, height: int) -> list[Row]:
            found = text_rows(steps, *position, width)
            if len(found) > height:
                found = [*found[: height - 1], [(" enter: full text", "note")]]
            return found

        self.query_one("#sample-text", RowsView).paint(rows)
