"""How a person looks at the numbers of a stage: the step that is pointed at, the range of steps, smoothing, log scale.

Values, and what follows from a key; which widget shows them is not known here.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

SMOOTHING = (0.0, 0.6, 0.9)
NARROWEST = 4  # steps


@dataclass(frozen=True)
class View:
    """`cursor` is a step, None for the newest and to go on with it; `window` a range of steps, None for all."""

    cursor: int | None = None
    window: tuple[float, float] | None = None
    smoothing: float = 0.0
    log: bool = False
    ascii: bool = False

    def moved(self, by: int, steps: Sequence[int], columns: int) -> "View":
        """The cursor `by` columns further, of `columns` over the range; past the last step it follows the newest."""
        if not steps:
            return self
        low, high = self.window or (steps[0], steps[-1])
        stride = max(1, round((high - low) / max(1, columns)))
        wanted = (steps[-1] if self.cursor is None else self.cursor) + by * stride
        return self.at(wanted, steps)

    def at(self, step: float, steps: Sequence[int]) -> "View":
        """The cursor at the nearest of the steps, the range moved with it; past the last it follows the newest."""
        if not steps or step > steps[-1]:
            return replace(self, cursor=None, window=self._around(steps[-1] if steps else 0))
        place = bisect_left(steps, step)
        near = min(steps[max(0, place - 1) : place + 1], key=lambda known: abs(known - step))
        return replace(self, cursor=near, window=self._around(near))

    def zoomed(self, factor: float, steps: Sequence[int]) -> "View":
        """The range `factor` times as wide, around the cursor, within what there is; all of it is no range."""
        if not steps:
            return self
        low, high = self.window or (steps[0], steps[-1])
        middle = steps[-1] if self.cursor is None else self.cursor
        width = max(float(NARROWEST), (high - low) * factor)
        if width >= steps[-1] - steps[0]:
            return replace(self, window=None)
        start = min(max(steps[0], middle - width / 2), steps[-1] - width)
        return replace(self, window=(start, start + width))

    def smoother(self) -> "View":
        """The next degree of smoothing."""
        known = SMOOTHING.index(self.smoothing) if self.smoothing in SMOOTHING else 0
        return replace(self, smoothing=SMOOTHING[(known + 1) % len(SMOOTHING)])

    def place_in(self, drawn: Sequence[int]) -> int:
        """Which of the steps with samples is the newest at or before the cursor; -1 before the first of them."""
        return len(drawn) - 1 if self.cursor is None else bisect_right(drawn, self.cursor) - 1

    def _around(self, step: float) -> tuple[float, float] | None:
        """The range, moved no more than it must be to hold a step."""
        if self.window is None or self.window[0] <= step <= self.window[1]:
            return self.window
        low, high = self.window
        shift = step - high if step > high else step - low
        return low + shift, high + shift
