"""Records of data: demonstrations, rankings, prompts and texts as plain text.

readers.py reads them from files; model/tokenizer.py encodes them.
"""

from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Generic, TypeVar


@dataclass(frozen=True)
class Message:
    """One message; `role` is system, user or assistant."""

    role: str
    content: str


Prompt = str | tuple[Message, ...]
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
"""Beginnings of turns in transcripts of Anthropic's HH dataset."""


@dataclass(frozen=True)
class Text:
    """One document for pretraining."""

    text: str


@dataclass(frozen=True)
class PromptRow:
    """One prompt to answer."""

    prompt: Prompt


@dataclass(frozen=True)
class Demonstration:
    """A prompt with a response to imitate; `all_turns` adds the assistant's earlier messages to the loss."""

    prompt: Prompt
    response: str
    all_turns: bool = False


@dataclass(frozen=True)
class Ranking:
    """A prompt with K responses; `ranks` has one number per response, 0 is best, equal numbers are a tie."""

    prompt: Prompt
    responses: tuple[str, ...]
    ranks: tuple[int, ...]

    def __post_init__(self) -> None:
        assert len(self.responses) == len(self.ranks) >= 2, (len(self.responses), len(self.ranks))

    def pairs(self) -> list[tuple[int, int]]:
        """(chosen, rejected) as indices into `responses` for every pair that is not tied."""
        return [
            (first, second) if self.ranks[first] < self.ranks[second] else (second, first)
            for first, second in combinations(range(len(self.ranks)), 2)
            if self.ranks[first] != self.ranks[second]
        ]


T = TypeVar("T")


@dataclass(frozen=True)
class TrainingRows(Generic[T]):
    """What a stage trains on and validates with, and how many rows were left out, by reason."""

    train: list[T]
    validation: list[T]
    left_out: dict[str, int] = field(default_factory=dict)


def prompt_text(prompt: Prompt) -> str:
    """A prompt as one string, for display and for judges: the last user message of a conversation."""
    if isinstance(prompt, str):
        return prompt
    users = [message.content for message in prompt if message.role == "user"]
    return users[-1] if users else prompt[-1].content


def plain_prompt(prompt: Prompt) -> str | list[dict[str, str]]:
    """A prompt for JSON: a string, or a list of {role, content}."""
    return prompt if isinstance(prompt, str) else [asdict(turn) for turn in prompt]


def prompt_key(prompt: Prompt) -> tuple[tuple[str, str], ...]:
    """A key that is equal for equal prompts, ignoring case and spacing; a string is one user message."""
    turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    return tuple((turn.role, " ".join(turn.content.split()).casefold()) for turn in turns)
