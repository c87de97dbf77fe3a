"""A line that filters a list; shown only while it is used."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from slmctl.tui.messages import FilterChanged


class FilterLine(Input):
    """Opens with /; enter keeps the filter, escape clears it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Clear filter", id="filter.clear"),
        Binding("down", "keep", "To the list", show=False),
    ]

    def __init__(self, placeholder: str = "filter") -> None:
        super().__init__(placeholder=placeholder, compact=True)
        self.display = False

    def open(self) -> None:
        """Shows the line and takes the focus."""
        self.display = True
        self.screen.set_focus(self)  # at once: the next key may be typed already

    def on_blur(self) -> None:
        """Hides the line if it is empty."""
        self.display = bool(self.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Posts what is typed."""
        event.stop()
        self.post_message(FilterChanged(self.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Returns to the filtered list."""
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Returns to the list."""
        self.display = bool(self.value)
        self.post_message(FilterChanged(self.value, done=True))

    def empty(self) -> None:
        """Removes the text and hides the line, without a message."""
        with self.prevent(Input.Changed):
            self.value = ""
        self.display = False

    def action_clear(self) -> None:
        """Clears the filter."""
        self.empty()
        self.action_keep()
