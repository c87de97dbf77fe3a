"""The messages of Chat: what happened, as data. Only their handlers change the state."""

from dataclasses import dataclass

from textual.message import Message

from slmctl.chat.chat import ReplyRequest
from slmctl.chat.conversation import Reply
from slmctl.chat.votes import VoteResult


@dataclass
class PromptSent(Message):
    """Enter was pressed in the prompt box, which is empty now; `text` is what it contained."""

    text: str


@dataclass
class ReplyEnded(Message, bubble=False):
    """A reply has ended, complete or not, or has failed."""

    request: ReplyRequest
    reply: Reply


@dataclass
class ModelOpened(Message, bubble=False):
    """A model was opened; `chat` says whether it has a chat template. With `error` it cannot be opened."""

    model: str
    chat: bool = True
    error: str = ""


@dataclass
class VoteRecorded(Message, bubble=False):
    """A vote or edit was saved or withdrawn, is waiting, or has failed."""

    result: VoteResult


@dataclass
class SessionSaved(Message, bubble=False):
    """The session `was` was saved under `name`; with `error` it was not."""

    was: str
    name: str
    error: str = ""


@dataclass
class CheckpointClicked(Message):
    """A checkpoint in the checkpoint bar was clicked."""

    by: str
