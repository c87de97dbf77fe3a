"""Pastes arrive as one text, whatever they contain.

Textual's parser reads an escape sequence inside a bracketed paste as keys, and may then miss the end of the paste and
ignore every later key. Terminal output copied with its colors is such a text.
"""

from collections.abc import Iterable

from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.message import Message

ESCAPE, PICTURE = "\x1b", "\u241b"
START, END = "\x1b[200~", "\x1b[201~"


class PasteParser(XTermParser):
    """The parser, with each escape character inside a paste replaced by a control picture."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._pasting = False
        self._before = ""  # the last characters outside a paste, which may begin its start mark
        self._held = ""  # the last characters inside, which may begin its end mark

    def feed(self, data: str) -> Iterable[Message]:
        """The messages of more input; an empty string ends the input."""
        harmless = self._harmless(data)
        return super().feed(harmless) if harmless or not data else ()

    def _harmless(self, data: str) -> str:
        found = ""
        while data:
            if self._pasting:
                text, end, data = (self._held + data).partition(END)
                self._held = "" if end else _beginning_of(END, text)
                found += text.removesuffix(self._held).replace(ESCAPE, PICTURE) + end
                self._pasting = not end
            else:
                outside, start, rest = (self._before + data).partition(START)
                found += (outside + start)[len(self._before) :]
                self._before = "" if start else outside[1 - len(START) :]
                self._pasting, data = bool(start), rest
        return found


def guard_pastes() -> None:
    """Makes Textual read the terminal with this parser."""
    vars(linux_driver)["XTermParser"] = PasteParser


def _beginning_of(mark: str, text: str) -> str:
    """The longest end of a text that is a beginning of a mark."""
    return next((mark[:size] for size in range(len(mark) - 1, 0, -1) if text.endswith(mark[:size])), "")
