"""The frame of a picture: a plot area with few labelled ticks on its left and below it, as much as the size allows."""

from dataclasses import dataclass

from slmctl.plots.canvas import DOTS_HIGH, Canvas
from slmctl.plots.rows import Row, fitted, put
from slmctl.plots.scale import Scale, ticks

LEAST_PLOT = 8  # columns of plot below which the labels on the left give way
ROWS_A_TICK, COLUMNS_A_TICK = 3, 12


@dataclass(frozen=True)
class Look:
    """How a picture is to be drawn; `window` is a range of the axis below."""

    width: int
    height: int
    log: bool = False
    ascii: bool = False
    window: tuple[float, float] | None = None


class Axes:
    """Scales with a canvas between them; draw on `canvas`, then ask for the `picture`."""

    def __init__(self, look: Look, across: Scale, up: Scale, whole_steps: bool, name: str) -> None:
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
        return [fitted(row, max(0, self.look.width)) for row in rows[: max(0, self.look.height)]]

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
            row = put(row, self.left + cell, "!", "alarm")
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
