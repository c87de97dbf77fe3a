"""Rows of text in parts that have a role, measured in terminal cells: a wide character takes two."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size

Row = list[tuple[str, str]]
"""One line: (text, role) from left to right; role "" is plain text."""


def to_lines(rows: Iterable[Row]) -> list[str]:
    """Rows as lines of text."""
    return ["".join(text for text, _ in row) for row in rows]


def cell_width(row: Row) -> int:
    """The cells that a row takes."""
    return sum(cell_len(text) for text, _ in row)


def fit_to_width(row: Row, width: int) -> Row:
    """A row cut or padded to exactly `width` cells."""
    kept: Row = []
    left = width
    for text, role in row:
        if left <= 0:
            break
        size = cell_len(text)
        kept.append((text if size <= left else set_cell_size(text, left), role))
        left -= size
    return [*kept, (" " * left, "")] if left > 0 else kept


def truncate(text: str, width: int) -> str:
    """A text in at most `width` cells, with an ellipsis if it was cut."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…" * (width > 0)


def join_ends(left: Row, right: Row, width: int) -> Row:
    """A row with one part at each end; the right one is left out if there is no room."""
    room = width - cell_width(left) - cell_width(right)
    return fit_to_width(left, width) if room < 1 else [*left, (" " * room, ""), *right]


def set_cell(row: Row, column: int, char: str | None, role: str) -> Row:
    """A row with another character, or only another role, in one column; its characters must be one cell wide."""
    found: Row = []
    start = 0
    for text, own in row:
        place = column - start
        start += len(text)
        if not 0 <= place < len(text):
            found.append((text, own))
            continue
        parts = ((text[:place], own), (char or text[place], role), (text[place + 1 :], own))
        found += [part for part in parts if part[0]]
    return found


def side_by_side(blocks: Sequence[Sequence[Row]], widths: Sequence[int], gap: int = 1) -> list[Row]:
    """Blocks of rows side by side, each in its width, as high as the highest."""
    found = []
    for number in range(max((len(block) for block in blocks), default=0)):
        row: Row = []
        for block, width in zip(blocks, widths, strict=True):
            row += [*(row and [(" " * gap, "")]), *fit_to_width(block[number] if number < len(block) else [], width)]
        found.append(row)
    return found


def wrap(row: Row, width: int) -> list[Row]:
    """A row wrapped into lines of at most `width` cells, between words and at line breaks."""
    from rich.console import Console
    from rich.text import Text

    whole, roles = Text(), [role for _, role in row]
    for number, (text, _) in enumerate(row):
        whole.append(text, str(number))  # a number is not a style of rich, which leaves it alone
    found: list[Row] = []
    for line in whole.wrap(Console(width=max(1, width), legacy_windows=False), max(1, width), overflow="fold"):
        line.rstrip()
        spans = sorted((span for span in line.spans if span.end > span.start), key=lambda span: span.start)
        found.append([(line.plain[span.start : span.end], roles[int(str(span.style))]) for span in spans])
    return found or [[]]
