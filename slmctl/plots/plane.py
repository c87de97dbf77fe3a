"""Reward against the square root of KL: the path of each run from its start to its newest step.

It shows over-optimization: the reward keeps rising while KL grows without limit. Source: Gao et al. 2023.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from slmctl.plots.axes import Axes, PlotOptions, fit_scale, is_drawable
from slmctl.plots.chart import NEAR, TargetLine, empty_rows, line_pen
from slmctl.plots.styled_rows import Row, set_cell

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
                column, row = _cell(self.axes, past[-1])
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
        _ends(axes, path, points)
    if edge is not None and limit is not None:
        _label(axes, edge, limit.label, bool(near))
    rows = axes.picture()
    return DrawnPlane(rows, axes, tuple(points for _, points in routes)) if axes.canvas.rows else DrawnPlane(rows)


def _label(axes: Axes, edge: float, label: str, near: bool) -> None:
    """Writes the label of the limit beside its line, or at the edge next to it, hiding no data if possible."""
    canvas = axes.canvas
    text = f" {label} " if near else f" {label} {'>' if axes.options.ascii else '→'} "
    if len(text) > canvas.columns // 2:
        return
    cell = axes.cell(edge)
    columns = (cell - len(text), cell + 1) if near else (canvas.columns - len(text),)
    places = [(column, row) for row in (canvas.rows - 1, 0, canvas.rows // 2) for column in columns]
    free = [place for place in places if canvas.is_free(*place, len(text), ("",))]
    canvas.write(*(free or places)[0], text, "target")


def _route(axes: Axes, path: PlanePath, points: list[Point]) -> None:
    pen = line_pen(path.rank)
    spots = list(dict.fromkeys((axes.x(root), axes.y(score)) for _, root, score in points))
    for (x0, y0), (x1, y1) in pairwise(spots):
        (ax, ay), (bx, by) = sorted(((x0, y0), (x1, y1)))
        axes.canvas.dot(ax, ay, pen)
        axes.canvas.stroke(ax, ay, bx, by, pen)


def _ends(axes: Axes, path: PlanePath, points: list[Point]) -> None:
    """Marks the start, and the newest point with the letter of the run."""
    role = line_pen(path.rank).role
    start, newest = "o@" if axes.options.ascii else "○●"
    axes.canvas.write(*_cell(axes, points[0]), start, role)
    axes.canvas.write(*_cell(axes, points[-1]), path.letter or newest, role)


def _cell(axes: Axes, point: Point) -> tuple[int, int]:
    y = axes.y(point[2])
    return axes.cell(point[1]), y if axes.options.ascii else y // 4
