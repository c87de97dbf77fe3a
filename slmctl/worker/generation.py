"""One request's responses while they are drawn: what was asked, checked before the first token, and rows that grow."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from engine.core.errors import ConfigError
from engine.data.records import Message, Prompt
from engine.model.heads import ScalarModel
from engine.model.randomness import generator
from engine.model.sampling import Sampling
from engine.model.transformer import LanguageModel
from engine.run.inference import Policy
from engine.train.scoring import Scorer
from slmctl.worker.pieces import Pieces
from slmctl.worker.protocol import Sample
from slmctl.worker.sampling_settings import checked_sampling
from slmctl.worker.shelf import Shelf

M = TypeVar("M", LanguageModel, ScalarModel)


@dataclass
class Row:
    """One response: `prompt` ids that it continues, its own `ids` so far, at most `limit` of them."""

    prompt: list[int]
    limit: int
    pieces: Pieces | None
    ids: list[int] = field(default_factory=list)
    ended: bool = False
    seconds: float = 0.0

    def take(self, token: int, eos: int, seconds: float) -> str:
        """What the row says more with one more token; nothing where nobody listens."""
        self.ids.append(token)
        self.seconds = seconds
        piece = "" if self.pieces is None else self.pieces.add(token)
        return piece + self.end() if token == eos or len(self.ids) >= self.limit else piece

    def end(self) -> str:
        """Ends the row where it is; what it has still to say."""
        left = "" if self.ended or self.pieces is None else self.pieces.rest()
        self.ended = True
        return left


@dataclass(frozen=True)
class Draft:
    """The rows of one request, with the models that measure them, None where nobody asked."""

    wanted: Sample
    policy: Policy
    sampling: Sampling
    prompts: list[Prompt]
    rows: list[Row]
    scorer: Scorer | None
    ref: LanguageModel | None
    value: ScalarModel | None

    @property
    def over(self) -> bool:
        """Whether every row has ended."""
        return all(row.ended for row in self.rows)

    def uniforms(self) -> Tensor:
        """The numbers (B, max_new_tokens) that the draws follow from, those of `slmctl sample`."""
        stream = generator(self.wanted.seed, "sample", self.wanted.step)
        return torch.rand(len(self.rows), self.sampling.max_new_tokens, generator=stream)


def begin(wanted: Sample, shelf: Shelf) -> Draft:
    """The draft of a request, with nothing drawn yet.

    Raises: ConfigError for a setting out of range, a prompt without room for an answer, a name that is not loaded or
    a model that cannot measure these responses; CheckpointError.
    """
    policy = shelf.policy(wanted.model)
    sampling = Sampling(**checked_sampling(wanted.sampling))
    prompts = [prompt_of(prompt) for prompt in wanted.prompts]
    context = policy.model.architecture.context
    rows = [
        Row(ids, min(sampling.max_new_tokens, context - len(ids)), Pieces(policy.tokenizer) if wanted.stream else None)
        for ids in policy.encode(prompts)
    ]
    longest = max((len(row.prompt) + row.limit for row in rows), default=0)
    return Draft(
        wanted,
        policy,
        sampling,
        prompts,
        rows,
        scorer=shelf.scorer(wanted.scorer) if wanted.scorer else None,
        ref=_reading(shelf.reference(wanted.ref, policy), wanted.ref, longest) if wanted.ref else None,
        value=_reading(shelf.value(wanted.value, policy), wanted.value, longest) if wanted.value else None,
    )


def prompt_of(value: Any) -> Prompt:
    """The prompt that a request holds: text, or a list of {role, content}."""
    return value if isinstance(value, str) else tuple(Message(turn["role"], turn["content"]) for turn in value)


def _reading(model: M, name: str, longest: int) -> M:
    context = model.architecture.context
    if longest > context:
        raise ConfigError(f"{name} reads {context} tokens, and this may take {longest}: lower max_new_tokens")
    return model
