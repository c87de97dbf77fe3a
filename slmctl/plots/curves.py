"""Numbers by step as they are drawn: cut to a window, smoothed, gathered into as many columns as there are dots.

What is not finite is a gap. Many points in one column keep their lowest and highest, so that no spike is lost.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from slmctl.plots.scale import Scale, all_finite, usable

CROWDED = 4  # points a dot column from which on a column is looked at as a whole


@dataclass(frozen=True)
class Curve:
    """One line of a chart: values by step, steps ascending.

    `rank` tells lines apart (colour, pattern, letter); `faint` holds the raw values where `ys` are smoothed; a `sparse`
    curve has a mark at each of its points; `metric` is what the values are of.
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
        """The value at the newest step that is not after `step`; None before the first."""
        place = bisect_right(self.xs, step)
        return self.ys[place - 1] if place else None


@dataclass(frozen=True)
class Column:
    """What one dot column holds: the values in it from first to last, with their range."""

    x: int
    first: float
    low: float
    high: float
    last: float


def smoothed(ys: Sequence[float], weight: float) -> list[float]:
    """The exponential mean of what came so far, its start corrected; a gap stays a gap and changes nothing.

    `weight` is the share that the past keeps, 0 to below 1.
    """
    mean, mass, found = 0.0, 0.0, []
    for y in ys:
        if y - y == 0:  # finite
            mean, mass = weight * mean + (1 - weight) * y, weight * mass + 1 - weight
            found.append(mean / mass)
        else:
            found.append(y)
    return found


def stretches(xs: Sequence[float], ys: Sequence[float], across: Scale, dots: int, log: bool) -> Iterator[list[Column]]:
    """The points gathered by dot column, in stretches without a gap."""
    if len(xs) <= CROWDED * dots:
        yield from _by_point(xs, ys, across, dots, log)
        return
    stretch: list[Column] = []
    edges = [across.low + (across.high - across.low) * (x - 0.5) / (dots - 1) for x in range(1, dots)]
    cuts = [0, *(bisect_left(xs, edge) for edge in edges), len(xs)]
    whole = all_finite(ys) and (not log or min(ys) > 0)
    for x, (a, b) in enumerate(pairwise(cuts)):
        if a == b:
            continue
        part = ys[a:b]
        known = part if whole else [y for y in part if usable(y, log)]
        if known:
            stretch.append(Column(x, known[0], min(known), max(known), known[-1]))
        if len(known) < len(part) and stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _by_point(xs: Sequence[float], ys: Sequence[float], across: Scale, dots: int, log: bool) -> Iterator[list[Column]]:
    stretch: list[Column] = []
    for x, y in zip(xs, ys, strict=True):
        if usable(y, log):
            stretch.append(Column(across.dot(x, dots), y, y, y, y))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch
