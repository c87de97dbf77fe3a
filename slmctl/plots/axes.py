"""Scales, a canvas of character cells, and the axes around it: a plot area with a few labeled ticks, as many as fit.

A cell has two by four dots in braille, one in ASCII. chart.py decides what to draw; the screen decides what a role
looks like.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slmctl.plots.styled_rows import Row, fit_to_width, set_cell

BRAILLE = 0x2800
DOTS_HIGH = 4
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


@dataclass(frozen=True)
class Pen:
    """How dots are drawn: their role, their character in ASCII, and a pattern that distinguishes lines without color.

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


LIMIT = 1e300  # values beyond it are drawn at it, so that no difference overflows
TINY = 1e-290  # smaller values are 0
NARROW = 1e-9  # a range below this fraction of its values is a single value


def is_drawable(value: float, log: bool = False) -> bool:
    """Whether a value can be placed on an axis."""
    return math.isfinite(value) and (not log or value > 0)


def all_finite(values: Sequence[float]) -> bool:
    """Whether all values are finite; their sum usually shows it, at a tenth of the cost."""
    return math.isfinite(sum(values)) or all(map(math.isfinite, values))


@dataclass(frozen=True)
class AxisScale:
    """An axis from `low` to `high`, which differ; both are above 0 on a logarithmic axis."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """The position of a drawable value on the axis: 0 at `low`, 1 at `high`, beyond them outside."""
        if self.log:
            low, high, value = math.log10(self.low), math.log10(self.high), math.log10(value)
        else:
            low, high = self.low, self.high
            if not -LIMIT <= value <= LIMIT:
                value = LIMIT if value > 0 else -LIMIT
        return (value - low) / (high - low)

    def dot(self, value: float, dots: int) -> int:
        """The dot, 0 to `dots` - 1, nearest to a drawable value; values outside are at the ends."""
        share = self.share(value)
        return round((0.0 if share < 0 else 1.0 if share > 1 else share) * (dots - 1))


def fit_scale(values: Iterable[float], log: bool = False) -> AxisScale | None:
    """The axis that just holds the drawable values, wider if they are all the same; None if there are none.

    It does not go below 0 unless a value does.
    """
    known = [max(-LIMIT, min(LIMIT, value)) for value in values if is_drawable(value, log)]
    if not known:
        return None
    low, high = min(known), max(known)
    if log:
        low, high = max(low, 1 / LIMIT), max(high, 1 / LIMIT)
        return AxisScale(low, high, True) if high > low * (1 + NARROW) else AxisScale(low / 2, high * 2, True)
    size = max(abs(low), abs(high))
    if size < TINY:
        return AxisScale(0.0, 1.0)
    if high - low > NARROW * size:
        return AxisScale(low, high)
    return AxisScale(low - 0.1 * size, high + 0.1 * size)


def ticks(scale: AxisScale, wanted: int, whole: bool = False) -> list[tuple[float, str]]:
    """About `wanted` round values on the axis with their labels, at least one; with `whole`, integers only."""
    if scale.log and (found := _log_ticks(scale, wanted)):
        return [(value, format_number(value)) for value in found]
    span = scale.high - scale.low
    step = _round_step(span / max(1, wanted))
    if whole:
        step = max(1.0, step)
    values = _multiples(scale, step)
    while len(values) < 2 and not (whole and step <= 1) and step > span / 100:
        step = _round_step(step / 2.5)  # the next smaller of them
        values = _multiples(scale, step)
    if not values:
        values = [(scale.low + scale.high) / 2]
    return [(value, _label(value, step)) for value in values]


def format_number(value: float) -> str:
    """A number in about five characters."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if size and (size >= 1e6 or size < 1e-3):
        head, _, tail = f"{value:.1e}".partition("e")
        return f"{head.removesuffix('.0')}e{int(tail)}"
    if size >= 10_000:
        return f"{value / 1000:.1f}k"
    return f"{value:.0f}" if size >= 1000 else f"{value:.3g}"


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(max(least, 1e-305)))
    return next((power * factor for factor in (1, 2, 5) if power * factor >= least * (1 - 1e-9)), power * 10)


def _multiples(scale: AxisScale, step: float) -> list[float]:
    first, last = math.ceil(scale.low / step - 1e-6), math.floor(scale.high / step + 1e-6)
    return [number * step for number in range(first, last + 1)] if last - first < 100 else []


def _log_ticks(scale: AxisScale, wanted: int) -> list[float]:
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    stride = max(1, math.ceil((last - first) / max(1, wanted)))
    for factors in ((1,), (1, 3), (1, 2, 5)):
        powers = range(first, last + 1, stride if factors == (1,) else 1)
        values = [factor * 10.0**power for power in powers if -300 <= power <= 300 for factor in factors]
        inside = [value for value in values if scale.low * (1 - 1e-9) <= value <= scale.high * (1 + 1e-9)]
        if len(inside) >= min(2, wanted):
            return inside
    return []


def _label(value: float, step: float) -> str:
    if value and (abs(value) >= 10_000 or step < 1e-3):
        return format_number(value)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value + 0.0:.{decimals}f}"


