"""One progress bar a stage on a terminal, with rate, time left and the numbers that matter there."""

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from engine.core.events import ControlAcknowledged, Event, StageFinished, StageStarted, StepCompleted
from slmctl.console.progress import Pace

NARROWEST, WIDEST = 4, 24
OTHERS = 76  # columns that stand beside a bar: stage, steps, numbers, rate, time left


class Bars:
    """Draws on stderr; alarms and resumes are printed above the bars."""

    def __init__(self, run: str, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._pace = Pace(run)
        self._bars: dict[str, TaskID] = {}
        columns = (
            TextColumn("{task.description:<11}", markup=False),
            BarColumn(bar_width=max(NARROWEST, min(WIDEST, self._console.width - OTHERS))),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}", markup=False),
            TextColumn("{task.fields[timing]}", markup=False, style="dim"),
        )
        self._progress = Progress(*columns, console=self._console, refresh_per_second=4)
        self._progress.start()

    def show(self, event: Event) -> None:
        """Moves the stage's bar, or prints a note."""
        self._pace.take(event)
        if isinstance(event, StageStarted):
            self._bars[event.stage] = self._progress.add_task(event.stage, total=event.steps, numbers="", timing="")
        elif isinstance(event, (StepCompleted, StageFinished)) and event.stage in self._bars:
            self._move(event)
        elif line := self._pace.note(event):
            self._console.print(Text(line))
        if isinstance(event, ControlAcknowledged) and self._pace.stage in self._bars:
            self._progress.update(self._bars[self._pace.stage], timing=self._pace.timing())

    def frame(self) -> RenderableType:
        """The bars as they stand."""
        return self._progress.get_renderable()

    def close(self) -> None:
        """Stops drawing; the finished bars stay on screen."""
        self._progress.stop()

    def _move(self, event: StepCompleted | StageFinished) -> None:
        done = isinstance(event, StageFinished)
        self._progress.update(
            self._bars[event.stage],
            completed=event.step,
            total=event.step if done else self._pace.steps,
            numbers=self._pace.numbers(),
            timing="" if done else self._pace.timing(),
        )
