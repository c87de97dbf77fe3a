"""Where passing notes stand: never over a field that is typed into."""

from typing import Any

from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Input, TextArea
from textual.widgets._toast import ToastRack

EDGE = 1  # the line at the top names the modes, that at the bottom the keys


def make_room(screen: Screen[Any]) -> None:
    """Puts the notes of a screen above or below the field that has the focus, or would have it next, where there is
    more room, at most half the screen of them; without such a field at the bottom."""
    try:
        rack = screen.get_child_by_type(ToastRack)
    except NoMatches:
        return
    height = screen.size.height
    above, below = 0, height
    fields = [widget for widget in screen.focus_chain if isinstance(widget, Input | TextArea)]
    if fields:
        field = screen.focused if screen.focused in fields else fields[0]
        above, below = field.region.y, height - field.region.bottom
    rack.styles.dock = "top" if above > below else "bottom"
    rack.styles.margin = (EDGE, 0, 0, 0) if above > below else (0, 0, EDGE, 0)
    rack.styles.max_height = max(1, min(max(above, below) - EDGE, height // 2))
