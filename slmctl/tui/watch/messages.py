"""The messages of the Train mode: what happened, as data. Handlers alone change state."""

from dataclasses import dataclass

from textual.message import Message

from engine.rundir.directory import RunDir
from slmctl.watch.follower import Update
from slmctl.watch.panels import Panel


@dataclass
class RunsPolled(Message, bubble=False):
    """What one look at the followed runs found, in their order; `turn` tells it from looks at runs followed before."""

    turn: int
    news: tuple[Update, ...]


@dataclass
class RunsFound(Message, bubble=False):
    """The runs that there are to follow, none where the folder has none; or why one cannot be."""

    runs: tuple[RunDir, ...]
    error: str = ""


@dataclass
class CursorMoved(Message):
    """A chart of so many columns was told to point at the step `by` columns further."""

    by: int
    columns: int


@dataclass
class StepChosen(Message):
    """A step was clicked."""

    step: float


@dataclass
class ZoomRequested(Message):
    """A panel shall fill the screen."""

    panel: Panel


@dataclass
class StageChosen(Message):
    """A stage was clicked."""

    stage: str


@dataclass
class SampleChosen(Message):
    """A sample of the shown step was chosen, counted from 0; it may be past the last."""

    number: int


@dataclass
class SampleOpened(Message):
    """The chosen sample shall be read in full."""


@dataclass
class RequestSent(Message, bubble=False):
    """A request was written for a run, under this number; or why it could not be."""

    run: str
    request: str
    number: int = 0
    error: str = ""
