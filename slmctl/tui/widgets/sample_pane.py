"""The samples of a step beside the text of the chosen one."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Container

from slmctl.plots.rows import Row
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.tui.widgets.sample_list import SampleList
from slmctl.watching.follower import Drawn
from slmctl.watching.sample_rows import text_rows


class SamplePane(Container):
    """Both halves; side by side on a wide screen, else one above the other."""

    def compose(self) -> ComposeResult:
        """The list and the text."""
        yield SampleList(id="sample-list")
        yield RowsView(id="sample-text")

    def look_at(self, history: Sequence[Drawn], place: int, chosen: int, ascii: bool) -> None:
        """Shows the samples at a place of the history."""
        self.query_one(SampleList).look_at(history, place, chosen, ascii)
        kept = tuple(history)

        def rows(width: int, height: int) -> list[Row]:
            found = text_rows(kept, place, chosen, width)
            if len(found) > height:
                found = [*found[: height - 1], [(" enter: the whole text", "note")]]
            return found

        self.query_one("#sample-text", RowsView).paint(rows)
