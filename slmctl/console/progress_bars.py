"""One progress bar per stage on a terminal, with the headline metrics, the rate and the time left."""

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from engine.core.events import ControlAcknowledged, Event, PhaseProgress, StageFinished, StageStarted, StepCompleted
from slmctl.console.progress import StageProgress

NARROWEST, WIDEST = 4, 24
OTHERS = 76  # columns beside a bar: stage, steps, metrics, rate, time left


class BarReporter:
    """Draws on stderr; alerts and other notes are printed above the bars."""

    def __init__(self, run: str, console: Console | None = None, stages: Sequence[str] = ()) -> None:
        self._console = console or Console(stderr=True)
        self._stage = StageProgress(run, stages)
        self._bars: dict[str, TaskID] = {}
        name_width = max(len(self._stage.title(stage)) for stage in stages or ("comparisons",))
        columns = (
            TextColumn(f"{{task.description:<{name_width}}}", markup=False),
            BarColumn(bar_width=max(NARROWEST, min(WIDEST, self._console.width - OTHERS))),
            MofNCompleteColumn(),
            TextColumn("{task.fields[headline]}", markup=False),
            TextColumn("{task.fields[time_left]}", markup=False, style="dim"),
        )
        self._progress = Progress(*columns, console=self._console, refresh_per_second=4)
        self._progress.start()

    def show(self, event: Event) -> None:
        """Moves the bar of the stage, or prints a note."""
        self._stage.take(event)
        if isinstance(event, StageStarted):
            self._bars[event.stage] = self._progress.add_task(
                self._stage.title(event.stage), total=event.steps, headline="", time_left=""
            )
        elif isinstance(event, (StepCompleted, StageFinished)) and event.stage in self._bars:
            self._move(event)
        elif isinstance(event, PhaseProgress) and event.stage in self._bars:
            left = f"{event.phase} {event.done}/{event.total}"
            self._progress.update(self._bars[event.stage], time_left=left)
        elif line := self._stage.note(event):
            self._console.print(Text(line))
        if isinstance(event, ControlAcknowledged) and self._stage.pace.stage in self._bars:
            self._progress.update(self._bars[self._stage.pace.stage], time_left=self._stage.time_left())

    def frame(self) -> RenderableType:
        """The bars as they are now."""
        return self._progress.get_renderable()

    def close(self) -> None:
        """Stops drawing; the finished bars stay on screen."""
        self._progress.stop()

    def _move(self, event: StepCompleted | StageFinished) -> None:
        finished = isinstance(event, StageFinished)
        self._progress.update(
            self._bars[event.stage],
            completed=event.step,
            total=event.step if finished else self._stage.pace.steps,
            headline=self._stage.headline(),
            time_left="" if finished else self._stage.time_left(),
        )
