"""The panels and the samples of the watched stage, arranged for the size of the screen."""

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from slmctl.tui.watch.charts import Chart, ChartGrid, PanelLayout, arrange_panels
from slmctl.tui.watch.sample_pane import SampleList, SamplePane
from slmctl.tui.widgets.filter_line import FilterLine
from slmctl.watch.panels import Panel
from slmctl.watch.state import WatchState

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
