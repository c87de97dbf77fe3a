"""Every message that a widget or worker posts: what happened, as data. Handlers alone change state."""

from dataclasses import dataclass

from textual.message import Message

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
