"""From values to places along an axis, linear or logarithmic, and the few round numbers that label it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LIMIT = 1e300  # values beyond are drawn at it, so that no difference overflows
TINY = 1e-290  # values below are 0
NARROW = 1e-9  # a range below this share of its values is one value


def usable(value: float, log: bool = False) -> bool:
    """Whether a value has a place on the axis."""
    return math.isfinite(value) and (not log or value > 0)


def all_finite(values: Sequence[float]) -> bool:
    """Whether all values are; their sum tells it of most at a tenth of the cost, for what is not stays in it."""
    return math.isfinite(sum(values)) or all(map(math.isfinite, values))


@dataclass(frozen=True)
class Scale:
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


def fit(values: Iterable[float], log: bool = False) -> Scale | None:
    """The axis that just holds the usable values, wider where they are all one; None where there are none.

    It never goes below 0 where no value does.
    """
    known = [max(-LIMIT, min(LIMIT, value)) for value in values if usable(value, log)]
    if not known:
        return None
    low, high = min(known), max(known)
    if log:
        low, high = max(low, 1 / LIMIT), max(high, 1 / LIMIT)
        return Scale(low, high, True) if high > low * (1 + NARROW) else Scale(low / 2, high * 2, True)
    size = max(abs(low), abs(high))
    if size < TINY:
        return Scale(0.0, 1.0)
    if high - low > NARROW * size:
        return Scale(low, high)
    return Scale(low - 0.1 * size, high + 0.1 * size)


def ticks(scale: Scale, wanted: int, whole: bool = False) -> list[tuple[float, str]]:
    """About `wanted` round values on the axis with their labels, at least one; only whole numbers where asked."""
    if scale.log and (found := _log_ticks(scale, wanted)):
        return [(value, short(value)) for value in found]
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


def short(value: float) -> str:
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


def _multiples(scale: Scale, step: float) -> list[float]:
    first, last = math.ceil(scale.low / step - 1e-6), math.floor(scale.high / step + 1e-6)
    return [number * step for number in range(first, last + 1)] if last - first < 100 else []


def _log_ticks(scale: Scale, wanted: int) -> list[float]:
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
        return short(value)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value + 0.0:.{decimals}f}"
