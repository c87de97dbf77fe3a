"""A conversation with one or several models as plain data: turns, the reply of each model, the prompt for the next one.

Models share the prompts and have their own replies. All objects are immutable. sessions.py saves them, the sampler
makes the replies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.core.errors import EngineError
from engine.data.records import Message, Prompt
from slmctl.worker.protocol import LensToken

MOST_MODELS = 4


class ChatError(EngineError):
    """A request that the conversation cannot satisfy in its current state."""

    exit_code = 2


@dataclass(frozen=True)
class Reply:
    """The reply of one model.

    `finished`: the model ended it; `stopped`: the user did; neither: it reached a limit. `by` is the checkpoint that
    replied, `kl_nats` its KL to the model `ref` (None if it is that model), `score` the reward given by `scorer`. A
    reply with an `error` is not part of the conversation. `note` names a measurement that failed.
    """

    text: str = ""
    tokens: int = 0
    finished: bool = False
    stopped: bool = False
    seconds: float = 0.0
    kl_nats: float | None = None
    ref: str = ""
    score: float | None = None
    scorer: str = ""
    by: str = ""
    checkpoint: str = ""
    chat: bool = True
    error: str = ""
    note: str = ""
    lens: tuple[LensToken, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it is part of the conversation."""
        return not self.error and bool(self.text or self.finished)

    @property
    def by_reference(self) -> bool:
        """Whether the reference policy itself wrote it."""
        return bool(self.ref) and self.ref == self.by


@dataclass(frozen=True)
class SavedVote:
    """A vote or an edit of a turn: row `number` of the label database `path`.

    `best` is the preferred or edited checkpoint, "" for a verdict on all replies alike.
    """

    number: int
    verdict: str
    path: str
    best: str = ""
    strength: int = 1


@dataclass(frozen=True)
class Turn:
    """One prompt to `models`, and their replies, sampled from (`seed`, `step`).

    If `follow` names a model, all models continue from its reply.
    """

    prompt: str
    models: tuple[str, ...] = ()
    step: int = 0
    seed: int = 0
    system: str = ""
    sampling: Mapping[str, float] = field(default_factory=dict)
    replies: Mapping[str, Reply] = field(default_factory=dict)
    follow: str = ""
    vote: SavedVote | None = None
    edit: SavedVote | None = None

    def with_reply(self, model: str, reply: Reply) -> "Turn":
        """A copy with a model's reply."""
        return replace(self, replies={**self.replies, model: reply})

    def reply_seen_by(self, model: str) -> Reply | None:
        """The reply in a model's history: the followed one, else its own, else the first usable one."""
        own = self.replies.get(self.follow) or self.replies.get(model)
        if own is not None:
            return own if own.usable else None
        others = (self.replies[other] for other in self.models if other in self.replies)
        return next((reply for reply in others if reply.usable), None)

    @property
    def failed(self) -> bool:
        """Whether every model has replied, none of them with anything usable."""
        return bool(self.replies) and not any(reply.usable or reply.stopped for reply in self.replies.values())


def next_step(turns: Sequence[Turn]) -> int:
    """The random step of the next turn. It depends on the turns alone, so undoing a turn also undoes its step."""
    return turns[-1].step + 1 if turns else 0


def prompt_for(model: str, chat: bool, turns: Sequence[Turn]) -> Prompt:
    """The prompt that makes a model reply to the last turn: messages or, without a chat template, one verbatim text.

    A single turn without a system prompt is passed as plain text; a chat template makes it one user turn.
    """
    *earlier, last = turns
    history = [(turn.prompt, reply.text) for turn in earlier if (reply := turn.reply_seen_by(model)) is not None]
    if not chat:
        return "".join(prompt + reply for prompt, reply in history) + last.prompt
    if not history and not last.system:
        return last.prompt
    system = (Message("system", last.system),) if last.system else ()
    messages = [Message(role, text) for pair in history for role, text in zip(("user", "assistant"), pair, strict=True)]
    return (*system, *messages, Message("user", last.prompt))


def text_so_far(model: str, turns: Sequence[Turn]) -> str:
    """The verbatim text that a model without a chat template continues, before the next prompt."""
    text = prompt_for(model, False, (*turns, Turn("")))
    assert isinstance(text, str)
    return text


def common_prompt(shown: Mapping[str, Reply], turns: Sequence[Turn]) -> Prompt:
    """The prompt shared by all replies `shown` for the last turn.

    Raises: ChatError if the prompts differ, since such replies cannot be compared.
    """
    prompts = {prompt_for(model, reply.chat, turns) for model, reply in shown.items()}
    if len(prompts) != 1:
        raise ChatError(
            "these replies answer different conversations, because each model continues from its own replies; "
            "type /follow 1 to continue all from reply 1, then compare the next replies"
        )
    return prompts.pop()


def check_models(models: Sequence[str]) -> tuple[str, ...]:
    """The models themselves. Raises: ChatError for none, too many, or a duplicate."""
    if not models:
        raise ChatError("name at least one model, such as tiny:ppo")
    if len(models) > MOST_MODELS:
        raise ChatError(f"{len(models)} models are too many; chat shows up to {MOST_MODELS} side by side")
    for model in models:
        if models.count(model) > 1:
            raise ChatError(f"{model} is named twice; it would give the same reply twice, so name each model once")
    return tuple(models)
