"""From values to places along an axis, linear or logarithmic, and the few round numbers that label it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slmctl.plots.canvas import DOTS_HIGH, Canvas
from slmctl.plots.styled_rows import Row, fit_to_width, set_cell

LIMIT = 1e300  # values beyond are drawn at it, so that no difference overflows
TINY = 1e-290  # values below are 0
NARROW = 1e-9  # a range below this share of its values is one value


def is_drawable(value: float, log: bool = False) -> bool:
    """Whether a value has a place on the axis."""
    return math.isfinite(value) and (not log or value > 0)


def all_finite(values: Sequence[float]) -> bool:
    """Whether all values are; their sum tells it of most at a tenth of the cost, for what is not stays in it."""
    return math.isfinite(sum(values)) or all(map(math.isfinite, values))


@dataclass(frozen=True)
class AxisScale:
    """An axis from `low` to `high`, which are different; both above 0 where it is logarithmic."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """How far along the axis a usable value lies: 0 at `low`, 1 at `high`; values outside go beyond."""
        if self.log:
            low, high, value = math.log10(self.low), math.log10(self.high), math.log10(value)
        else:
            low, high, value = self.low, self.high, max(-LIMIT, min(LIMIT, value))
        return (value - low) / (high - low)

    def dot(self, value: float, dots: int) -> int:
        """The dot of 0 to `dots` - 1 that is nearest to a usable value; those outside lie at the ends."""
        return round(max(0.0, min(1.0, self.share(value))) * (dots - 1))


def fit_scale(values: Iterable[float], log: bool = False) -> AxisScale | None:
    """The axis that just holds the usable values, wider where they are all one; None where there are none.

    It never goes below 0 where no value does.
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
    """About `wanted` round values on the axis with their labels, at least one; only whole numbers where asked."""
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


LEAST_PLOT = 8  # columns of plot below which the labels on the left give way
ROWS_A_TICK, COLUMNS_A_TICK = 3, 12


@dataclass(frozen=True)
class PlotOptions:
    """How a picture is to be drawn; `window` is a range of the axis below."""

    width: int
    height: int
    log: bool = False
    ascii: bool = False
    window: tuple[float, float] | None = None


class Axes:
    """Scales with a canvas between them; draw on `canvas`, then ask for the `picture`."""

    def __init__(self, look: PlotOptions, across: AxisScale, up: AxisScale, whole_steps: bool, name: str) -> None:
        self.look, self.across, self.up = look, across, up
        self._whole, self._name = whole_steps, name
        self._line = look.height >= 6
        self._below = look.height >= 4
        rows = max(0, look.height) - self._line - self._below
        self._marks = self._left_marks(rows)
        margin = max((len(label) for label in self._marks.values()), default=0)
        self._margin = margin if look.width - margin - 1 >= LEAST_PLOT else 0
        self._bar = look.width > LEAST_PLOT
        self.canvas = Canvas(look.width - self._margin - self._bar, rows, look.ascii)

    def x(self, value: float) -> int:
        """The dot column of a value."""
        return self.across.dot(value, self.canvas.wide)

    def y(self, value: float) -> int:
        """The dot row of a usable value."""
        return self.canvas.high - 1 - self.up.dot(value, self.canvas.high)

    def cell(self, value: float) -> int:
        """The cell column of a value on the axis below."""
        return self.x(value) if self.look.ascii else self.x(value) // 2

    def value_at(self, column: int) -> float | None:
        """The value below which a character column of the picture stands; None left of the plot, or without one."""
        place, last = column - self.left, self.canvas.columns - 1
        if not 0 <= place <= last:
            return None
        return self.across.low + (self.across.high - self.across.low) * place / max(1, last)

    @property
    def left(self) -> int:
        """The character columns left of the plot."""
        return self._margin + self._bar

    def picture(self, alarms: tuple[float, ...] = ()) -> list[Row]:
        """All rows, each exactly as wide as asked; steps with an alarm are marked on the axis below."""
        rows = [self._beside(number) + row for number, row in enumerate(self.canvas.picture())]
        places = self._bottom_places()
        if self._line:
            rows.append(self._axis(places, alarms))
        if self._below:
            rows.append(self._labels(places))
        return [fit_to_width(row, max(0, self.look.width)) for row in rows[: max(0, self.look.height)]]

    def _left_marks(self, rows: int) -> dict[int, str]:
        """The label of each row that has a tick."""
        if rows < 1:
            return {}
        found: dict[int, str] = {}
        high = rows if self.look.ascii else rows * DOTS_HIGH
        for value, label in ticks(self.up, max(2, rows // ROWS_A_TICK)):
            found.setdefault((high - 1 - self.up.dot(value, high)) * rows // high, label)
        return found

    def _beside(self, number: int) -> Row:
        label = self._marks.get(number, "")
        text = f"{label:>{self._margin}}" if self._margin else ""
        bar = ("+" if label else "|") if self.look.ascii else ("┤" if label else "│")
        return [(text + (bar if self._bar else ""), "axis")]

    def _bottom_places(self) -> dict[int, str]:
        """The label of each cell column that has a tick."""
        found: dict[int, str] = {}
        if self.canvas.columns:
            for value, label in ticks(self.across, max(2, self.canvas.columns // COLUMNS_A_TICK), self._whole):
                if 0 <= self.across.share(value) <= 1:
                    found.setdefault(self.cell(value), label)
        return found

    def _axis(self, places: dict[int, str], alarms: tuple[float, ...]) -> Row:
        corner, flat, tick = "+-+" if self.look.ascii else "└─┬"
        line = "".join(tick if column in places else flat for column in range(self.canvas.columns))
        row: Row = [(" " * self._margin + (corner if self._bar else ""), "axis"), (line, "axis")]
        for cell in {self.cell(step) for step in alarms if 0 <= self.across.share(step) <= 1}:
            row = set_cell(row, self.left + cell, "!", "alarm")
        return row

    def _labels(self, places: dict[int, str]) -> Row:
        """Labels below their ticks; one that would touch another, or the axis' name on the right, is left out."""
        offset = self.left
        width = max(0, self.look.width)
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
