"""The responses to a prompt, as many panels as a question has, side by side where there is room."""

from itertools import zip_longest

from textual.app import ComposeResult
from textual.containers import Container

from slmctl.label.candidates import Question
from slmctl.label.selection import MOST
from slmctl.tui.label.response_panel import ResponsePanel


class Responses(Container):
    """All panels; those that the question does not need are hidden."""

    def compose(self) -> ComposeResult:
        """The most that there can be."""
        yield from (ResponsePanel(place) for place in range(MOST))

    def show(self, question: Question) -> None:
        """Puts the responses of a question into the panels."""
        self.set_classes(f"-k{len(question)}")
        for panel, candidate in zip_longest(self.query(ResponsePanel), question.on_screen):
            panel.show(candidate)

    def scroll_pages(self, pages: int) -> None:
        """Scrolls all responses."""
        for panel in self.query(ResponsePanel):
            panel.scroll_relative(y=pages * max(1, panel.size.height - 2), animate=False)
