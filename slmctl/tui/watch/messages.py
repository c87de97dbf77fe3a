"""The messages of the Train mode: what happened, as data. Handlers alone change state."""

from dataclasses import dataclass

from textual.message import Message

from engine.rundir.directory import RunDir
from slmctl.watch.follower import Update


@dataclass
class RunsPolled(Message, bubble=False):
    """One poll of the followed runs, in their order; polls of runs followed before have another `turn`."""

    turn: int
    updates: tuple[Update, ...]


@dataclass
class RunsFound(Message, bubble=False):
    """The runs to follow, none if the folder has none; or the error that kept them from being found."""

    runs: tuple[RunDir, ...]
    error: str = ""


@dataclass
class CursorMoved(Message):
    """The cursor is to move by columns of a chart that has `columns`."""

    by: int
    columns: int


@dataclass
class StepChosen(Message):
    """A step was clicked."""

    step: float


@dataclass
class StageChosen(Message):
    """A stage was clicked."""

    stage: str


@dataclass
class SampleChosen(Message):
    """A listed sample was chosen, counted from 0; it may be past the last."""

    number: int


@dataclass
class RequestSent(Message, bubble=False):
    """A request to a run was written under this number, or could not be written."""

    run: str
    request: str
    number: int = 0
    error: str = ""
