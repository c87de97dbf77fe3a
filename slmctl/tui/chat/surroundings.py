"""The lines around the turns of a chat: what holds, what the shades mean, other checkpoints, what can be typed."""

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from slmctl.tui.chat.lens import OFF, scale_of
from slmctl.tui.chat.lines import head, hint
from slmctl.tui.chat.replying import place_of
from slmctl.tui.chat.scrubber import Scrubber

if TYPE_CHECKING:
    from slmctl.tui.chat.screen import ChatScreen

ROOMY = 16  # rows, below which the replies have all the room there is


def show_lines(screen: "ChatScreen", kept: bool) -> None:
    """Writes them anew; `kept` says that the conversation is on the disk."""
    chat, size = screen.chat, screen.app.size
    screen.query_one("#chat-head", Static).update(head(chat, kept, size.width))
    serial = None if screen.focused_pane is None else screen.focused_pane.serial
    told = hint(chat, screen.box.completions, screen.box.text, serial)
    screen.query_one("#chat-hint", Static).update(Content(told))
    place = place_of(screen) if chat.turns and size.height >= ROOMY else None
    legend, lens = screen.query_one("#chat-legend", Static), screen.turns.lens
    legend.display = lens != OFF and place is not None
    if legend.display and place is not None:
        legend.update(scale_of(lens, chat.candidates(place[0]).values()).legend())
    screen.query_one(Scrubber).show(chat, place)
