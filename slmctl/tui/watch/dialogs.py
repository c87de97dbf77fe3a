"""The screens on top of the Train mode: a text to read, the metric picker, one panel in full."""

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
from slmctl.plots.styled_rows import Row
from slmctl.tui.watch.body import Chart
from slmctl.tui.watch.messages import CursorMoved, StepChosen
from slmctl.tui.widgets.key_line import KeyLine
from slmctl.tui.widgets.option_list import SafeOptionList
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.panels import Panel, explain_panel
from slmctl.watch.state import VIEW_ACTIONS, WatchState

FRAME = 6  # columns of border, padding and scroll bar


class TextDialog(ModalScreen[None]):
    """A text that scrolls; its rows are made for the width of the screen."""

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
        """Wraps the lines again."""
        self._fill()

    def _fill(self) -> None:
        rows = self._rows(max(10, min(100, self.app.size.width) - FRAME))
        text = self.query_one("#reading-text", RowsView)
        text.styles.height = max(1, len(rows))
        text.paint(lambda width, height: rows)


class MetricPicker(ModalScreen[list[str] | None]):
    """Every metric that a stage reports, with its meaning; returns the picked ones, [] for the default."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "Toggle", id="metrics.tick"),
        Binding("c,q", "choose", "Show these", id="metrics.choose"),
        Binding("d", "default", "Default metrics", id="metrics.default"),
        Binding("escape", "dismiss(None)", "Cancel", id="metrics.cancel"),
    ]

    def __init__(self, stage: str, known: Sequence[str], shown: Sequence[str]) -> None:
        super().__init__()
        self._stage, self._known, self._ticked = stage, list(known), set(shown)

    def compose(self) -> ComposeResult:
        """A list to tick; the marks are characters, so that they are visible without color."""
        with Container(id="metrics-frame") as frame:
            frame.border_title = Content(f"metrics of {one_line(self._stage)}")
            frame.border_subtitle = Content("space toggles, c applies, d restores the defaults, esc cancels")
            yield SafeOptionList(*(self._line(name) for name in self._known), markup=False)

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Ticks or unticks a metric."""
        message.stop()
        self.action_tick()

    def action_tick(self) -> None:
        """Ticks or unticks the metric under the cursor."""
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            name = self._known[options.highlighted]
            self._ticked ^= {name}
            options.replace_option_prompt_at_index(options.highlighted, self._line(name))

    def action_choose(self) -> None:
        """Returns the ticked metrics, in the order of the list."""
        self.dismiss([name for name in self._known if name in self._ticked])

    def action_default(self) -> None:
        """Returns to the default metrics."""
        self.dismiss([])

    def _line(self, name: str) -> Text:
        entry = describe_any(name)
        meaning = f": {entry.meaning}" if entry.meaning else ""
        unit = f" ({entry.unit})" if entry.unit else ""
        return Text(f"[{'x' if name in self._ticked else ' '}] {one_line(entry.title + meaning + unit)}")


class ZoomScreen(Screen[None]):
    """One panel in full with the meaning of its metrics; the screen below keeps following the runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,z,q", "dismiss", "Back", id="zoom.close"),
        Binding("plus,equals_sign", "look('narrower')", "Fewer steps", id="zoom.narrower"),
        Binding("minus", "look('wider')", "More steps", id="zoom.wider"),
        Binding("m", "look('smooth')", "Smooth", id="zoom.smooth"),
        Binding("l", "look('log')", "Log", id="zoom.log"),
        Binding("home", "look('oldest')", "First step", id="zoom.oldest", show=False),
        Binding("end", "look('newest')", "Newest step", id="zoom.newest", show=False),
        Binding("exclamation_mark", "look('alert')", "Step of the previous alert", id="zoom.alert", show=False),
    ]

    def __init__(self, panel: Panel, state: WatchState) -> None:
        super().__init__()
        self._panel, self._state = panel, state

    def compose(self) -> ComposeResult:
        """The panel above its explanation."""
        yield Chart(id="zoom-chart")
        yield RowsView(id="zoom-about")
        yield KeyLine()

    def on_mount(self) -> None:
        """Shows the panel."""
        self.show_state(self._state)
        self.query_one(Chart).focus()

    def show_state(self, state: WatchState) -> None:
        """Shows the panel with the newest values."""
        self._state = state
        self.query_one(Chart).show_panel(self._panel, state.stage, state.runs, state.view)
        about = self.query_one("#zoom-about", RowsView)
        rows = explain_panel(self._panel, state.stage, state.runs, state.view, max(1, self.app.size.width - 1))
        about.styles.height = len(rows)
        about.paint(lambda width, height: rows)

    def on_resize(self) -> None:
        """Wraps the explanation again."""
        self.show_state(self._state)

    def on_cursor_moved(self, message: CursorMoved) -> None:
        """Points at another step."""
        message.stop()
        self._state.move(message.by, message.columns)
        self.show_state(self._state)

    def on_step_chosen(self, message: StepChosen) -> None:
        """Points at a step."""
        message.stop()
        self._state.point(message.step)
        self.show_state(self._state)

    def action_look(self, how: str) -> None:
        """Changes the view in the way that VIEW_ACTIONS names."""
        VIEW_ACTIONS[how](self._state)
        self.show_state(self._state)
