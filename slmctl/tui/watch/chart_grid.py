"""The panels of a stage in a grid, as many on a page as fit; the page is the one with the panel that has the focus."""

from textual.app import ComposeResult
from textual.containers import Container

from engine.rundir.directory import STAGES
from slmctl.tui.watch.chart import Chart
from slmctl.tui.watch.layout import Arrangement
from slmctl.watch.panels import default_panels
from slmctl.watch.state import Watching


class ChartGrid(Container):
    """Keeps its charts from one stage to the next; those that are not on the page are not drawn."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.charts = [Chart() for _ in range(max(len(default_panels(stage)) for stage in STAGES))]
        self._count = 0
        self._page = 0
        self._arrangement = Arrangement(1, 1, 0)

    def compose(self) -> ComposeResult:
        """As many charts as a stage needs, unless more are picked."""
        for chart in self.charts:
            chart.display = False  # until it is on the page
            yield chart

    @property
    def shown(self) -> list[Chart]:
        """The charts of the stage, on whatever page."""
        return self.charts[: self._count]

    @property
    def range(self) -> tuple[int, int, int]:
        """The first and the last panel on the page, counted from 1, and how many there are."""
        start = self._page * self._arrangement.a_page
        return start + 1, min(self._count, start + self._arrangement.a_page), self._count

    def look_at(self, watching: Watching) -> None:
        """Shows the panels of what is watched."""
        panels = watching.panels
        while len(self.charts) < len(panels):
            self.charts.append(Chart())
            self.charts[-1].display = False
            self.mount(self.charts[-1])
        self._count = len(panels)
        for chart, panel in zip(self.charts, panels, strict=False):
            chart.look_at(panel, watching.stage, watching.stories, watching.view)

    def turn_to(self, place: int, arrangement: Arrangement) -> None:
        """Shows the page with the panel at `place`; past the last the page stays."""
        self._arrangement = arrangement
        last_page = max(0, arrangement.pages(self._count) - 1)
        self._page = min(self._page if place >= self._count else place // arrangement.a_page, last_page)
        first, last, _ = self.range
        for number, chart in enumerate(self.charts, start=1):
            chart.display = first <= number <= last
        beside = max(1, min(arrangement.columns, last - first + 1))
        self.styles.grid_size_columns = beside
        self.styles.grid_size_rows = max(1, -(-(last - first + 1) // beside))
