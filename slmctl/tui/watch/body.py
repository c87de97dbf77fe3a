"""The panels and the samples of the watched stage, arranged for the size of the screen.

Charts are on pages of as many as fit; samples are one line each, beside the full text of the chosen one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from engine.rundir.directory import STAGES
from slmctl.plots.styled_rows import Row
from slmctl.tui.watch.messages import CursorMoved, SampleChosen, StepChosen
from slmctl.tui.widgets.filter_line import FilterLine
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.history import RunHistory
from slmctl.watch.panels import ChartView, DrawnPanel, Panel, default_panels, draw_panel
from slmctl.watch.samples import SampleListing, list_rows, row_at, text_rows
from slmctl.watch.state import WatchState


class HeadedRows(RowsView, can_focus=True):
    """Rows with a heading that shows whether they have the focus."""

    def headed(self, rows: list[Row], ascii: bool) -> list[Row]:
        """The rows with the first one as a heading."""
        (first, _), *more = rows[0] or [("", "")]
        mark = " " if not self.has_focus else ">" if ascii else "▸"
        role = "head focus" if self.has_focus else "head"
        heading = [(mark + first[1:], f"title {role}"), *((text, f"{own} {role}") for text, own in more)]
        return [heading, *rows[1:]]

    def on_focus(self) -> None:
        """Shows that it has the focus."""
        self.repaint()

    def on_blur(self) -> None:
        """Shows that it lost the focus."""
        self.repaint()


class SampleList(HeadedRows):
    """Posts which sample is chosen; the state belongs to the screen."""

    HELP = (
        "Sampled responses: up and down choose one, [ and ] go to the previous and next step with samples, "
        "/ lists the samples of all steps that contain a text."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "choose(-1)", "Sample above", id="samples.up", show=False),
        Binding("down", "choose(1)", "Sample below", id="samples.down", show=False),
        Binding("enter", "screen.zoom", "Full text", id="samples.open", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._listing, self._ascii = SampleListing(()), False

    def show_listing(self, listing: SampleListing, ascii: bool) -> None:
        """Shows a list of samples."""
        self._listing, self._ascii = listing, ascii
        self.paint(self._draw)

    def _draw(self, width: int, height: int) -> list[Row]:
        return self.headed(list_rows(self._listing, width, height, self._ascii), self._ascii)

    async def on_click(self, event: events.Click) -> None:
        """Chooses the sample that was clicked; a double click opens it."""
        number = row_at(self._listing, self.content_size.height, event.y)
        if number is not None and event.chain > 1:
            await self.run_action("screen.zoom")
        elif number is not None:
            self.post_message(SampleChosen(number))

    def on_mouse_scroll_up(self) -> None:
        """Chooses the sample above."""
        self.action_choose(-1)

    def on_mouse_scroll_down(self) -> None:
        """Chooses the sample below."""
        self.action_choose(1)

    def action_choose(self, by: int) -> None:
        """Chooses another sample."""
        self.post_message(SampleChosen(max(0, self._listing.chosen + by)))


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


class Chart(HeadedRows):
    """A panel in which a step can be pointed at by keys or mouse; its heading shows whether it has the focus."""

    HELP = "A chart: left and right point at a step, in all charts at once; the headings show the values at that step."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Step back", id="chart.back", show=False),
        Binding("right", "move(1)", "Step forward", id="chart.on", show=False),
        Binding("shift+left", f"move({-FAR})", "Ten columns back", id="chart.far_back", show=False),
        Binding("shift+right", f"move({FAR})", "Ten columns forward", id="chart.far_on", show=False),
        Binding("enter", "screen.zoom", "Full screen", id="chart.zoom", show=False),
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
        return self.headed(self._drawn.rows_at(self._view.cursor, self._keys), self._view.ascii)

    @property
    def _keys(self) -> str:
        """How to point at a step, until somebody does."""
        if not self.has_focus or self._view.cursor is not None:
            return ""
        return "left and right: a step" if self._view.ascii else "← → a step"

    async def on_click(self, event: events.Click) -> None:
        """Points at the step that was clicked; a double click fills the screen."""
        if event.chain > 1:
            await self.run_action("screen.zoom")
            return
        step = None if self._drawn is None else self._drawn.picture.step_at(event.x)
        if step is not None:
            self.post_message(StepChosen(step))

    def action_move(self, by: int) -> None:
        """Points at another step."""
        self.post_message(CursorMoved(by, max(1, self.content_size.width - MARGIN)))


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


WIDE = 120  # columns from which a list is placed beside its text (app.SIDE_BY_SIDE)


class WatchBody(Container):
    """Charts above samples; what does not fit is on further pages, which tab turns, the samples on the last.

    `_index` counts the focusable parts: the panels, then the samples.
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._state: WatchState | None = None
        self._plan = PanelLayout(1, 1, 0)
        self._index, self._came_from = 0, 0

    def compose(self) -> ComposeResult:
        """The charts above the samples."""
        yield ChartGrid()
        yield FilterLine("text in a prompt or response of any step")
        pane = SamplePane()
        pane.display = False  # until there are samples
        yield pane

    def show_state(self, state: WatchState) -> None:
        """Shows the watched stage."""
        self._state = state
        self.query_one(ChartGrid).show_state(state)
        self.query_one(SamplePane).show_state(state)
        self._arrange()

    def on_resize(self) -> None:
        """Arranges the parts again."""
        self._arrange()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Remembers which part has the focus."""
        if isinstance(event.widget, Chart):
            self._index = self.query_one(ChartGrid).charts.index(event.widget)
        elif isinstance(event.widget, SampleList):
            self._index = self._count

    @property
    def panel(self) -> Panel | None:
        """The panel with the focus, or None if the samples have it."""
        shown = self.query_one(ChartGrid).shown
        return shown[self._index].panel if self._index < len(shown) else None

    @property
    def at_samples(self) -> bool | None:
        """Whether the samples have the focus, or None if there are none."""
        return self._index >= self._count if self._sampled else None

    @property
    def asides(self) -> list[str]:
        """The page and the view settings in words, in full and ever shorter."""
        if self._state is None:
            return []
        view, page = self._state.view, ""
        if self._paged:
            first, last, count = self.query_one(ChartGrid).range
            some = f"{first}-{last}" if last > first else f"{first}"
            page = "samples" if self._index >= count else f"{some} of {count}"
        window = f"steps {view.window[0]:.0f}-{view.window[1]:.0f}" if view.window else ""
        texts = [window, "smoothed" if view.smoothing else "", "log" if view.log else "", page]
        return [", ".join(filter(None, texts[start:])) for start in range(len(texts))]

    def to_first_panel(self) -> None:
        """Gives the focus to the first panel."""
        self._go_to(0)

    def next_panel(self, by: int) -> None:
        """Gives the focus to another panel, and shows its page."""
        if parts := self._count + self._sampled:
            self._go_to((self._index + by) % parts)

    def to_samples(self) -> None:
        """Gives the focus to the samples; from there back to the panel that had it before."""
        if self._sampled:
            index = self._came_from if self.at_samples else self._count
            self._came_from = self._index
            self._go_to(index)

    def open_filter(self) -> None:
        """Shows the samples and the line to type a filter in."""
        self.query_one(FilterLine).open()
        if not self.at_samples:
            self._came_from, self._index = self._index, self._count
            self._arrange()

    @property
    def _count(self) -> int:
        return len(self.query_one(ChartGrid).shown)

    @property
    def _sampled(self) -> bool:
        return self._state is not None and bool(self._state.sampled_steps)

    @property
    def _paged(self) -> bool:
        return self._plan.pages(self._count) > 1 or (self._sampled and not self._plan.samples)

    def _go_to(self, index: int) -> None:
        self._index = index
        self._arrange()
        self.call_after_refresh(self._target().focus)

    def _target(self) -> Widget:
        shown = self.query_one(ChartGrid).shown
        return shown[self._index] if self._index < len(shown) else self.query_one(SampleList)

    def _arrange(self) -> None:
        """Shows the page with the part that has the focus."""
        grid, pane = self.query_one(ChartGrid), self.query_one(SamplePane)
        if self._state is None or min(self.size) < 1:
            return
        count = self._count
        self._plan = arrange_panels(self.size.width, self.size.height, count, self._sampled)
        if self._index > count or (self._index == count and not self._sampled):
            self._index = 0
        alone = self._index == count and not self._plan.samples
        grid.turn_to(self._index, self._plan)
        grid.display = not alone
        pane.display = self._sampled and (alone or self._plan.samples > 0)
        pane.query_one("#sample-text").display = alone or self.size.width >= WIDE
        pane.styles.height = "1fr" if alone else self._plan.samples
        if self.screen.focused is None or not self.screen.focused.display:
            self.call_after_refresh(self._target().focus)  # a part that was hidden cannot take the focus yet
