"""Sentences, tables and lists of facts for people: fitted to a terminal, plain aligned lines elsewhere.

A command at the end of a sentence is never wrapped, so that it can be copied. Rich is imported only for a terminal, so
that a pipe does not wait for it.
"""

import os
import sys
from collections.abc import Collection, Iterable, Sequence
from textwrap import fill, wrap
from typing import IO

COMMAND = ": slmctl "
GAP = "  "


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


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """Prints rows under their titles; the columns whose numbers are in `right` are aligned to the right."""
    if sys.stdout.isatty():
        _draw_table(titles, rows, right)
        return
    lines = [titles, *rows] if any(titles) else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = zip(line, widths, strict=True)
        padded = [
            f"{cell:>{width}}" if number in right else f"{cell:<{width}}" for number, (cell, width) in enumerate(cells)
        ]
        print(GAP.join(padded).rstrip())


def print_facts(facts: Iterable[tuple[str, str]], label_width: int, width: int = 0) -> None:
    """Prints labels with a text beside each; without a terminal, lines are wrapped at `width`, 0 for no limit.

    No word is cut.
    """
    facts = list(facts)
    if sys.stdout.isatty():
        _draw_table(("", ""), facts, ())
        return
    label_width = max([label_width, *(len(label) + 2 for label, _ in facts)])
    for label, text in facts:
        room = width - label_width if width else max(1, len(text))
        lines = wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        for name, line in zip([label, *[""] * (len(lines) - 1)], lines, strict=True):
            print(f"{name:<{label_width}}{line}".rstrip())


def _draw_table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if any(titles) else None, show_header=any(titles), pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number in right else "left", overflow="fold")
    for first, *others in rows:
        table.add_row(Text(first, "bold"), *map(Text, others))
    Console(highlight=False).print(table)
