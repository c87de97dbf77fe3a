"""Tables and lists of facts on stdout: drawn by rich on a terminal, aligned plain lines elsewhere.

Rich is imported only for a terminal, so that a pipe does not wait for it.
"""

import sys
from collections.abc import Collection, Iterable, Sequence
from textwrap import wrap

GAP = "  "


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
    """Prints labels with a text beside each; off a terminal, lines are wrapped at `width`, 0 for no limit.

    No word is cut.
    """
    if sys.stdout.isatty():
        _draw_table(("", ""), list(facts), ())
        return
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
