"""One turn of a chat: the prompt over the replies to it, side by side where there is room, else one below the other."""

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Static

from slmctl.tui.chat.reply_pane import ReplyPane, View

COLUMN = 34  # narrower columns are stacked
WIDE = 96  # and on a narrower screen all are


class TurnBlock(Vertical):
    """The turn with serial number `serial`: what was `asked`, and a pane for each of `views`."""

    def __init__(self, serial: int, asked: Content, views: Sequence[View]) -> None:
        super().__init__()
        self.serial = serial
        self.panes = [ReplyPane(serial, view) for view in views]
        self._asked = Static(asked, markup=False, classes="asked")
        self._replies = Container(*self.panes, classes="replies")

    def compose(self) -> ComposeResult:
        """What was typed, then the replies."""
        yield self._asked
        yield self._replies

    def show(self, asked: Content, views: Sequence[View]) -> None:
        """Shows another state of the same turn."""
        self._asked.update(asked)
        for pane, view in zip(self.panes, views, strict=True):
            pane.show(view)

    def on_resize(self, event: events.Resize) -> None:
        """Puts the replies side by side where there is room."""
        count = len(self.panes)
        self.set_class(count > 1 and event.size.width >= max(WIDE, count * COLUMN), "-columns")
