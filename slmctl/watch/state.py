"""How a person looks at the numbers of a stage: the step that is pointed at, the range of steps, smoothing, log scale.

Values, and what follows from a key; which widget shows them is not known here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slmctl.plots.chart import Curve
from slmctl.plots.rows import Row
from slmctl.watch.follower import WORKING, StepSamples, Update
from slmctl.watch.history import RunHistory, StageHistory
from slmctl.watch.panels import ChartView, Panel, default_panels, metrics_of, panel_of, panels_of
from slmctl.watch.sample_rows import SampleListing, text_rows
from slmctl.watch.samples import SamplePosition, SampleSearch, nearest_position, parse_samples

FIRST_OF_FINISHED = "ppo"


@dataclass
class WatchState:
    """`asked` is the stage that a person chose to see, "" to go with the run; `chosen` is the run that keys act on;
    `wanted` is a text that samples must hold to be listed, "" for the samples of the shown step.
    """

    stories: list[RunHistory]
    view: ChartView = field(default_factory=ChartView)
    asked: str = ""
    chosen: int = 0
    sample: int = 0
    wanted: str = ""
    picked: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _shown: str = ""
    _finder: SampleSearch = field(default_factory=SampleSearch)

    def take(self, news: Sequence[Update]) -> bool:
        """Adds what one look found, in the order of the runs; whether anything is new."""
        before = self.stage
        changed = [story.take(told) for story, told in zip(self.stories, news, strict=True)]
        story = self.story
        if not self._shown or story.pulse.word in WORKING:
            self._shown = story.current if story.pulse.word in WORKING else stage_to_show(story)
        if self.stage != before:
            self._begin()
        return any(changed)

    @property
    def story(self) -> RunHistory:
        """The run that keys act on and whose samples are shown."""
        return self.stories[self.chosen]

    @property
    def stage(self) -> str:
        """The stage that is shown."""
        return self.asked or self._shown or FIRST_OF_FINISHED

    @property
    def told(self) -> StageHistory:
        """What the chosen run said of that stage."""
        return self.story.stage(self.stage)

    @property
    def panels(self) -> list[Panel]:
        """What is shown of that stage: what was picked, else what matters in it."""
        if picked := self.picked.get(self.stage):
            planes = [panel for panel in default_panels(self.stage) if panel.kind == "plane"]
            return [*map(panel_of, picked), *(plane for plane in planes if set(plane.metrics) <= set(picked))]
        return panels_of(self.stage, self.stories)

    @property
    def shown_metrics(self) -> list[str]:
        """The metrics of those panels."""
        return list(dict.fromkeys(name for panel in self.panels for name in panel.metrics))

    @property
    def known_metrics(self) -> list[str]:
        """All metrics that can be picked."""
        return metrics_of(self.stage, self.stories)

    @property
    def steps(self) -> Sequence[int]:
        """The steps that can be pointed at."""
        return self.told.done or [event.step for event in self.told.evals]

    @property
    def history(self) -> list[StepSamples]:
        """The steps with samples."""
        return self.told.drawn

    @property
    def place(self) -> int:
        """Which of them is shown; -1 for none."""
        return self.view.place_in([drawn.step for drawn in self.history])

    @property
    def found(self) -> list[SamplePosition]:
        """The samples that hold the wanted text."""
        return self._finder.find(self.history, self.wanted) if self.wanted else []

    @property
    def spot(self) -> SamplePosition:
        """The sample that is shown; at place -1 where there is none."""
        if self.wanted:
            place = nearest_position(self.found, SamplePosition(self.place, self.sample))
            return self.found[place] if self.found else SamplePosition(-1, 0)
        count = len(parse_samples(self.history[self.place])) if self.place >= 0 else 0
        return SamplePosition(self.place, max(0, min(self.sample, count - 1)))

    @property
    def listing(self) -> SampleListing:
        """The samples that are listed."""
        chosen = self.found.index(self.spot) if self.found else self.spot.number
        return SampleListing(tuple(self.history), self.place, chosen, self.wanted, self.found)

    def move(self, by: int, columns: int) -> None:
        """Points at another step, `by` of so many columns further."""
        self.view = self.view.moved(by, self.steps, columns)

    def point(self, step: float) -> None:
        """Points at the nearest step."""
        self.view = self.view.at(step, self.steps)

    def scrub(self, by: int) -> None:
        """Points at the step of the samples before or after those shown; at the last ones it goes with the newest.

        Where a text is wanted, at the last sample before that step that holds it, or at the first after it.
        """
        if self.wanted:
            others = [i for i, item in enumerate(self.found) if (item.place - self.spot.place) * by > 0]
            if others:
                self.choose_sample(others[0] if by > 0 else others[-1])
            return
        drawn, place = self.history, self.place + by
        if 0 <= place < len(drawn):
            newest = by > 0 and place == len(drawn) - 1
            self.view = replace(self.view, cursor=None) if newest else self.view.at(drawn[place].step, self.steps)

    def to_alarm(self) -> None:
        """Points at the last step before that has an alarm; before the first of them at the last."""
        steps = sorted(min(alarm.step, self.told.step) for alarm in self.told.alarms)
        earlier = [step for step in steps if self.view.cursor is None or step < self.view.cursor]
        if steps:
            self.point((earlier or steps)[-1])

    def show_stage(self, name: str) -> None:
        """Shows a stage; "" goes with the run again."""
        before, self.asked = self.stage, name
        if not name:
            self._shown = self.story.current if self.story.pulse.word in WORKING else stage_to_show(self.story)
        if self.stage != before or not name:
            self._begin()

    def next_run(self) -> None:
        """Chooses the next run."""
        self.chosen = (self.chosen + 1) % len(self.stories)
        self.sample = 0

    def choose_sample(self, number: int) -> None:
        """Chooses one of the listed samples, the last where there are not so many, and points at its step."""
        number = max(0, min(number, len(self.listing) - 1))
        if not self.wanted:
            self.sample = number
        elif self.found:
            place, self.sample = self.found[number]
            self.point(self.history[place].step)

    def want(self, text: str) -> None:
        """Lists the samples that hold a text, of all steps; "" those of one step again, the same one chosen."""
        place, number = self.spot
        if not text and place >= 0:
            self.sample = number
            if place != self.place:
                self.point(self.history[place].step)
        self.wanted = text

    def smooth(self) -> None:
        """Smooths more, or not at all."""
        self.view = self.view.smoother()

    def flip_log(self) -> None:
        """Draws on a logarithmic scale, or no longer."""
        self.view = replace(self.view, log=not self.view.log)

    def zoom(self, factor: float) -> None:
        """Shows a range of steps that is `factor` times as wide."""
        self.view = self.view.zoomed(factor, self.steps)

    def sample_rows(self, width: int) -> list[Row]:
        """The chosen sample in full."""
        return text_rows(self.history, *self.spot, width)

    def copied(self, panel: Panel | None) -> str:
        """What a panel shows as one line, or the chosen sample where there is no panel."""
        if panel is None:
            place, number = self.spot
            samples = parse_samples(self.history[place]) if place >= 0 else []
            return "\n".join((samples[number].prompt, samples[number].response)) if samples else ""
        step = self.view.cursor if self.view.cursor is not None else self.told.step
        found = []
        for story in self.stories:
            for metric in panel.metrics:
                steps, values = story.stage(self.stage).column(metric)
                value = Curve(steps, values).at(step)
                found.append(f"{story.name} {self.stage} step {step} {metric} {value}")
        return "\n".join(found)

    def pick(self, names: Sequence[str]) -> None:
        """Shows these metrics in the stage; none brings back what matters in it."""
        self.picked[self.stage] = tuple(names)

    def _begin(self) -> None:
        """Looks at a stage from the start: the newest step, all of them."""
        self.view = replace(self.view, cursor=None, window=None)
        self.sample = 0


VIEW_ACTIONS: Mapping[str, Callable[[WatchState], None]] = {
    "smooth": WatchState.smooth,
    "log": WatchState.flip_log,
    "narrower": lambda watching: watching.zoom(0.5),
    "wider": lambda watching: watching.zoom(2.0),
    "oldest": lambda watching: watching.point(-math.inf),
    "alarm": WatchState.to_alarm,
    "newest": lambda watching: watching.point(math.inf),
    "next_run": WatchState.next_run,
    "samples_before": lambda watching: watching.scrub(-1),
    "samples_after": lambda watching: watching.scrub(1),
}
"""What a key may change, by the name that its binding has."""


def stage_to_show(story: RunHistory) -> str:
    """The stage that a person wants to see first: where the run is; of one that is over, PPO if there was any."""
    if story.pulse.word not in WORKING and story.current == "eval" and story.stage(FIRST_OF_FINISHED).done:
        return FIRST_OF_FINISHED
    return story.current or FIRST_OF_FINISHED
