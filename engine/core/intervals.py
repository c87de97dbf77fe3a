"""95% confidence intervals of fractions and means."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

Z_95 = 1.959964


def wilson(share: float, cases: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a fraction of at least one independent case. Source: Wilson 1927."""
    z2 = Z_95**2
    center = (share + z2 / (2 * cases)) / (1 + z2 / cases)
    half = Z_95 / (1 + z2 / cases) * math.sqrt(share * (1 - share) / cases + z2 / (4 * cases * cases))
    return max(0.0, center - half), min(1.0, center + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of `values` and its 95% interval by the normal approximation; NaN if there are too few values."""
    if len(values) < 2:
        return fmean(values) if values else math.nan, math.nan, math.nan
    mean, half = fmean(values), Z_95 * stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


@dataclass(frozen=True)
class Share:
    """A fraction: `count` of `cases`."""

    count: int
    cases: int

    @property
    def rate(self) -> float | None:
        """The fraction, None without cases."""
        return self.count / self.cases if self.cases else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% Wilson interval, None without cases."""
        return wilson(self.count / self.cases, self.cases) if self.cases else None
