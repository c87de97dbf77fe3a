"""Sentences for people: wrapped between words on a terminal, one line elsewhere.

A command at the end of a sentence is never wrapped, so that it can be copied.
"""

import os
import sys
from textwrap import fill
from typing import IO

COMMAND = ": slmctl "


def say(text: str, stream: IO[str] | None = None) -> None:
    """Prints a sentence on a stream, stderr by default."""
    stream = sys.stderr if stream is None else stream
    print(wrap_sentence(text, _columns(stream)), file=stream, flush=True)


def wrap_sentence(text: str, columns: int) -> str:
    """The text in lines of at most `columns`, broken only between words; 0 for no limit."""
    if len(text) <= columns or columns <= 0:
        return text
    prose, colon, command = text.partition(COMMAND)
    lines = [fill(line, columns, break_long_words=False, break_on_hyphens=False) for line in prose.split("\n")]
    wrapped = "\n".join(lines)
    if not colon:
        return wrapped
    fits = len(wrapped.rpartition("\n")[2] + colon + command) <= columns
    return wrapped + (colon if fits else COMMAND.replace(" ", "\n", 1)) + command


def _columns(stream: IO[str]) -> int:
    """The width of a terminal; 0 if unknown or not a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return 0
