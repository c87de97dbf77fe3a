"""Every message that a widget or worker posts: what happened, as data. Handlers alone change state."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from engine.core.errors import EngineError
from engine.data.labels.store import Label
from slmctl.label.rounds import Progress
from slmctl.runs.command_form import Draft
from slmctl.runs.details import RunDetails
from slmctl.runs.overview import RunSummary

if TYPE_CHECKING:
    from slmctl.tui.label.session import LabelSession

# the shell: modes, and what one mode hands to another


@dataclass
class ModeChosen(Message):
    """A mode was clicked in the bar."""

    mode: str


@dataclass
class OpenRuns(Message, bubble=False):
    """To the Train screen, also while it is open: watch these runs, as if they had been typed after `slmctl watch`."""

    names: tuple[str, ...]


@dataclass
class OpenChat(Message, bubble=False):
    """To the Chat screen, also while it is open: talk to these models."""

    models: tuple[str, ...]


@dataclass
class OpenLabel(Message, bubble=False):
    """To the Label screen, also while it is open: label responses of these models."""

    models: tuple[str, ...]


@dataclass
class OpenForm(Message, bubble=False):
    """To the Runs screen: show the form that starts `target`, a stage or "run"; from the run `parent`, if any."""

    target: str
    parent: str | None = None


@dataclass
class LaunchBegun(Message, bubble=False):
    """To the screen that started a command: it is at work on this run."""

    run: str


@dataclass
class LaunchRefused(Message, bubble=False):
    """To the screen that started a command: it ended before it was at work, with this to say."""

    run: str
    error: str


# runs


@dataclass
class RunsSeen(Message):
    """The runs of the folder as they stand now, and the time it is; `error` where the folder cannot be read."""

    runs: tuple[RunSummary, ...]
    now: float
    error: str = ""

    def can_replace(self, message: Message) -> bool:
        """Whether an older look that was not taken up yet may be dropped."""
        return isinstance(message, RunsSeen)


@dataclass
class RunRead(Message):
    """What there is to say of the chosen run beside how it stands."""

    found: RunDetails


@dataclass
class FilterChanged(Message):
    """What is typed to narrow a list down; `done` once the list shall have the focus again."""

    text: str
    done: bool = False


# the form


@dataclass
class FieldEdited(Message):
    """A row of the form was edited; `text` is None where it is to stay as it was."""

    key: str
    text: str | None


@dataclass
class DraftChecked(Message, bubble=False):
    """What a draft would come to, or why the command would refuse it."""

    draft: Draft
    outlook: str
    refused: bool


# label: answers, and the round that learns from them


@dataclass
class LabelNews(Message):
    """Something has changed in the labelling session: a question has come, an answer is kept, or nothing more comes."""


@dataclass
class SessionOpened(Message):
    """A labelling session is there; `opening` is the number of the attempt, since a later one may have overtaken it."""

    session: "LabelSession"
    opening: int


@dataclass
class SessionFailed(Message):
    """A labelling session could not be opened."""

    error: EngineError
    opening: int


@dataclass
class LabelKept(Message):
    """A label is on the disk; `withdrawn` says that it is one that was taken back."""

    label: Label
    withdrawn: bool = False


@dataclass
class LabelFailed(Message):
    """What was asked for could not be done; nothing is lost."""

    sentence: str


@dataclass
class LabelUnkept(Message):
    """An answer, or what was to be done to one, is not on the disk; each ends in this or in LabelKept."""

    sentence: str


@dataclass
class LabelTold(Message):
    """A sentence for the line above the prompt."""

    sentence: str


@dataclass
class FiguresRead(Message):
    """The figures of the label database, as text."""

    text: str


@dataclass
class RoundPlanned(Message):
    """What a new round would do, or how the one that there is stands, is known."""


@dataclass
class NextRound(Message):
    """What the new round made is to be labelled next."""

    models: tuple[str, ...]
    scorer: str


@dataclass
class PoliciesFound(Message):
    """The finished policies of all runs, by name."""

    names: tuple[str, ...]


@dataclass
class ResponseChosen(Message):
    """The head of a response was clicked; `place` counts from 0."""

    place: int


@dataclass
class RoundNews(Message):
    """How the new round stands now."""

    progress: Progress


@dataclass
class RoundEnded(Message):
    """The new round is over: with a new policy, or with the sentence why there is none."""

    error: str = ""