LEAST_PLOT = 8  # columns of plot below which the labels on the left are left out
ROWS_A_TICK, COLUMNS_A_TICK = 3, 12


@dataclass(frozen=True)
class PlotOptions:
    """Size and style of a picture; `window` is a range of the horizontal axis."""

    width: int
    height: int
    log: bool = False
    ascii: bool = False
    window: tuple[float, float] | None = None


class Axes:
    """Two scales around a canvas; draw on `canvas`, then call `picture`."""

    def __init__(self, options: PlotOptions, across: AxisScale, up: AxisScale, whole_steps: bool, name: str) -> None:
        self.options, self.across, self.up = options, across, up
        self._whole, self._name = whole_steps, name
        self._line = options.height >= 6
        self._below = options.height >= 4
        rows = max(0, options.height) - self._line - self._below
        self._labels_left = self._left_labels(rows)
        margin = max((len(label) for label in self._labels_left.values()), default=0)
        self._margin = margin if options.width - margin - 1 >= LEAST_PLOT else 0
        self._bar = options.width > LEAST_PLOT
        self.canvas = Canvas(options.width - self._margin - self._bar, rows, options.ascii)

    def x(self, value: float) -> int:
        """The dot column of a value."""
        return self.across.dot(value, self.canvas.wide)

    def y(self, value: float) -> int:
        """The dot row of a drawable value."""
        return self.canvas.high - 1 - self.up.dot(value, self.canvas.high)

    def cell(self, value: float) -> int:
        """The cell column of a value on the horizontal axis."""
        return self.x(value) if self.options.ascii else self.x(value) // 2

    def place(self, x: float, y: float) -> tuple[int, int]:
        """The cell (column, row) of a point."""
        return self.cell(x), self.y(y) if self.options.ascii else self.y(y) // DOTS_HIGH

    def value_at(self, column: int) -> float | None:
        """The value at a character column of the picture; None left of the plot."""
        place, last = column - self.left, self.canvas.columns - 1
        if not 0 <= place <= last:
            return None
        return self.across.low + (self.across.high - self.across.low) * place / max(1, last)

    @property
    def left(self) -> int:
        """The number of character columns left of the plot."""
        return self._margin + self._bar

    def picture(self, alerts: tuple[float, ...] = ()) -> list[Row]:
        """All rows, each of exactly the requested width; steps with an alert are marked on the horizontal axis."""
        rows = [self._beside(number) + row for number, row in enumerate(self.canvas.picture())]
        places = self._bottom_places()
        if self._line:
            rows.append(self._axis(places, alerts))
        if self._below:
            rows.append(self._labels(places))
        return [fit_to_width(row, max(0, self.options.width)) for row in rows[: max(0, self.options.height)]]

    def _left_labels(self, rows: int) -> dict[int, str]:
        """The label of each row with a tick."""
        if rows < 1:
            return {}
        found: dict[int, str] = {}
        high = rows if self.options.ascii else rows * DOTS_HIGH
        for value, label in ticks(self.up, max(2, rows // ROWS_A_TICK)):
            found.setdefault((high - 1 - self.up.dot(value, high)) * rows // high, label)
        return found

    def _beside(self, number: int) -> Row:
        label = self._labels_left.get(number, "")
        text = f"{label:>{self._margin}}" if self._margin else ""
        bar = ("+" if label else "|") if self.options.ascii else ("┤" if label else "│")
        return [(text + (bar if self._bar else ""), "axis")]

    def _bottom_places(self) -> dict[int, str]:
        """The label of each cell column with a tick."""
        found: dict[int, str] = {}
        if self.canvas.columns:
            for value, label in ticks(self.across, max(2, self.canvas.columns // COLUMNS_A_TICK), self._whole):
                if 0 <= self.across.share(value) <= 1:
                    found.setdefault(self.cell(value), label)
        return found

    def _axis(self, places: dict[int, str], alerts: tuple[float, ...]) -> Row:
        corner, flat, tick = "+-+" if self.options.ascii else "└─┬"
        line = "".join(tick if column in places else flat for column in range(self.canvas.columns))
        row: Row = [(" " * self._margin + (corner if self._bar else ""), "axis"), (line, "axis")]
        for cell in {self.cell(step) for step in alerts if 0 <= self.across.share(step) <= 1}:
            row = set_cell(row, self.left + cell, "!", "alert")
        return row

    def _labels(self, places: dict[int, str]) -> Row:
        """Labels below their ticks, without those that would touch another or the name of the axis on the right."""
        offset = self.left
        width = max(0, self.options.width)
        line = [" "] * width
        name = self._name if width > 30 else ""
        end = width - len(name) - bool(name)
        free = 0
        for column, label in sorted(places.items()):
            start = max(0, min(offset + column - len(label) // 2, end - len(label)))
            if start >= free and start + len(label) <= end:
                line[start : start + len(label)] = label
                free = start + len(label) + 1
        if name:
            line[width - len(name) :] = name
        return [("".join(line), "axis")]
