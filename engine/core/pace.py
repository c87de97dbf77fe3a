"""How fast a stage goes and when it will end: one computation for the driver, the progress bar, `runs` and `watch`.

It sees events alone, so that a run that is followed live, one that is opened later and the run itself agree.
"""

import statistics
from collections import deque

from engine.core.events import ControlAcknowledged, Event, RunResumed, StageStarted, StepCompleted

RECENT_STEPS = 30  # the pace is their mean
SLOWEST = 5.0  # a step that takes this many times the median counts as this many times the median


class Pace:
    """The current stage of a run, its last step, its number of steps, and how long a step takes.

    Pauses, and the time between two processes of one run, are not counted.
    """

    def __init__(self) -> None:
        self._resumed_from: dict[str, int] = {}
        self._last: tuple[int, float] | None = None  # a step, and when it ended
        self._begin("", 0)

    def take(self, event: Event) -> None:
        """Updates the pace with the next event of the run."""
        if isinstance(event, StepCompleted):
            self.complete(event.stage, event.step, event.at)
        elif isinstance(event, RunResumed):
            self._resumed_from[event.stage] = event.from_step
            if event.stage == self.stage:
                self._begin(event.stage, self.steps)
        elif isinstance(event, StageStarted):
            self._begin(event.stage, event.steps)
            self._last = self._resumed_from.pop(event.stage, 0), event.at
        elif isinstance(event, ControlAcknowledged) and event.request != "save":
            self.paused, self._last = event.request == "pause", None

    def complete(self, stage: str, step: int, at: float) -> None:
        """Counts a step that ended at `at`, in Unix seconds, if it directly follows the last one."""
        if stage != self.stage:
            self._begin(stage, 0)
        if self._last is not None and step == self._last[0] + 1:
            self._recent.append(max(0.0, at - self._last[1]))
        self.step, self._last = step, (step, at)

    def step_s(self) -> float | None:
        """Seconds per step over the last 30 steps, or None before one was timed."""
        if not self._recent:
            return None
        usual = statistics.median(self._recent)
        return statistics.fmean(min(seconds, SLOWEST * usual) for seconds in self._recent)

    def left_s(self, steps: int | None = None, now: float | None = None) -> float | None:
        """Seconds until the stage ends, from `now` or from the end of the last step; None while the pace is unknown.

        `steps` overrides the stage's own number of steps.
        """
        step_s = self.step_s()
        if step_s is None:
            return None
        within_s = 0.0 if now is None or self._last is None else now - self._last[1]
        return seconds_left(step_s, (self.steps if steps is None else steps) - self.step, within_s)

    def _begin(self, stage: str, steps: int) -> None:
        self.stage, self.steps, self.step = stage, steps, 0
        self.paused, self._last = False, None
        self._recent: deque[float] = deque(maxlen=RECENT_STEPS)


def seconds_left(step_s: float, steps: int, within_s: float) -> float:
    """Seconds that `steps` steps take, `within_s` seconds after the first began; a late step takes off no more than
    itself."""
    return max(0.0, steps * step_s - max(0.0, min(within_s, step_s)))
