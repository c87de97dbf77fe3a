"""Frames, bars, arrows and other marks in ASCII, where that is asked for; what models and people wrote stays.

Our own charts and lists choose their marks by themselves; this is for what Textual draws, and for what is left.
"""

from rich.segment import Segment
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
    "? ": "🔎",  # it is two cells wide
}
TABLE = {ord(mark): plain for plain, marks in MARKS.items() for mark in marks}


class AsciiMarks(LineFilter):
    """Draws each mark as an ASCII character of its width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments with other marks."""
        return [
            segment
            if segment.text.isascii()
            else Segment(segment.text.translate(TABLE), segment.style, segment.control)
            for segment in segments
            for text, style, control in [segment]
        ]
