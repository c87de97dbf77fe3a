"""Filters for every line before it is drawn: plain ASCII for --ascii, no color for NO_COLOR.

Charts and lists choose their own marks for ASCII; the filter replaces those that Textual draws. Text of models and
people stays.
"""

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

MARKS = {
    "-": "─━┄╌▔▀·–—",
    "_": "▁▂␣",
    "|": "│┃┊▌▐▊▋▍▎▏▕▉",
    "#": "█▃▄▅▆▇▓▒■",
    ".": "░▪",
    "$": "↵",
    "+": "┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛╋✓",
    ">": "→▸▶›",
    "<": "←◂◀‹",
    "^": "↑▲",
    "v": "↓▼",
    "*": "●◆•★",
    "o": "○",
    "~": "…",
    '"': "“”",
    "? ": "🔎",  # two cells wide
}
TABLE = {ord(mark): plain for plain, marks in MARKS.items() for mark in marks}
CONTRAST = 64  # of 255: a background that differs from the screen's by this much is visible


class AsciiMarks(LineFilter):
    """Draws each mark as an ASCII character of its width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments with ASCII marks."""
        return [
            Segment(text if text.isascii() else text.translate(TABLE), style, control)
            for text, style, control in segments
        ]


class NoColor(LineFilter):
    """Removes the grays that Textual's monochrome filter leaves."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments in bold, underlined or reversed, without color."""
        screen = round(background.brightness * 255)
        return [Segment(text, style and without_color(style, screen), control) for text, style, control in segments]


@lru_cache(1024)
def without_color(style: Style, screen: int) -> Style:
    """A style without its colors, reversed if its background differs from the gray level of the screen."""
    behind = style.color if style.reverse else style.bgcolor
    gray = screen if behind is None or behind.triplet is None else behind.triplet.red  # any channel of a gray
    return style + Style(color="default", bgcolor="default", reverse=abs(gray - screen) >= CONTRAST)
