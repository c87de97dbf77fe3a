"""Every message that a widget or worker posts: what happened, as data. Handlers alone change state."""

from dataclasses import dataclass

from textual.message import Message

from slmctl.runs.command_form import Draft
from slmctl.runs.details import RunDetails
from slmctl.runs.overview import RunSummary

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
