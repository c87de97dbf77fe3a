"""What is pasted stays one text, whatever is in it.

Textual's parser takes an escape sequence inside a bracketed paste for keys, and may so miss where the paste ends: from
then on it hears no key at all. Terminal output that is copied with its colours is such a text.
"""

from collections.abc import Iterable

from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.message import Message

ESCAPE, PICTURE = "\x1b", "\u241b"
START, END = "\x1b[200~", "\x1b[201~"


class PasteParser(XTermParser):
    """The parser, given pastes in which a picture stands in place of each escape character."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._pasting = False
        self._before = ""  # the last characters outside a paste, in which its start may have begun
        self._held = ""  # the last ones inside, in which its end may have begun

    def feed(self, data: str) -> Iterable[Message]:
        """The messages of more input; of none, those of its end."""
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
    """Has the terminal read by that parser."""
    vars(linux_driver)["XTermParser"] = PasteParser


def _beginning_of(mark: str, text: str) -> str:
    """The longest end of a text with which a mark begins."""
    return next((mark[:size] for size in range(len(mark) - 1, 0, -1) if text.endswith(mark[:size])), "")
