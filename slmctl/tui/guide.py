"""A page of the manual on the screen; a list of topics leads to the others."""

from typing import ClassVar

from rich.markdown import Markdown
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from slmctl.guide.pages import TOPICS, page
from slmctl.tui.keymap import key_tables
from slmctl.tui.widgets.option_list import SafeOptionList


class GuideScreen(ModalScreen[None]):
    """A page of the manual, or the list of topics if none is given."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Back", id="guide.close"),
        Binding("g", "topics", "Topics", id="guide.topics"),
    ]

    def __init__(self, topic: str | None = None) -> None:
        super().__init__()
        self.topic = topic

    def compose(self) -> ComposeResult:
        """The topics and the page, one of them shown."""
        yield SafeOptionList(
            *(Option(Content(f"{name:<16} {text}"), id=name) for name, text in TOPICS.items()), id="guide-topics"
        )
        with VerticalScroll(id="guide-page"):
            yield Static(id="guide-text")  # one text: a widget for each table cell would take seconds

    def on_mount(self) -> None:
        """Shows the page that was asked for, or the topics."""
        self._show(self.topic)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Opens the chosen page."""
        self._show(event.option_id)

    def action_topics(self) -> None:
        """Shows the list of topics."""
        self._show(None)

    def action_close(self) -> None:
        """Closes the manual."""
        self.dismiss()

    def _show(self, topic: str | None) -> None:
        topics, frame = self.query_one(OptionList), self.query_one(VerticalScroll)
        topics.display, frame.display = topic is None, topic is not None
        if topic is None:
            topics.focus()
            return
        self.query_one("#guide-text", Static).update(Markdown(page(topic, key_tables()), hyperlinks=False))
        frame.scroll_home(animate=False)
        frame.focus()
