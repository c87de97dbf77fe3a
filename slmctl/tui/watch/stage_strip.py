"""The stages of a run in one line, the shown one in brackets; a click shows another."""

from collections.abc import Sequence

from textual import events

from slmctl.plots.rows import Row, spread, width_of
from slmctl.tui.messages import StageChosen
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.headline import stage_parts
from slmctl.watch.history import Story


class StageStrip(RowsView):
    """Stages with their numbers, which are also their keys, and at the right end what else there is to see."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts: list[tuple[str, str, str]] = []

    def look_at(self, story: Story, shown: str, aside: Sequence[str], ascii: bool) -> None:
        """Shows the stages of a run, and of `aside` the first text that fits."""

        def rows(width: int, height: int) -> list[Row]:
            self._parts = stage_parts(story, shown, width - 1, ascii)
            row: Row = [(" ", ""), *((text, role) for _, text, role in self._parts)]
            room = width - width_of(row) - 2
            text = next((text for text in aside if text and len(text) <= room), "")
            return [spread(row, [(f"{text} ", "note")] if text else [], width)]

        self.paint(rows)

    def on_click(self, event: events.Click) -> None:
        """Says which stage was clicked."""
        end = 1
        for name, text, _ in self._parts:
            end += len(text)
            if event.x < end:
                self.post_message(StageChosen(name))
                return
