"""Chooses what is shown of a stage: every metric that it reports, with its meaning."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList

from engine.core.metrics import describe_any
from slmctl.console.safe import one_line


class MetricsScreen(ModalScreen[list[str] | None]):
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
