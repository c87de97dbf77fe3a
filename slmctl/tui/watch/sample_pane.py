"""The samples of a step beside the text of the chosen one."""

from textual.app import ComposeResult
from textual.containers import Container

from slmctl.plots.rows import Row
from slmctl.tui.watch.sample_list import SampleList
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.sample_rows import text_rows
from slmctl.watch.state import Watching


class SamplePane(Container):
    """Both halves; side by side on a wide screen, else one above the other."""

    def compose(self) -> ComposeResult:
        """The list and the text."""
        yield SampleList(id="sample-list")
        yield RowsView(id="sample-text")

    def look_at(self, watching: Watching) -> None:
        """Shows the samples of what is watched."""
        self.query_one(SampleList).look_at(watching.listing, watching.view.ascii)
        history, spot = tuple(watching.history), watching.spot

        def rows(width: int, height: int) -> list[Row]:
            found = text_rows(history, *spot, width)
            if len(found) > height:
                found = [*found[: height - 1], [(" enter: the whole text", "note")]]
            return found

        self.query_one("#sample-text", RowsView).paint(rows)
