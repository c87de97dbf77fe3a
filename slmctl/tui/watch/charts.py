"""The panels of a stage: one chart, and the grid that shows as many of them on a page as fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from engine.rundir.directory import STAGES
from slmctl.plots.styled_rows import Row
from slmctl.tui.watch.messages import CursorMoved, StepChosen, ZoomRequested
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.history import RunHistory
from slmctl.watch.panels import ChartView, DrawnPanel, Panel, default_panels, draw_panel
from slmctl.watch.state import WatchState

BESIDE_FROM = 96  # columns from which panels are placed side by side
LEAST_WIDTH, LEAST_HEIGHT = 34, 7  # of a panel
LEAST_SAMPLES, MOST_SAMPLES = 8, 18
SAMPLES_BELOW_FROM = LEAST_SAMPLES + 2 * LEAST_HEIGHT  # rows
MARGIN = 7  # about the width of the labels
FAR = 10


@dataclass(frozen=True)
class PanelLayout:
    """Panels in `columns` by `rows` on a page; `samples` rows below them, or 0 if samples have a page of their own."""

    columns: int
    rows: int
    samples: int

    @property
    def per_page(self) -> int:
        """How many panels a page holds."""
        return self.columns * self.rows

    def pages(self, panels: int) -> int:
        """How many pages the panels take."""
        return -(-panels // self.per_page)


def arrange_panels(width: int, height: int, panels: int, sampled: bool) -> PanelLayout:
    """The layout of the panels on a screen of this size; samples get the rows that panels do not need."""
    panels = max(1, panels)
    columns = max(1, min(panels, width // LEAST_WIDTH)) if width >= BESIDE_FROM else 1
    below = LEAST_SAMPLES if sampled and height >= SAMPLES_BELOW_FROM else 0
    needed = -(-panels // columns)
    rows = max(1, min(needed, (height - below) // LEAST_HEIGHT))
    if rows == needed:
        columns = -(-panels // rows)  # no wider a grid than its last row needs
    if below:
        below = max(below, min(MOST_SAMPLES, height // 3, height - rows * LEAST_HEIGHT))
    return PanelLayout(columns, rows, below)


class Chart(RowsView, can_focus=True):
    """A panel in which a step can be pointed at by keys or mouse; its heading shows whether it has the focus."""

    HELP = "A chart: left and right point at a step, in all charts at once; the headings show the values at that step."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Step back", id="chart.back", show=False),
        Binding("right", "move(1)", "Step forward", id="chart.on", show=False),
        Binding("shift+left", f"move({-FAR})", "Ten columns back", id="chart.far_back", show=False),
        Binding("shift+right", f"move({FAR})", "Ten columns forward", id="chart.far_on", show=False),
        Binding("enter", "zoom", "Full screen", id="chart.zoom", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.panel = Panel("", ())
        self._stage, self._runs, self._view = "", tuple[RunHistory, ...](), ChartView()
        self._drawn: DrawnPanel | None = None
        self._drawn_key: object = None

    def show_panel(self, panel: Panel, stage: str, runs: Sequence[RunHistory], view: ChartView) -> None:
        """Shows a panel of these runs, or the same one with news."""
        self.panel, self._stage, self._runs, self._view = panel, stage, tuple(runs), view
        self.paint(self._draw)

    def _draw(self, width: int, height: int) -> list[Row]:
        versions = tuple(run.stage(self._stage).version for run in self._runs)
        infos = tuple(run.info for run in self._runs)
        key = (self.panel, self._stage, versions, infos, replace(self._view, cursor=None), width, height)
        if self._drawn is None or key != self._drawn_key:
            self._drawn = draw_panel(self.panel, self._stage, self._runs, self._view, width, height)
            self._drawn_key = key
        first, *rest = self._drawn.rows_at(self._view.cursor, self._keys)
        mark = " " if not self.has_focus else ">" if self._view.ascii else "▸"
        role = "head focus" if self.has_focus else "head"
        text = "".join(part for part, _ in first[:1])
        heading = [(mark + text[1:], f"title {role}"), *((part, f"{own} {role}") for part, own in first[1:])]
        return [heading, *rest]

    @property
    def _keys(self) -> str:
        """How to point at a step, until somebody does."""
        if not self.has_focus or self._view.cursor is not None:
            return ""
        return "left and right: a step" if self._view.ascii else "← → a step"

    def on_focus(self) -> None:
        """Shows that it has the focus."""
        self.repaint()

    def on_blur(self) -> None:
        """Shows that it lost the focus."""
        self.repaint()

    def on_click(self, event: events.Click) -> None:
        """Points at the step that was clicked; a double click fills the screen."""
        if event.chain > 1:
            self.action_zoom()
            return
        step = None if self._drawn is None else self._drawn.picture.step_at(event.x)
        if step is not None:
            self.post_message(StepChosen(step))

    def action_move(self, by: int) -> None:
        """Points at another step."""
        self.post_message(CursorMoved(by, max(1, self.content_size.width - MARGIN)))

    def action_zoom(self) -> None:
        """Fills the screen."""
        self.post_message(ZoomRequested(self.panel))


class ChartGrid(Container):
    """The panels of a stage; keeps its charts from one stage to the next, and draws those on the current page only."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.charts = [Chart() for _ in range(max(len(default_panels(stage)) for stage in STAGES))]
        self._count = 0
        self._page = 0
        self._layout_plan = PanelLayout(1, 1, 0)

    def compose(self) -> ComposeResult:
        """As many charts as a stage needs by default."""
        for chart in self.charts:
            chart.display = False  # until it is on the page
            yield chart

    @property
    def shown(self) -> list[Chart]:
        """The charts of the stage, on all pages."""
        return self.charts[: self._count]

    @property
    def range(self) -> tuple[int, int, int]:
        """The first and the last panel on the page, counted from 1, and the number of panels."""
        start = self._page * self._layout_plan.per_page
        return start + 1, min(self._count, start + self._layout_plan.per_page), self._count

    def show_state(self, state: WatchState) -> None:
        """Shows the panels of the watched stage."""
        panels = state.panels
        while len(self.charts) < len(panels):
            self.charts.append(Chart())
            self.charts[-1].display = False
            self.mount(self.charts[-1])
        self._count = len(panels)
        for chart, panel in zip(self.charts, panels, strict=False):
            chart.show_panel(panel, state.stage, state.runs, state.view)

    def turn_to(self, index: int, layout: PanelLayout) -> None:
        """Shows the page with the panel at `index`; past the last panel the page stays."""
        self._layout_plan = layout
        last_page = max(0, layout.pages(self._count) - 1)
        self._page = min(self._page if index >= self._count else index // layout.per_page, last_page)
        first, last, _ = self.range
        for number, chart in enumerate(self.charts, start=1):
            chart.display = first <= number <= last
        columns = max(1, min(layout.columns, last - first + 1))
        self.styles.grid_size_columns = columns
        self.styles.grid_size_rows = max(1, -(-(last - first + 1) // columns))
