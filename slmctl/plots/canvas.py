"""A grid of character cells to draw dots on: two by four dots per cell in braille, one in ASCII.

chart.py and plane.py decide what to draw; the screen decides what a role looks like.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from slmctl.plots.styled_rows import Row

BRAILLE = 0x2800
DOTS_HIGH = 4
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


@dataclass(frozen=True)
class Pen:
    """How dots are drawn: their role, their character in ASCII, and a pattern that tells lines apart without color.

    Of every `period` dot columns the first `on` are drawn.
    """

    role: str
    mark: str = "*"
    on: int = 1
    period: int = 1

    def draws(self, x: int) -> bool:
        """Whether the pattern has a dot in column `x`."""
        return x % self.period < self.on


class Canvas:
    """`columns` by `rows` cells; dot (0, 0) is at the top left, and dots outside are not drawn."""

    def __init__(self, columns: int, rows: int, ascii: bool = False) -> None:
        self.columns, self.rows, self.ascii = max(0, columns), max(0, rows), ascii
        self.wide = self.columns if ascii else self.columns * 2
        self.high = self.rows if ascii else self.rows * DOTS_HIGH
        self._bits = [0] * (self.columns * self.rows)
        self._chars = [""] * (self.columns * self.rows)
        self._roles = [""] * (self.columns * self.rows)

    def dot(self, x: int, y: int, pen: Pen) -> None:
        """Draws one dot over the content of its cell."""
        if not (0 <= x < self.wide and 0 <= y < self.high):
            return
        if self.ascii:
            self._set(y * self.columns + x, pen.mark, pen.role)
            return
        cell = (y >> 2) * self.columns + (x >> 1)
        self._bits[cell] |= _BITS[x & 1][y & 3]
        self._roles[cell] = pen.role

    def upright(self, x: int, top: int, bottom: int, pen: Pen) -> None:
        """Draws the dots of column `x` from `top` down to `bottom`, inclusive, if the pattern has that column."""
        if pen.draws(x):
            for y in range(max(0, top), min(self.high - 1, bottom) + 1):
                self.dot(x, y, pen)

    def stroke(self, x0: int, y0: int, x1: int, y1: int, pen: Pen) -> None:
        """Draws a line from one dot to another, without the first; `x1` must not be left of `x0`."""
        run, before = x1 - x0, y0
        if run == 0:
            self.upright(x1, min(y0, y1), max(y0, y1), pen)
            return
        for x in range(max(x0 + 1, 0), min(x1, self.wide - 1) + 1):
            y = y0 + round((y1 - y0) * (x - x0) / run)
            steep = before + (1 if y > before else -1) if abs(y - before) > 1 else y
            self.upright(x, min(steep, y), max(steep, y), pen)
            before = y

    def write(self, column: int, row: int, text: str, role: str) -> None:
        """Writes characters into cells, over their dots."""
        if 0 <= row < self.rows:
            for place, char in enumerate(text, start=column):
                if 0 <= place < self.columns:
                    self._set(row * self.columns + place, char, role)

    def is_free(self, column: int, row: int, width: int, roles: Sequence[str]) -> bool:
        """Whether cells exist and contain nothing but these roles."""
        if not (0 <= row < self.rows and column >= 0 and column + width <= self.columns):
            return False
        start = row * self.columns + column
        return all(role in roles for role in self._roles[start : start + width])

    def rule(self, column: int, char: str, role: str) -> None:
        """Draws `char` into the empty cells of a column; the other cells take its role."""
        if not 0 <= column < self.columns:
            return
        for cell in range(column, len(self._bits), self.columns):
            if not self._bits[cell] and not self._chars[cell]:
                self._chars[cell] = char
            self._roles[cell] = role

    def picture(self) -> list[Row]:
        """The cells as rows of exactly `columns` characters, with neighbors of one role merged."""
        return [self._row(number * self.columns) for number in range(self.rows)]

    def _row(self, start: int) -> Row:
        spans: Row = []
        text, role = "", ""
        for cell in range(start, start + self.columns):
            bits = self._bits[cell]
            char = self._chars[cell] or (chr(BRAILLE + bits) if bits else " ")
            here = self._roles[cell] if char != " " else role
            if here != role and text:
                spans.append((text, role))
                text = ""
            text, role = text + char, here
        return [*spans, (text, role)] if text else spans

    def _set(self, cell: int, char: str, role: str) -> None:
        self._chars[cell], self._roles[cell] = char, role
