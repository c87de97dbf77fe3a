"""One panel of the Train mode that can be pointed at, step by step, by keys or by mouse."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from slmctl.plots.rows import Row
from slmctl.tui.messages import CursorMoved, StepChosen, ZoomAsked
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.history import Story
from slmctl.watch.panels import Drawing, Panel, drawing
from slmctl.watch.view import View

MARGIN = 7  # about what the labels take
FAR = 10


class Chart(RowsView, can_focus=True):
    """A chart, the plane or the table; its heading shows whether it has the focus."""

    HELP = "A chart: left and right point at a step, in all charts at once; the values there stand in the headings."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Step back", id="chart.back", show=False),
        Binding("right", "move(1)", "Step on", id="chart.on", show=False),
        Binding("shift+left", f"move({-FAR})", "Ten columns back", id="chart.far_back", show=False),
        Binding("shift+right", f"move({FAR})", "Ten columns on", id="chart.far_on", show=False),
        Binding("enter", "zoom", "Full screen", id="chart.zoom", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.panel = Panel("", ())
        self._stage, self._stories, self._view = "", tuple[Story, ...](), View()
        self._drawn: Drawing | None = None
        self._drawn_of: object = None

    def look_at(self, panel: Panel, stage: str, stories: Sequence[Story], view: View) -> None:
        """Shows a panel of these runs, or the same with news in it."""
        self.panel, self._stage, self._stories, self._view = panel, stage, tuple(stories), view
        self.paint(self._draw)

    def _draw(self, width: int, height: int) -> list[Row]:
        marks = tuple(story.stage(self._stage).mark for story in self._stories)
        abouts = tuple(story.about for story in self._stories)
        key = (self.panel, self._stage, marks, abouts, replace(self._view, cursor=None), width, height)
        if self._drawn is None or key != self._drawn_of:
            self._drawn = drawing(self.panel, self._stage, self._stories, self._view, width, height)
            self._drawn_of = key
        first, *rest = self._drawn.pointed(self._view.cursor, self._keys)
        mark = " " if not self.has_focus else ">" if self._view.ascii else "▸"
        role = "head focus" if self.has_focus else "head"
        text = "".join(part for part, _ in first[:1])
        heading = [(mark + text[1:], f"title {role}"), *((part, f"{own} {role}") for part, own in first[1:])]
        return [heading, *rest]

    @property
    def _keys(self) -> str:
        """How to point at a step, where nobody has yet."""
        if not self.has_focus or self._view.cursor is not None:
            return ""
        return "left and right: a step" if self._view.ascii else "← → a step"

    def on_focus(self) -> None:
        """Shows that it has the focus."""
        self.repaint()

    def on_blur(self) -> None:
        """Shows that it has it no more."""
        self.repaint()

    def on_click(self, event: events.Click) -> None:
        """Points at the step that was clicked; a double click fills the screen."""
        if event.chain > 1:
            self.action_zoom()
            return
        step = None if self._drawn is None else self._drawn.sketch.step_at(event.x)
        if step is not None:
            self.post_message(StepChosen(step))

    def action_move(self, by: int) -> None:
        """Points at another step."""
        self.post_message(CursorMoved(by, max(1, self.content_size.width - MARGIN)))

    def action_zoom(self) -> None:
        """Asks for the whole screen."""
        self.post_message(ZoomAsked(self.panel))
