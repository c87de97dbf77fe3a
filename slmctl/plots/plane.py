"""Reward against the square root of KL: the path of each run from its start to its newest step.

Along this plane over-optimisation shows: the score goes on rising while KL grows without end. Source: Gao et al. 2023.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from slmctl.plots.axes import Axes, PlotOptions, fit_scale, is_drawable
from slmctl.plots.chart import NEAR, TargetLine, empty_rows, line_pen
from slmctl.plots.styled_rows import Row, set_cell

Point = tuple[float, float, float]
"""A step, the square root of its KL, its score."""

MOST_POINTS = 1000  # more than a screen has dots to tell apart


@dataclass(frozen=True)
class Path:
    """One run on the plane, step by step: KL to the reference in nats a response, and score."""

    steps: Sequence[float]
    kl: Sequence[float]
    scores: Sequence[float]
    rank: int = 0
    letter: str = ""

    def points(self) -> list[Point]:
        """(step, root of KL, score) where both are known, of a long run every so many and the newest.

        Sampling noise of KL below 0 counts as 0.
        """
        stride = -(-len(self.steps) // MOST_POINTS) or 1
        first = (len(self.steps) - 1) % stride
        rows = zip(self.steps[first::stride], self.kl[first::stride], self.scores[first::stride], strict=True)
        return [
            (step, math.sqrt(max(0.0, kl)), score) for step, kl, score in rows if is_drawable(kl) and is_drawable(score)
        ]


@dataclass(frozen=True)
class DrawnPlane:
    """A drawn plane, which can be pointed into."""

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
                rows[row] = set_cell(rows[row], self.axes.left + column, "+" if self.axes.look.ascii else "◆", "cursor")
        return rows

    def step_at(self, column: int) -> float | None:
        """None: a column of the plane is no step."""
        return None


def draw_plane(paths: Sequence[Path], look: PlotOptions, limit: TargetLine | None = None) -> DrawnPlane:
    """The plane in exactly `look.height` rows of `look.width` characters; `limit` is a KL in nats."""
    routes = [(path, points) for path in paths if (points := path.points())]
    roots = [root for _, points in routes for _, root, _ in points]
    up = fit_scale([score for _, points in routes for _, _, score in points])
    edge = math.sqrt(limit.value) if limit is not None and limit.value > 0 else None
    near = edge is not None and roots and edge <= NEAR * max(roots)
    across = fit_scale([0.0, *roots, *([edge] if edge is not None and near else [])]) if roots else None
    if across is None or up is None:
        return DrawnPlane(empty_rows(max(0, look.width), max(0, look.height)))
    axes = Axes(look, across, up, whole_steps=False, name="sqrt KL" if look.ascii else "√KL")
    if edge is not None and near:
        axes.canvas.rule(axes.cell(edge), ":" if look.ascii else "┊", "target")
    for path, points in routes:
        _route(axes, path, points)
    for path, points in routes:
        _ends(axes, path, points)
    if edge is not None and limit is not None:
        _word(axes, edge, limit.word, bool(near))
    rows = axes.picture()
    return DrawnPlane(rows, axes, tuple(points for _, points in routes)) if axes.canvas.rows else DrawnPlane(rows)


def _word(axes: Axes, edge: float, word: str, near: bool) -> None:
    """The word of the limit beside its line, or at the edge beyond which it lies; where it hides no data, if it can."""
    canvas = axes.canvas
    text = f" {word} " if near else f" {word} {'>' if axes.look.ascii else '→'} "
    if len(text) > canvas.columns // 2:
        return
    cell = axes.cell(edge)
    columns = (cell - len(text), cell + 1) if near else (canvas.columns - len(text),)
    places = [(column, row) for row in (canvas.rows - 1, 0, canvas.rows // 2) for column in columns]
    free = [place for place in places if canvas.is_free(*place, len(text), ("",))]
    canvas.write(*(free or places)[0], text, "target")


def _route(axes: Axes, path: Path, points: list[Point]) -> None:
    pen = line_pen(path.rank)
    spots = list(dict.fromkeys((axes.x(root), axes.y(score)) for _, root, score in points))
    for (x0, y0), (x1, y1) in pairwise(spots):
        (ax, ay), (bx, by) = sorted(((x0, y0), (x1, y1)))
        axes.canvas.dot(ax, ay, pen)
        axes.canvas.stroke(ax, ay, bx, by, pen)


def _ends(axes: Axes, path: Path, points: list[Point]) -> None:
    """The start, and the newest point with the run's letter."""
    role = line_pen(path.rank).role
    start, newest = "o@" if axes.look.ascii else "○●"
    axes.canvas.write(*_cell(axes, points[0]), start, role)
    axes.canvas.write(*_cell(axes, points[-1]), path.letter or newest, role)


def _cell(axes: Axes, point: Point) -> tuple[int, int]:
    y = axes.y(point[2])
    return axes.cell(point[1]), y if axes.look.ascii else y // 4
