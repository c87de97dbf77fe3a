"""The state of the Train mode without a widget: the followed runs, the stage, step, samples and metrics that are shown.

Screens change it in their handlers and show what follows from it.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from engine.rundir.heartbeat import ACTIVE
from slmctl.plots.chart import Curve
from slmctl.plots.styled_rows import Row
from slmctl.watch.follower import StepSamples, Update
from slmctl.watch.history import RunHistory, StageHistory
from slmctl.watch.panels import ChartView, Panel, default_panels, metrics_of, panel_of, panels_of
from slmctl.watch.samples import SampleListing, SamplePosition, SampleSearch, nearest_position, parse_samples, text_rows

FIRST_OF_FINISHED = "ppo"


@dataclass
class WatchState:
    """`chosen_stage` is the stage that a person chose, or "" to follow the run; `chosen_run` the run that keys act on;
    `filter` a text that listed samples must contain, or "" to list the samples of the step.
    """

    runs: list[RunHistory]
    view: ChartView = field(default_factory=ChartView)
    chosen_stage: str = ""
    chosen_run: int = 0
    chosen_sample: int = 0
    filter: str = ""
    picked: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _followed_stage: str = ""
    _search: SampleSearch = field(default_factory=SampleSearch)

    def add(self, updates: Sequence[Update]) -> bool:
        """Adds one update per run, in the order of the runs; returns whether anything is new."""
        before = self.stage
        changed = [run.add(update) for run, update in zip(self.runs, updates, strict=True)]
        active = self.run.process.state in ACTIVE
        if not self._followed_stage or active:
            self._followed_stage = self.run.current if active else stage_to_show(self.run)
        if self.stage != before:
            self._reset_view()
        return any(changed)

    @property
    def run(self) -> RunHistory:
        """The run that keys act on and whose samples are shown."""
        return self.runs[self.chosen_run]

    @property
    def stage(self) -> str:
        """The stage that is shown."""
        return self.chosen_stage or self._followed_stage or FIRST_OF_FINISHED

    @property
    def history(self) -> StageHistory:
        """What the chosen run reported in that stage."""
        return self.run.stage(self.stage)

    @property
    def panels(self) -> list[Panel]:
        """The panels of that stage: the picked metrics, or else the default ones."""
        if picked := self.picked.get(self.stage):
            planes = [panel for panel in default_panels(self.stage) if panel.kind == "plane"]
            return [*map(panel_of, picked), *(plane for plane in planes if set(plane.metrics) <= set(picked))]
        return panels_of(self.stage, self.runs)

    @property
    def shown_metrics(self) -> list[str]:
        """The metrics of those panels."""
        return list(dict.fromkeys(name for panel in self.panels for name in panel.metrics))

    @property
    def known_metrics(self) -> list[str]:
        """All metrics that can be picked."""
        return metrics_of(self.stage, self.runs)

    @property
    def steps(self) -> Sequence[int]:
        """The steps that the cursor can point at."""
        return self.history.steps or [event.step for event in self.history.evals]

    @property
    def sampled_steps(self) -> list[StepSamples]:
        """The steps with samples."""
        return self.history.samples

    @property
    def step_index(self) -> int:
        """The index of the shown one of them, the last that is not after the cursor, or -1."""
        cursor, steps = self.view.cursor, self.sampled_steps
        return (len(steps) if cursor is None else bisect_right(steps, cursor, key=attrgetter("step"))) - 1

    @property
    def found(self) -> list[SamplePosition]:
        """The samples that contain the text of the filter."""
        return self._search.find(self.sampled_steps, self.filter) if self.filter else []

    @property
    def position(self) -> SamplePosition:
        """The sample that is shown; its step index is -1 if there is none."""
        if self.filter:
            index = nearest_position(self.found, SamplePosition(self.step_index, self.chosen_sample))
            return self.found[index] if self.found else SamplePosition(-1, 0)
        count = len(parse_samples(self.sampled_steps[self.step_index])) if self.step_index >= 0 else 0
        return SamplePosition(self.step_index, max(0, min(self.chosen_sample, count - 1)))

    @property
    def listing(self) -> SampleListing:
        """The samples that are listed."""
        chosen = self.found.index(self.position) if self.found else self.position.number
        return SampleListing(tuple(self.sampled_steps), self.step_index, chosen, self.filter, self.found)

    def move(self, by: int, columns: int) -> None:
        """Moves the cursor by columns of a chart that has `columns`."""
        self.view = self.view.moved(by, self.steps, columns)

    def point(self, step: float) -> None:
        """Points at the nearest step."""
        self.view = self.view.at(step, self.steps)

    def scrub(self, by: int) -> None:
        """Points at the previous or next step with samples; at the last it follows the run again.

        With a filter, at the last matching sample of an earlier step, or the first of a later one.
        """
        if self.filter:
            others = [i for i, item in enumerate(self.found) if (item.step_index - self.position.step_index) * by > 0]
            if others:
                self.choose_sample(others[0] if by > 0 else others[-1])
            return
        steps, index = self.sampled_steps, self.step_index + by
        if 0 <= index < len(steps):
            newest = by > 0 and index == len(steps) - 1
            self.view = replace(self.view, cursor=None) if newest else self.view.at(steps[index].step, self.steps)

    def to_alert(self) -> None:
        """Points at the previous step with an alert; before the first of them at the last."""
        steps = sorted(min(alert.step, self.history.step) for alert in self.history.alerts)
        earlier = [step for step in steps if self.view.cursor is None or step < self.view.cursor]
        if steps:
            self.point((earlier or steps)[-1])

    def show_stage(self, name: str) -> None:
        """Shows a stage; "" follows the run again."""
        before, self.chosen_stage = self.stage, name
        if not name:
            self._followed_stage = self.run.current if self.run.process.state in ACTIVE else stage_to_show(self.run)
        if self.stage != before or not name:
            self._reset_view()

    def next_run(self) -> None:
        """Chooses the next run."""
        self.chosen_run = (self.chosen_run + 1) % len(self.runs)
        self.chosen_sample = 0

    def choose_sample(self, number: int) -> None:
        """Chooses one of the listed samples, at most the last, and points at its step."""
        number = max(0, min(number, len(self.listing) - 1))
        if not self.filter:
            self.chosen_sample = number
        elif self.found:
            index, self.chosen_sample = self.found[number]
            self.point(self.sampled_steps[index].step)

    def set_filter(self, text: str) -> None:
        """Lists the samples of all steps that contain a text; "" lists those of one step, with the same one chosen."""
        index, number = self.position
        if not text and index >= 0:
            self.chosen_sample = number
            if index != self.step_index:
                self.point(self.sampled_steps[index].step)
        self.filter = text

    def smooth(self) -> None:
        """Smooths more, after the last degree not at all."""
        self.view = self.view.smoother()

    def toggle_log(self) -> None:
        """Switches between a linear and a logarithmic scale."""
        self.view = replace(self.view, log=not self.view.log)

    def zoom(self, factor: float) -> None:
        """Shows a range of steps `factor` times as wide."""
        self.view = self.view.zoomed(factor, self.steps)

    def sample_rows(self, width: int) -> list[Row]:
        """The chosen sample in full."""
        return text_rows(self.sampled_steps, *self.position, width)

    def copied(self, panel: Panel | None) -> str:
        """The values of a panel, one per line, or without a panel the chosen sample."""
        if panel is None:
            index, number = self.position
            samples = parse_samples(self.sampled_steps[index]) if index >= 0 else []
            return "\n".join((samples[number].prompt, samples[number].response)) if samples else ""
        step = self.view.cursor if self.view.cursor is not None else self.history.step
        found = []
        for run in self.runs:
            for metric in panel.metrics:
                steps, values = run.stage(self.stage).column(metric)
                value = Curve(steps, values).at(step)
                found.append(f"{run.name} {self.stage} step {step} {metric} {value}")
        return "\n".join(found)

    def pick(self, names: Sequence[str]) -> None:
        """Shows these metrics of the stage; none of them brings back the default ones."""
        self.picked[self.stage] = tuple(names)

    def _reset_view(self) -> None:
        """Follows the newest step, and shows all steps."""
        self.view = replace(self.view, cursor=None, window=None)
        self.chosen_sample = 0


VIEW_ACTIONS: Mapping[str, Callable[[WatchState], None]] = {
    "smooth": WatchState.smooth,
    "log": WatchState.toggle_log,
    "narrower": lambda state: state.zoom(0.5),
    "wider": lambda state: state.zoom(2.0),
    "oldest": lambda state: state.point(-math.inf),
    "alert": WatchState.to_alert,
    "newest": lambda state: state.point(math.inf),
    "next_run": WatchState.next_run,
    "samples_before": lambda state: state.scrub(-1),
    "samples_after": lambda state: state.scrub(1),
}
"""What a key may change in the view, by the name in its binding."""


def stage_to_show(run: RunHistory) -> str:
    """The stage that a person wants to see first: the current one, or after the end PPO."""
    if run.process.state not in ACTIVE and run.current == "eval" and run.stage(FIRST_OF_FINISHED).steps:
        return FIRST_OF_FINISHED
    return run.current or FIRST_OF_FINISHED
