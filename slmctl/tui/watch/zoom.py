"""One panel on the whole screen, with what its numbers mean, and the same keys as in the grid."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from slmctl.tui.messages import CursorMoved, StepChosen
from slmctl.tui.watch.chart import Chart
from slmctl.tui.widgets.key_line import KeyLine
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.panels import Panel, described
from slmctl.watch.state import LOOKS, Watching


class ZoomScreen(Screen[None]):
    """A panel of what is watched; the watched runs go on being followed by the screen below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,z,q", "dismiss", "Back", id="zoom.close"),
        Binding("plus,equals_sign", "look('narrower')", "Fewer steps", id="zoom.narrower"),
        Binding("minus", "look('wider')", "More steps", id="zoom.wider"),
        Binding("m", "look('smooth')", "Smooth", id="zoom.smooth"),
        Binding("l", "look('log')", "Log", id="zoom.log"),
        Binding("home", "look('oldest')", "First step", id="zoom.oldest", show=False),
        Binding("end", "look('newest')", "Newest step", id="zoom.newest", show=False),
        Binding("exclamation_mark", "look('alarm')", "Step of the alarm before", id="zoom.alarm", show=False),
    ]

    def __init__(self, panel: Panel, watching: Watching) -> None:
        super().__init__()
        self._panel, self._watching = panel, watching

    def compose(self) -> ComposeResult:
        """The panel above what it means."""
        yield Chart(id="zoom-chart")
        yield RowsView(id="zoom-about")
        yield KeyLine()

    def on_mount(self) -> None:
        """Shows the panel."""
        self.look_at(self._watching)
        self.query_one(Chart).focus()

    def look_at(self, watching: Watching) -> None:
        """Shows the panel with what is new."""
        view = watching.view
        self.query_one(Chart).look_at(self._panel, watching.stage, watching.stories, view)
        about = self.query_one("#zoom-about", RowsView)
        rows = described(self._panel, watching.stage, watching.stories, view, max(1, self.app.size.width - 1))
        about.styles.height = len(rows)
        about.paint(lambda width, height: rows)

    def on_resize(self) -> None:
        """Breaks the lines below anew."""
        self.look_at(self._watching)

    def on_cursor_moved(self, message: CursorMoved) -> None:
        """Points at another step."""
        message.stop()
        self._watching.move(message.by, message.columns)
        self.look_at(self._watching)

    def on_step_chosen(self, message: StepChosen) -> None:
        """Points at a step."""
        message.stop()
        self._watching.point(message.step)
        self.look_at(self._watching)

    def on_zoom_asked(self) -> None:
        """It is as large as it can be."""

    def action_look(self, how: str) -> None:
        """Looks at the panel in another way, by its name in watching.LOOKS."""
        LOOKS[how](self._watching)
        self.look_at(self._watching)
