"""A conversation with one or several models as plain data: turns, the reply of each model, what a model is given next.

Prompts are shared, replies are each model's own. Nothing is ever changed in place. Keeping it in files is sessions.py's
job, drawing the replies the sampler's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.core.errors import EngineError
from engine.data.records import Message, Prompt
from slmctl.worker.protocol import LensToken

MOST_MODELS = 4


class Unfit(EngineError):
    """A wish that the conversation as it stands cannot meet."""

    exit_code = 2


@dataclass(frozen=True)
class Reply:
    """What one model answered.

    `finished` says that it ended by itself, `stopped` that a person ended it; neither, that it met a limit. `by` is
    the checkpoint that answered, `kl_nats` its KL to the model `ref`, None where it is that one; `score` is what
    `scorer` thought. With `error`, the sentence that says why there is no answer, it is no part of the conversation;
    `note` says what was not measured.
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
    def said(self) -> bool:
        """Whether it is part of the conversation."""
        return not self.error and bool(self.text or self.finished)

    @property
    def by_reference(self) -> bool:
        """Whether the model that KL is taken to answered itself."""
        return bool(self.ref) and self.ref == self.by


@dataclass(frozen=True)
class Judged:
    """What a person said about the replies of a turn, once it is in a label database.

    `number` is its row in the file `place`; `best` the checkpoint that is better, or whose reply was
    edited, "" where none is; `verdict` as in preferences.py.
    """

    number: int
    verdict: str
    place: str
    best: str = ""
    strength: int = 1


@dataclass(frozen=True)
class Turn:
    """One prompt to `models`, in the order in which they stand, and their replies, drawn from (`seed`, `step`).

    With `follow`, the name of a model, all models go on from that one's reply.
    `judged` is a vote, `edited` an edit.
    """

    prompt: str
    models: tuple[str, ...] = ()
    step: int = 0
    seed: int = 0
    system: str = ""
    sampling: Mapping[str, float] = field(default_factory=dict)
    replies: Mapping[str, Reply] = field(default_factory=dict)
    follow: str = ""
    judged: Judged | None = None
    edited: Judged | None = None

    def with_reply(self, model: str, reply: Reply) -> "Turn":
        """The same with a model's reply."""
        return replace(self, replies={**self.replies, model: reply})

    def heard_by(self, model: str) -> Reply | None:
        """The reply that a model remembers here: its own, or where it was not there, or all follow one, another's."""
        leading = self.replies.get(self.follow) or self.replies.get(model)
        if leading is not None:
            return leading if leading.said else None
        others = (self.replies[other] for other in self.models if other in self.replies)
        return next((reply for reply in others if reply.said), None)

    @property
    def failed(self) -> bool:
        """Whether every model has answered, and none with anything that belongs to the conversation."""
        return bool(self.replies) and not any(reply.said or reply.stopped for reply in self.replies.values())


def next_step(turns: Sequence[Turn]) -> int:
    """The step of the seed that the next draw takes; it follows from the turns alone, so that undoing takes it back."""
    return turns[-1].step + 1 if turns else 0


def given_to(model: str, chat: bool, turns: Sequence[Turn]) -> Prompt:
    """What a model is given to answer the last turn: a conversation or, without a chat template, one verbatim text.

    One turn alone, without a system prompt, is its words: where there is a template, that is one user turn.
    """
    *earlier, last = turns
    told = [(turn.prompt, reply.text) for turn in earlier if (reply := turn.heard_by(model)) is not None]
    if not chat:
        return "".join(prompt + reply for prompt, reply in told) + last.prompt
    if not told and not last.system:
        return last.prompt
    system = (Message("system", last.system),) if last.system else ()
    spoken = [Message(role, text) for pair in told for role, text in zip(("user", "assistant"), pair, strict=True)]
    return (*system, *spoken, Message("user", last.prompt))


def text_so_far(model: str, turns: Sequence[Turn]) -> str:
    """The verbatim text that a model without a chat template goes on from, before anything new is typed."""
    text = given_to(model, False, (*turns, Turn("")))
    assert isinstance(text, str)
    return text


def common_prompt(shown: Mapping[str, Reply], turns: Sequence[Turn]) -> Prompt:
    """What the models whose replies to the last turn are `shown` were all given.

    Raises: Unfit where they were not given the same, so that their replies cannot be compared.
    """
    prompts = {given_to(model, reply.chat, turns) for model, reply in shown.items()}
    if len(prompts) != 1:
        raise Unfit(
            "each model remembers its own replies, so these answer different conversations; "
            "/follow 1 lets all go on from reply 1, and the next replies can be compared"
        )
    return prompts.pop()


def check_models(models: Sequence[str]) -> tuple[str, ...]:
    """The models themselves. Raises: Unfit where there are none, too many, or one twice."""
    if not models:
        raise Unfit("name at least one model, such as tiny:ppo")
    if len(models) > MOST_MODELS:
        raise Unfit(f"{len(models)} models are too many; chat shows up to {MOST_MODELS} side by side")
    for model in models:
        if models.count(model) > 1:
            raise Unfit(f"{model} is named twice; on the same seed it would answer the same, so name each model once")
    return tuple(models)
