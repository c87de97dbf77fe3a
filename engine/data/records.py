"""What a row of data is, once read: the schemas that every stage and reader share.

Plain frozen records of text; encoding them belongs to tokenizer.py, reading them from files to readers.py.
"""

from dataclasses import asdict, dataclass
from itertools import combinations


@dataclass(frozen=True)
class Message:
    """One turn: `role` is system, user or assistant."""

    role: str
    content: str


Prompt = str | tuple[Message, ...]
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
"""What turns begin with in a transcript of Anthropic's HH."""


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
    """A prompt with a response to imitate, and with `all_turns` the assistant's earlier turns too."""

    prompt: Prompt
    response: str
    all_turns: bool = False


@dataclass(frozen=True)
class Ranking:
    """A prompt with K responses; `ranks` has one number a response, 0 is best, equal numbers are a tie."""

    prompt: Prompt
    responses: tuple[str, ...]
    ranks: tuple[int, ...]

    def __post_init__(self) -> None:
        assert len(self.responses) == len(self.ranks) >= 2, (len(self.responses), len(self.ranks))

    def pairs(self) -> list[tuple[int, int]]:
        """(chosen, rejected) as indices into `responses`, for every pair that is not a tie."""
        return [
            (first, second) if self.ranks[first] < self.ranks[second] else (second, first)
            for first, second in combinations(range(len(self.ranks)), 2)
            if self.ranks[first] != self.ranks[second]
        ]


def prompt_text(prompt: Prompt) -> str:
    """A prompt as one string for display and for judges that read text: the last user turn of a conversation."""
    if isinstance(prompt, str):
        return prompt
    users = [message.content for message in prompt if message.role == "user"]
    return users[-1] if users else prompt[-1].content


def plain_prompt(prompt: Prompt) -> str | list[dict[str, str]]:
    """A prompt as JSON holds it: text, or a list of {role, content}."""
    return prompt if isinstance(prompt, str) else [asdict(turn) for turn in prompt]


def normalised(prompt: Prompt) -> tuple[tuple[str, str], ...]:
    """A prompt as it is compared with others: text is one user turn, and neither spaces nor case tell turns apart."""
    turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    return tuple((turn.role, " ".join(turn.content.split()).casefold()) for turn in turns)
