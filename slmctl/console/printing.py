"""Sentences for people: on a terminal a long one breaks between two words, elsewhere it stays one line.

A command that ends a sentence is never broken: what is copied from the terminal must still be one line.
"""

import os
import sys
from textwrap import fill
from typing import IO

COMMAND = ": slmctl "


def say(text: str, stream: IO[str] | None = None) -> None:
    """Prints a sentence on a stream, stderr unless told."""
    stream = sys.stderr if stream is None else stream
    print(wrap_sentence(text, _columns(stream)), file=stream, flush=True)


def wrap_sentence(text: str, columns: int) -> str:
    """The text in lines of no more than `columns`, broken between words alone; 0 for no limit."""
    if len(text) <= columns or columns <= 0:
        return text
    prose, colon, command = text.partition(COMMAND)
    lines = [fill(line, columns, break_long_words=False, break_on_hyphens=False) for line in prose.split("\n")]
    told = "\n".join(lines)
    if not colon:
        return told
    fits = len(told.rpartition("\n")[2] + colon + command) <= columns
    return told + (colon if fits else COMMAND.replace(" ", "\n", 1)) + command


def _columns(stream: IO[str]) -> int:
    """How wide a terminal is; 0 for anything else, and for one that does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return 0
