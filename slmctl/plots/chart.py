"""Charts as text: values by step, and the plane of reward against the square root of KL.

Works for any numbers and any size: values that are not finite are gaps, and what does not fit is left out. Several
lines differ by pattern and letter as well as by role. Many points in one dot column keep their lowest and
highest value, so that no spike is lost.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from slmctl.plots.axes import Axes, AxisScale, Canvas, Pen, PlotOptions, all_finite, fit_scale, is_drawable
from slmctl.plots.styled_rows import Row, fit_to_width, set_cell

CROWDED = 4  # points per dot column from which a column is handled as a whole


@dataclass(frozen=True)
class Curve:
    """One line of a chart: values by step, steps ascending.

    `rank` sets color and pattern; `faint` holds the raw values if `ys` are smoothed; a `sparse` curve has a
    mark at each of its points; `metric` names the values.
    """

    xs: Sequence[float]
    ys: Sequence[float]
    rank: int = 0
    faint: Sequence[float] = field(default=())
    sparse: bool = False
    letter: str = ""
    metric: str = ""

    def window(self, low: float, high: float) -> "Curve":
        """The part between two steps, both included."""
        a, b = bisect_left(self.xs, low), bisect_right(self.xs, high)
        if (a, b) == (0, len(self.xs)):
            return self
        return replace(self, xs=self.xs[a:b], ys=self.ys[a:b], faint=self.faint[a:b])

    def at(self, step: float) -> float | None:
        """The value at the last step that is not after `step`; None before the first."""
        place = bisect_right(self.xs, step)
        return self.ys[place - 1] if place else None


@dataclass(frozen=True)
class DotColumn:
    """The values in one dot column: the first, the last and their range."""

    x: int
    first: float
    low: float
    high: float
    last: float


def smooth(ys: Sequence[float], weight: float) -> list[float]:
    """The exponential moving average, corrected for its start; a gap stays a gap and changes nothing.

    `weight`, 0 to below 1, is the weight of the past.
    """
    mean, mass, found = 0.0, 0.0, []
    for y in ys:
        if y - y == 0:  # finite
            mean, mass = weight * mean + (1 - weight) * y, weight * mass + 1 - weight
            found.append(mean / mass)
        else:
            found.append(y)
    return found


def segments(
    xs: Sequence[float], ys: Sequence[float], across: AxisScale, dots: int, log: bool
) -> Iterator[list[DotColumn]]:
    """The points grouped by dot column, in segments without a gap."""
    if len(xs) <= CROWDED * dots:
        yield from _by_point(xs, ys, across, dots, log)
        return
    segment: list[DotColumn] = []
    edges = [across.low + (across.high - across.low) * (x - 0.5) / (dots - 1) for x in range(1, dots)]
    cuts = [0, *(bisect_left(xs, edge) for edge in edges), len(xs)]
    whole = all_finite(ys) and (not log or min(ys) > 0)
    for x, (a, b) in enumerate(pairwise(cuts)):
        if a == b:
            continue
        part = ys[a:b]
        known = part if whole else [y for y in part if is_drawable(y, log)]
        if known:
            segment.append(DotColumn(x, known[0], min(known), max(known), known[-1]))
        if len(known) < len(part) and segment:
            yield segment
            segment = []
    if segment:
        yield segment


def _by_point(
    xs: Sequence[float], ys: Sequence[float], across: AxisScale, dots: int, log: bool
) -> Iterator[list[DotColumn]]:
    segment: list[DotColumn] = []
    for x, y in zip(xs, ys, strict=True):
        if is_drawable(y, log):
            segment.append(DotColumn(across.dot(x, dots), y, y, y, y))
        elif segment:
            yield segment
            segment = []
    if segment:
        yield segment


PATTERNS = ((1, 1), (3, 4), (1, 2), (1, 4))  # (drawn columns, period) by rank
MARKS = "*ox#"  # in ASCII, by rank
MOST = 0.8  # fraction of the values that a logarithmic scale must show
NEAR = 2.5  # a target beyond this multiple of the highest value is named, not drawn
STEP = "step"


@dataclass(frozen=True)
class TargetLine:
    """A horizontal line at a limit or target, with its label."""

    value: float
    label: str


@dataclass(frozen=True)
class DrawnChart:
    """A drawn chart, in which pointing at a step costs little; without axes nothing was drawn."""

    rows: list[Row]
    axes: Axes | None = None

    def rows_at(self, cursor: float | None) -> list[Row]:
        """The rows with a line at a step."""
        axes = self.axes
        if axes is None or cursor is None or not 0 <= axes.across.share(cursor) <= 1:
            return self.rows
        column, high = axes.left + axes.cell(cursor), axes.canvas.rows
        line = "|" if axes.options.ascii else "│"
        marked = [
            set_cell(row, column, line if _char(row, column) == " " else None, "cursor") for row in self.rows[:high]
        ]
        return [*marked, *self.rows[high:]]

    def step_at(self, column: int) -> float | None:
        """The step at a character column, or None outside of the plot."""
        return None if self.axes is None else self.axes.value_at(column)


def draw_chart(
    curves: Sequence[Curve], options: PlotOptions, targets: Sequence[TargetLine] = (), alerts: Iterable[float] = ()
) -> DrawnChart:
    """The chart in exactly `options.height` rows of `options.width` characters."""
    axes = _axes(curves, options, targets)
    if axes is None:
        return DrawnChart(empty_rows(max(0, options.width), max(0, options.height)))
    shown = [curve.window(axes.across.low, axes.across.high) for curve in curves]
    log = axes.up.log
    for target in targets:
        _dashes(axes, target)
    for curve in shown:
        if curve.faint:
            _points(axes, curve, log)
    for curve in shown:
        _line(axes, curve, log)
    _letters(axes, shown, log)
    for target in targets:
        _label(axes, target)
    return DrawnChart(axes.picture(tuple(alerts)), axes)


def _char(row: Row, column: int) -> str:
    text = "".join(text for text, _ in row)
    return text[column] if column < len(text) else ""


def _axes(curves: Sequence[Curve], options: PlotOptions, targets: Sequence[TargetLine]) -> Axes | None:
    across = _across(curves, options)
    if across is None:
        return None
    shown = [curve.window(across.low, across.high) for curve in curves]
    log = options.log and _mostly_positive([y for curve in shown for y in curve.ys])
    up = _up(shown, targets, log)
    return None if up is None else Axes(options, across, up, whole_steps=True, name=STEP)


def line_pen(rank: int) -> Pen:
    """The pen of a line by its rank."""
    return Pen(f"line{rank % len(MARKS)}", MARKS[rank % len(MARKS)], *PATTERNS[rank % len(PATTERNS)])


def empty_rows(width: int, height: int) -> list[Row]:
    """A picture that says that there are no values yet."""
    text = "no values yet"
    if width < len(text):
        text = ""
    start = (width - len(text)) // 2
    return [fit_to_width([(" " * start + text, "axis")] if row == height // 2 else [], width) for row in range(height)]


def _mostly_positive(values: Sequence[float]) -> bool:
    """Whether a logarithmic scale shows most of the values."""
    known = [value for value in values if is_drawable(value)]
    return sum(value > 0 for value in known) >= MOST * len(known) > 0


def _across(curves: Sequence[Curve], options: PlotOptions) -> AxisScale | None:
    if options.window is not None and options.window[0] < options.window[1]:
        return AxisScale(*options.window)
    ends = [end for curve in curves if len(curve.xs) for end in (curve.xs[0], curve.xs[-1])]
    if not ends:
        return None
    low, high = min(ends), max(ends)
    return AxisScale(low, high) if low < high else AxisScale(low - (low > 1), high + 1)  # there is no step 0


def _up(curves: Sequence[Curve], targets: Sequence[TargetLine], log: bool) -> AxisScale | None:
    values = [y for curve in curves for ys in (curve.ys, curve.faint) for y in _ends(ys, log)]
    if not values:
        return None
    near = [target.value for target in targets if abs(target.value) <= NEAR * max(map(abs, values))]
    return fit_scale([*values, *near], log)


def _ends(ys: Sequence[float], log: bool) -> tuple[float, ...]:
    """The lowest and the highest drawable value, or ()."""
    if not log and len(ys) and all_finite(ys):
        return min(ys), max(ys)
    known = [y for y in ys if is_drawable(y, log)]
    return (min(known), max(known)) if known else ()


def _dashes(axes: Axes, target: TargetLine) -> None:
    """Draws a dashed line if the value is within the chart."""
    if is_drawable(target.value, axes.up.log) and 0 <= axes.up.share(target.value) <= 1:
        y = axes.y(target.value)
        for x in range(axes.canvas.wide):
            axes.canvas.upright(x, y, y, Pen("target", "-", 2, 4))


def _label(axes: Axes, target: TargetLine) -> None:
    """Writes the label of a target at its line, or at the edge beyond which it lies, hiding no data if possible."""
    canvas, share = axes.canvas, axes.up.share(target.value) if is_drawable(target.value, axes.up.log) else -1.0
    arrow = (
        "" if 0 <= share <= 1 else ("^" if share > 1 else "v") if axes.options.ascii else ("↑" if share > 1 else "↓")
    )
    y = axes.y(target.value) if not arrow else 0
    row = (y if axes.options.ascii else y // 4) if not arrow else 0 if share > 1 else canvas.rows - 1
    text = f" {target.label} {arrow}".rstrip() + " "
    first, last = 0 if arrow else 1, canvas.columns - len(text) - 1
    places = [(column, near) for near in (row, row - 1, row + 1) for column in (first, last // 2, last)]
    _write(canvas, text, places, ("", "target"))


def _write(canvas: Canvas, text: str, places: Sequence[tuple[int, int]], over: Sequence[str]) -> None:
    """Writes a label of at most half the width at the first of the places that contains nothing but these roles."""
    if len(text) <= canvas.columns // 2:
        free = [place for place in places if canvas.is_free(*place, len(text), over)]
        canvas.write(*(free or places)[0], text, "target")


def _points(axes: Axes, curve: Curve, log: bool) -> None:
    pen = Pen(f"faint{curve.rank % len(MARKS)}", ".")
    for segment in segments(curve.xs, curve.faint, axes.across, axes.canvas.wide, log):
        for column in segment:
            for value in {column.low, column.high}:
                axes.canvas.dot(column.x, axes.y(value), pen)


def _line(axes: Axes, curve: Curve, log: bool) -> None:
    pen = line_pen(curve.rank)
    for segment in segments(curve.xs, curve.ys, axes.across, axes.canvas.wide, log):
        before: tuple[int, int] | None = None
        for column in segment:
            if before is not None:
                axes.canvas.stroke(*before, column.x, axes.y(column.first), pen)
            axes.canvas.upright(column.x, axes.y(column.high), axes.y(column.low), pen)
            before = column.x, axes.y(column.last)
        if curve.sparse or len(segment) == 1:  # a point between gaps is visible in any pattern
            _mark(axes, segment, pen, "○" if curve.sparse else "•")


def _mark(axes: Axes, segment: list[DotColumn], pen: Pen, mark: str) -> None:
    for column in segment:
        y = axes.y(column.last)
        cell = (column.x, y) if axes.options.ascii else (column.x // 2, y // 4)
        axes.canvas.write(*cell, pen.mark if axes.options.ascii else mark, pen.role)


def _letters(axes: Axes, curves: Sequence[Curve], log: bool) -> None:
    """Writes the letter of each line at its newest drawable point, left of others that end there."""
    taken: set[tuple[int, int]] = set()
    for curve in curves:
        known = [place for place in range(len(curve.ys)) if is_drawable(curve.ys[place], log)] if curve.letter else []
        if known:
            cell = axes.place(curve.xs[known[-1]], curve.ys[known[-1]])
            while cell in taken:
                cell = cell[0] - 1, cell[1]
            taken.add(cell)
            axes.canvas.write(*cell, curve.letter, line_pen(curve.rank).role)


Point = tuple[float, float, float]
"""(step, square root of its KL, score)."""

MOST_POINTS = 1000  # more than the dots of a screen can tell apart


@dataclass(frozen=True)
class PlanePath:
    """One run on the plane, by step: KL to the reference in nats per response, and score."""

    steps: Sequence[float]
    kl: Sequence[float]
    scores: Sequence[float]
    rank: int = 0
    letter: str = ""

    def points(self) -> list[Point]:
        """The steps with both values; for a long run every n-th step and the newest.

        KL below 0, which is sampling noise, counts as 0.
        """
        stride = -(-len(self.steps) // MOST_POINTS) or 1
        first = (len(self.steps) - 1) % stride
        rows = zip(self.steps[first::stride], self.kl[first::stride], self.scores[first::stride], strict=True)
        return [
            (step, math.sqrt(max(0.0, kl)), score) for step, kl, score in rows if is_drawable(kl) and is_drawable(score)
        ]


@dataclass(frozen=True)
class DrawnPlane:
    """A drawn plane, in which pointing at a step costs little."""

    rows: list[Row]
    axes: Axes | None = None
    routes: tuple[list[Point], ...] = ()

    def rows_at(self, cursor: float | None) -> list[Row]:
        """The rows with a mark where each run was at a step."""
        rows = list(self.rows)
        for points in self.routes if self.axes is not None and cursor is not None else ():
            past = [point for point in points if cursor is not None and point[0] <= cursor]
            if past and self.axes is not None:
                column, row = self.axes.place(*past[-1][1:])
                rows[row] = set_cell(
                    rows[row], self.axes.left + column, "+" if self.axes.options.ascii else "◆", "cursor"
                )
        return rows

    def step_at(self, column: int) -> float | None:
        """None, since a column of the plane is not a step."""
        return None


def draw_plane(paths: Sequence[PlanePath], options: PlotOptions, limit: TargetLine | None = None) -> DrawnPlane:
    """The plane in exactly `options.height` rows of `options.width` characters; `limit` is a KL in nats."""
    routes = [(path, points) for path in paths if (points := path.points())]
    roots = [root for _, points in routes for _, root, _ in points]
    up = fit_scale([score for _, points in routes for _, _, score in points])
    edge = math.sqrt(limit.value) if limit is not None and limit.value > 0 else None
    near = edge is not None and roots and edge <= NEAR * max(roots)
    across = fit_scale([0.0, *roots, *([edge] if edge is not None and near else [])]) if roots else None
    if across is None or up is None:
        return DrawnPlane(empty_rows(max(0, options.width), max(0, options.height)))
    axes = Axes(options, across, up, whole_steps=False, name="sqrt KL" if options.ascii else "√KL")
    if edge is not None and near:
        axes.canvas.rule(axes.cell(edge), ":" if options.ascii else "┊", "target")
    for path, points in routes:
        _route(axes, path, points)
    for path, points in routes:
        _mark_ends(axes, path, points)
    if edge is not None and limit is not None:
        _label_limit(axes, edge, limit.label, bool(near))
    rows = axes.picture()
    return DrawnPlane(rows, axes, tuple(points for _, points in routes)) if axes.canvas.rows else DrawnPlane(rows)


def _label_limit(axes: Axes, edge: float, label: str, near: bool) -> None:
    """Writes the label of the limit beside its line, or at the edge next to it, hiding no data if possible."""
    canvas = axes.canvas
    text = f" {label} " if near else f" {label} {'>' if axes.options.ascii else '→'} "
    cell = axes.cell(edge)
    columns = (cell - len(text), cell + 1) if near else (canvas.columns - len(text),)
    places = [(column, row) for row in (canvas.rows - 1, 0, canvas.rows // 2) for column in columns]
    _write(canvas, text, places, ("",))


def _route(axes: Axes, path: PlanePath, points: list[Point]) -> None:
    pen = line_pen(path.rank)
    spots = list(dict.fromkeys((axes.x(root), axes.y(score)) for _, root, score in points))
    for (x0, y0), (x1, y1) in pairwise(spots):
        (ax, ay), (bx, by) = sorted(((x0, y0), (x1, y1)))
        axes.canvas.dot(ax, ay, pen)
        axes.canvas.stroke(ax, ay, bx, by, pen)


def _mark_ends(axes: Axes, path: PlanePath, points: list[Point]) -> None:
    """Marks the start, and the newest point with the letter of the run."""
    role = line_pen(path.rank).role
    start, newest = "o@" if axes.options.ascii else "○●"
    axes.canvas.write(*axes.place(*points[0][1:]), start, role)
    axes.canvas.write(*axes.place(*points[-1][1:]), path.letter or newest, role)
