"""Opening models from their directories, and generating responses with them.

The sampler, the commands and notebooks use models through this file. It trains nothing: that is stages.py's job.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch

from engine.core.errors import ConfigError
from engine.data.records import Prompt
from engine.model.heads import ScalarModel
from engine.model.pretrained import open_policy, open_scalar
from engine.model.sampling import Sampling
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.run.machine import choose_device
from engine.train.rollout import draw_episodes, ended, response_texts
from engine.train.scoring import RewardModelScorer, Scorer, named_scorer

M = TypeVar("M", LanguageModel, ScalarModel)
BATCH = 64  # responses that are generated together
SHOWN = 60  # characters of a prompt in an error


@dataclass(frozen=True)
class Response:
    """A response: its text, its length in tokens with EOS, and whether it ended by itself."""

    text: str
    tokens: int
    finished: bool


@dataclass(frozen=True)
class Policy:
    """A language model with its tokenizer, under the name that the user gave it."""

    name: str
    model: LanguageModel
    tokenizer: Tokenizer

    def encode(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """The ids of each prompt. Raises: ConfigError for a prompt that is empty or leaves no room for a response."""
        encoded = self.tokenizer.encode_prompts(prompts)
        for prompt, ids in zip(prompts, encoded, strict=True):
            if problem := self._length_problem(ids):
                text = prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)
                raise ConfigError(f"a prompt {problem}: {text[:SHOWN]!r}")
        return encoded

    def why_unanswerable(self, prompt: Prompt) -> str:
        """Why the policy cannot respond to a prompt; "" if it can."""
        return self._length_problem(self.tokenizer.encode_prompts([prompt])[0])

    def respond(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, step: int = 0) -> list[Response]:
        """One response per prompt, sampled from (`seed`, `step`) and the prompt's position.

        Raises: ConfigError for a prompt that is empty or leaves no room for a response.
        """
        self.encode(prompts)
        episodes = draw_episodes(self.model, self.tokenizer, prompts, sampling, seed, "sample", step)
        texts = response_texts(episodes, self.tokenizer)
        lengths = episodes.response_mask.sum(1).tolist()
        finished = ended(episodes, self.tokenizer.eos_id).tolist()
        return [Response(*fields) for fields in zip(texts, lengths, finished, strict=True)]

    def respond_to_all(
        self, prompts: Iterable[Prompt], sampling: Sampling, seed: int
    ) -> Iterator[tuple[Prompt, Response]]:
        """Prompts with their responses, in order, generated batch by batch."""
        remaining, step = iter(prompts), 0
        while batch := list(islice(remaining, BATCH)):
            yield from zip(batch, self.respond(batch, sampling, seed, step), strict=True)
            step += 1

    def _length_problem(self, ids: Sequence[int]) -> str:
        context = self.model.architecture.context
        return "" if 0 < len(ids) < context else f"has {len(ids)} tokens, {self.name} reads 1 to {context - 1}"


class ModelLoader:
    """Opens models on a device; `template` "none" ignores their chat templates, `dtype` is that of matrix products.

    `day` is the date that a chat template gets if its directory records none. Raises: ConfigError for an unknown value,
    or a device that is not available.
    """

    def __init__(
        self, device: str | None = None, template: str | None = None, dtype: str | None = None, day: str = ""
    ) -> None:
        self._template = _one_of("template", template, ("auto", "none"))
        self.dtype: torch.dtype = getattr(torch, _one_of("dtype", dtype, ("float32", "bfloat16")))
        self.device, self._day = choose_device(device or "auto"), day

    def policy(self, name: str, directory: Path) -> Policy:
        """The policy in a directory. Raises: CheckpointError."""
        return Policy(name, *self.language_model(directory))

    def reward_model(self, directory: Path) -> RewardModelScorer:
        """The reward model in a directory. Raises: CheckpointError."""
        return RewardModelScorer(*self.scalar_model(directory))

    def language_model(self, directory: Path) -> tuple[LanguageModel, Tokenizer]:
        """The model and tokenizer of a policy. Raises: CheckpointError."""
        return self._adapted(*open_policy(directory, self.device, self._day))

    def scalar_model(self, directory: Path) -> tuple[ScalarModel, Tokenizer]:
        """The model and tokenizer of a reward model. Raises: CheckpointError."""
        return self._adapted(*open_scalar(directory, self.device, self._day))

    def scorer(self, name: str, directory: Path | None) -> Scorer:
        """The reward model in `directory`, or the scorer that the name alone defines, such as pocket:judge.

        Raises: CheckpointError; ConfigError or FileError for a name that is not a scorer.
        """
        return named_scorer(name) if directory is None else self.reward_model(directory)

    def _adapted(self, model: M, tokenizer: Tokenizer) -> tuple[M, Tokenizer]:
        model.model.compute_dtype = self.dtype
        return model, tokenizer.without_template() if self._template == "none" else tokenizer


def _one_of(name: str, value: str | None, allowed: Sequence[str]) -> str:
    """The value, by default the first of those allowed."""
    if value is not None and value not in allowed:
        raise ConfigError(f"{name} is {value!r}; it must be {' or '.join(allowed)}")
    return value or allowed[0]
