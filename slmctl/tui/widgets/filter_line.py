"""A line to type in that narrows a list down; it is there only while it is wanted."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from slmctl.tui.messages import FilterChanged


class FilterLine(Input):
    """Opens with /, keeps what was typed on enter, drops it on escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "drop", "Drop the filter", id="filter.drop"),
        Binding("down", "keep", "To the list", show=False),
    ]

    def __init__(self, placeholder: str = "filter") -> None:
        super().__init__(placeholder=placeholder, compact=True)
        self.display = False

    def open(self) -> None:
        """Shows the line and takes the focus."""
        self.display = True
        self.screen.set_focus(self)  # at once, not after the next round of the loop: the next key is typed already

    def on_blur(self) -> None:
        """Goes where nothing was typed."""
        self.display = bool(self.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Says what is typed."""
        event.stop()
        self.post_message(FilterChanged(self.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Goes back to the list, which stays as narrow as it is."""
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Goes back to the list."""
        self.display = bool(self.value)
        self.post_message(FilterChanged(self.value, done=True))

    def empty(self) -> None:
        """Takes the text away and goes, and says nothing of it."""
        with self.prevent(Input.Changed):
            self.value = ""
        self.display = False

    def action_drop(self) -> None:
        """Drops the filter."""
        self.empty()
        self.action_keep()
