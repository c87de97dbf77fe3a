"""The messages of Runs and of the form that starts a stage."""

from dataclasses import dataclass

from textual.message import Message

from slmctl.runs.command_form import CommandDraft
from slmctl.runs.details import RunDetails
from slmctl.runs.overview import RunSummary


@dataclass
class RunsSeen(Message):
    """The states of all runs at the time `now`, or why their folder cannot be read."""

    runs: tuple[RunSummary, ...]
    now: float
    error: str = ""

    def can_replace(self, message: Message) -> bool:
        """Whether this drops an older message that was not handled yet."""
        return isinstance(message, RunsSeen)


@dataclass
class DetailsRead(Message):
    """The details of the selected run."""

    details: RunDetails


@dataclass
class FieldEdited(Message):
    """A row of the form was edited; `text` is None if it was canceled."""

    key: str
    text: str | None


@dataclass
class CommandChecked(Message, bubble=False):
    """What a command would do, or why it would be refused."""

    draft: CommandDraft
    preview: str
    refused: bool


@dataclass
class LaunchBegun(Message, bubble=False):
    """To the screen that started a command: it has begun to work on this run."""

    run: str


@dataclass
class LaunchRefused(Message, bubble=False):
    """To the screen that started a command: it ended before it began, with this error."""

    run: str
    error: str
