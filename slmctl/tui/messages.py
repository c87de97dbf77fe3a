"""Every message that a widget or worker posts: what happened, as data. Handlers alone change state."""

from dataclasses import dataclass

from textual.message import Message

from engine.rundir import RunDir
from slmctl.drafts import Draft
from slmctl.overview import Standing
from slmctl.panels import Panel
from slmctl.particulars import Particulars
from slmctl.watch import News

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

    runs: tuple[Standing, ...]
    now: float
    error: str = ""

    def can_replace(self, message: Message) -> bool:
        """Whether an older look that was not taken up yet may be dropped."""
        return isinstance(message, RunsSeen)


@dataclass
class RunRead(Message):
    """What there is to say of the chosen run beside how it stands."""

    found: Particulars


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


# train


@dataclass
class RunsFollowed(Message, bubble=False):
    """What one look at the followed runs found, in their order; `turn` tells it from looks at runs followed before."""

    turn: int
    news: tuple[News, ...]


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
class ZoomAsked(Message):
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
class Requested(Message, bubble=False):
    """A request was written for a run, under this number; or why it could not be."""

    run: str
    request: str
    number: int = 0
    error: str = ""
