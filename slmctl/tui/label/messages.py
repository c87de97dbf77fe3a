"""Messages of the Label mode: what happened, as data."""

from dataclasses import dataclass
from typing import Literal

from textual.message import Message

from engine.core.errors import EngineError
from engine.data.labels.store import Label
from slmctl.label.rounds import RoundProgress


@dataclass
class LabelSessionChanged(Message):
    """The session has a new question, or a new state in which it has none."""


@dataclass
class LabelSessionFailed(Message):
    """A session could not be opened; `opening` numbers the attempt, because a later one may have been started."""

    error: EngineError
    opening: int


@dataclass
class LabelWritten(Message):
    """A label was saved, strengthened to "much better" or withdrawn, and that is on disk."""

    label: Label
    change: Literal["saved", "strengthened", "withdrawn"]


@dataclass
class LabelNotWritten(Message):
    """A label was not saved, strengthened or withdrawn. Each attempt ends in this or in LabelWritten."""

    reason: str


@dataclass
class LabelProblem(Message):
    """Something other than a write failed; nothing is lost."""

    reason: str


@dataclass
class LabelNotice(Message):
    """A sentence to show above the prompt."""

    text: str


@dataclass
class StatisticsRead(Message):
    """The statistics of the label database, as text."""

    text: str


@dataclass
class PoliciesFound(Message):
    """The finished policies of all runs."""

    names: tuple[str, ...]


@dataclass
class ResponseClicked(Message):
    """The number of a response was clicked; `place` counts from 0."""

    place: int


@dataclass
class RoundPlanned(Message):
    """A new round was planned, or there is one already."""


@dataclass
class RoundProgressed(Message):
    """The new round made progress."""

    progress: RoundProgress


@dataclass
class RoundEnded(Message):
    """The new round has finished, or failed with `error`."""

    error: str = ""


@dataclass
class RoundAccepted(Message):
    """The models that a round has made are to be labeled next."""

    models: tuple[str, ...]
    scorer: str
