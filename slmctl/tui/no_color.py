"""The screen without colour, where NO_COLOR asks for it: the terminal's own ink and paper, what stood out reversed."""

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

STANDS_OUT = 64  # of 255, between the grey behind a text and that of the screen


class Uncoloured(LineFilter):
    """Takes the greys off that Textual's monochrome leaves."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments in bold, underlined or reversed, and in no colour."""
        paper = round(background.brightness * 255)
        return [
            Segment(text, style and uncoloured(style, paper), control)
            for segment in segments
            for text, style, control in [segment]
        ]


@lru_cache(1024)
def uncoloured(style: Style, paper: int) -> Style:
    """A style without its colours, reversed where what it has behind its text is no shade of the screen's `paper`."""
    behind = style.color if style.reverse else style.bgcolor
    grey = paper if behind is None or behind.triplet is None else behind.triplet.red  # all three are the same in a grey
    return style + Style(color="default", bgcolor="default", reverse=abs(grey - paper) >= STANDS_OUT)
