"""The panels and the samples of what is watched, arranged for the size there is, one of them with the focus."""

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from slmctl.tui.watch.charts import WIDE, Chart, ChartGrid, PanelLayout, arrange_panels
from slmctl.tui.watch.sample_pane import SampleList, SamplePane
from slmctl.tui.widgets.filter_line import FilterLine
from slmctl.watch.panels import Panel
from slmctl.watch.state import WatchState


class WatchBody(Container):
    """Where there is no room for all, tab turns the pages; the samples come after the last panel."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._watching: WatchState | None = None
        self._arrangement = PanelLayout(1, 1, 0)
        self._place, self._came_from = 0, 0

    def compose(self) -> ComposeResult:
        """The charts above the samples."""
        yield ChartGrid()
        yield FilterLine("text in a prompt or a response, of all steps")
        pane = SamplePane()
        pane.display = False  # until there are samples
        yield pane

    def look_at(self, watching: WatchState) -> None:
        """Shows what is watched."""
        self._watching = watching
        self.query_one(ChartGrid).look_at(watching)
        self.query_one(SamplePane).look_at(watching)
        self._arrange()

    def on_resize(self) -> None:
        """Arranges anew."""
        self._arrange()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Remembers where the focus went."""
        if isinstance(event.widget, Chart):
            self._place = self.query_one(ChartGrid).charts.index(event.widget)
        elif isinstance(event.widget, SampleList):
            self._place = self._count

    @property
    def panel(self) -> Panel | None:
        """The panel with the focus; None where the samples have it."""
        shown = self.query_one(ChartGrid).shown
        return shown[self._place].panel if self._place < len(shown) else None

    @property
    def at_samples(self) -> bool | None:
        """Whether the samples have the focus; None where there are none."""
        return self._place >= self._count if self._sampled else None

    @property
    def aside(self) -> list[str]:
        """What else there is to see than what is on this page, and how it is looked at: in full, and shorter."""
        if self._watching is None:
            return []
        view, page = self._watching.view, ""
        if self._paged:
            first, last, count = self.query_one(ChartGrid).range
            some = f"{first}-{last}" if last > first else f"{first}"
            page = "samples" if self._place >= count else f"{some} of {count}"
        window = f"steps {view.window[0]:.0f}-{view.window[1]:.0f}" if view.window else ""
        looks = [window, "smoothed" if view.smoothing else "", "log" if view.log else "", page]
        return [", ".join(filter(None, looks[start:])) for start in range(len(looks))]

    def begin(self) -> None:
        """Goes to the first panel."""
        self._go_to(0)

    def next_panel(self, by: int) -> None:
        """Gives the focus to another panel, and shows its page."""
        if places := self._count + self._sampled:
            self._go_to((self._place + by) % places)

    def to_samples(self) -> None:
        """Gives the focus to the samples; from there back to the panel that had it before."""
        if self._sampled:
            place = self._came_from if self.at_samples else self._count
            self._came_from = self._place
            self._go_to(place)

    def open_filter(self) -> None:
        """Shows the samples, and the line that asks for a text in them."""
        self.query_one(FilterLine).open()
        if not self.at_samples:
            self._came_from, self._place = self._place, self._count
            self._arrange()

    @property
    def _count(self) -> int:
        return len(self.query_one(ChartGrid).shown)

    @property
    def _sampled(self) -> bool:
        return self._watching is not None and bool(self._watching.history)

    @property
    def _paged(self) -> bool:
        return self._arrangement.pages(self._count) > 1 or (self._sampled and not self._arrangement.samples)

    def _go_to(self, place: int) -> None:
        self._place = place
        self._arrange()
        self.call_after_refresh(self._target().focus)

    def _target(self) -> Widget:
        shown = self.query_one(ChartGrid).shown
        return shown[self._place] if self._place < len(shown) else self.query_one(SampleList)

    def _arrange(self) -> None:
        """Shows the page with the place of the focus."""
        watching, grid, pane = self._watching, self.query_one(ChartGrid), self.query_one(SamplePane)
        if watching is None or min(self.size) < 1:
            return
        count = self._count
        self._arrangement = arrange_panels(self.size.width, self.size.height, count, self._sampled)
        if self._place > count or (self._place == count and not self._sampled):
            self._place = 0
        alone = self._place == count and not self._arrangement.samples
        grid.turn_to(self._place, self._arrangement)
        grid.display = not alone
        pane.display = self._sampled and (alone or self._arrangement.samples > 0)
        pane.query_one("#sample-text").display = alone or self.size.width >= WIDE
        pane.styles.height = "1fr" if alone else self._arrangement.samples
        if self.screen.focused is None or not self.screen.focused.display:
            self.call_after_refresh(self._target().focus)  # what was hidden until now cannot take it yet
