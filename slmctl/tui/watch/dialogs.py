"""The dialogs of Train: a text to read, a chart that fills the screen, the metrics to show."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import OptionList

from engine.core.metrics import describe_any
from slmctl.console.safe import clean, one_line
from slmctl.plots.rows import Row
from slmctl.tui.watch.charts import Chart
from slmctl.tui.watch.messages import CursorMoved, StepChosen
from slmctl.tui.widgets.key_line import KeyLine
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.panels import Panel, explain_panel
from slmctl.watch.state import VIEW_ACTIONS, WatchState

FRAME = 6  # columns of border, padding and scroll bar


class TextDialog(ModalScreen[None]):
    """Rows that are made for the width there is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,z,a", "dismiss", "Close", id="reading.close")]

    def __init__(self, title: str, rows: Callable[[int], list[Row]]) -> None:
        super().__init__()
        self._title, self._rows = title, rows

    def compose(self) -> ComposeResult:
        """One text in a frame."""
        with VerticalScroll(id="reading-frame") as frame:
            frame.border_title = Content(clean(self._title))
            frame.border_subtitle = Content("esc closes")
            yield RowsView(id="reading-text")

    def on_mount(self) -> None:
        """Fills the frame."""
        self._fill()
        self.query_one(VerticalScroll).focus()

    def on_resize(self, event: events.Resize) -> None:
        """Breaks the lines anew."""
        self._fill()

    def _fill(self) -> None:
        rows = self._rows(max(10, min(100, self.app.size.width) - FRAME))
        text = self.query_one("#reading-text", RowsView)
        text.styles.height = max(1, len(rows))
        text.paint(lambda width, height: rows)


class MetricPicker(ModalScreen[list[str] | None]):
    """Gives back the chosen metrics; none of them means those that matter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "Tick", id="metrics.tick"),
        Binding("c,q", "choose", "Show these", id="metrics.choose"),
        Binding("d", "usual", "The usual ones", id="metrics.usual"),
        Binding("escape", "dismiss(None)", "As before", id="metrics.cancel"),
    ]

    def __init__(self, stage: str, known: Sequence[str], shown: Sequence[str]) -> None:
        super().__init__()
        self._stage, self._known, self._ticked = stage, list(known), set(shown)

    def compose(self) -> ComposeResult:
        """A list to tick; the marks are characters, so that they show without colour."""
        with Container(id="metrics-frame") as frame:
            frame.border_title = Content(f"metrics of {one_line(self._stage)}")
            frame.border_subtitle = Content("space ticks, c shows these, d the usual ones, esc leaves")
            yield OptionList(*(self._line(name) for name in self._known), markup=False)

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Ticks a metric, or no longer."""
        message.stop()
        self.action_tick()

    def action_tick(self) -> None:
        """Ticks the metric under the cursor, or no longer."""
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            name = self._known[options.highlighted]
            self._ticked ^= {name}
            options.replace_option_prompt_at_index(options.highlighted, self._line(name))

    def action_choose(self) -> None:
        """Closes with what is ticked, in the order of the list."""
        self.dismiss([name for name in self._known if name in self._ticked])

    def action_usual(self) -> None:
        """Closes with what matters in this stage."""
        self.dismiss([])

    def _line(self, name: str) -> Text:
        entry = describe_any(name)
        meaning = f": {entry.meaning}" if entry.meaning else ""
        unit = f" ({entry.unit})" if entry.unit else ""
        return Text(f"[{'x' if name in self._ticked else ' '}] {one_line(entry.title + meaning + unit)}")


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

    def __init__(self, panel: Panel, watching: WatchState) -> None:
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

    def look_at(self, watching: WatchState) -> None:
        """Shows the panel with what is new."""
        view = watching.view
        self.query_one(Chart).look_at(self._panel, watching.stage, watching.stories, view)
        about = self.query_one("#zoom-about", RowsView)
        rows = explain_panel(self._panel, watching.stage, watching.stories, view, max(1, self.app.size.width - 1))
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

    def on_zoom_requested(self) -> None:
        """It is as large as it can be."""

    def action_look(self, how: str) -> None:
        """Looks at the panel in another way, by its name in watching.VIEW_ACTIONS."""
        VIEW_ACTIONS[how](self._watching)
        self.look_at(self._watching)
