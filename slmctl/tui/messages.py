"""The messages that several modes share: what happened, as data. Only their handlers change state."""

from dataclasses import dataclass

from textual.message import Message


@dataclass
class ModeChosen(Message):
    """A mode was clicked in the bar."""

    mode: str


@dataclass
class OpenRuns(Message, bubble=False):
    """To Train, also while it is open: watch these runs, as after `slmctl watch`."""

    names: tuple[str, ...]


@dataclass
class OpenChat(Message, bubble=False):
    """To Chat, also while it is open: chat with these models."""

    models: tuple[str, ...]


@dataclass
class OpenLabel(Message, bubble=False):
    """To Label, also while it is open: label responses of these models."""

    models: tuple[str, ...]


@dataclass
class OpenForm(Message, bubble=False):
    """To Runs: open the form that starts `target`, a stage or "run", with the run `parent` if one is given."""

    target: str
    parent: str | None = None


@dataclass
class FilterChanged(Message):
    """The text that filters a list; `done` if the list shall have the focus again."""

    text: str
    done: bool = False
