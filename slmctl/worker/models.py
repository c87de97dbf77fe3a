"""Opening models by reference and drawing responses from them, for `sample`, `score` and `chat`.

Loads torch: imported inside commands only, after the thread settings.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from engine.core.errors import ConfigError, DataError
from engine.data.records import Prompt
from engine.model.pretrained import open_policy, open_scalar
from engine.model.sampling import Sampling
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.run.machine import choose_device
from engine.train.rollout import draw_episodes, ended, response_texts
from engine.train.scoring import RewardModelScorer, Scorer, named_scorer
from slmctl.console.printing import say
from slmctl.console.safe import clean

BATCH = 64
SHOWN = 60  # characters of a prompt that is refused
NAMED = 3  # prompts that are left out, of which it is said where they stand


@dataclass(frozen=True)
class Opening:
    """How models are opened: where their tensors live, whether their chat template counts, and the number format of
    their matrix products."""

    device: torch.device
    template: str = "auto"
    dtype: torch.dtype = torch.float32

    def policy(self, name: str, directory: Path) -> "Policy":
        """The policy in a directory, ready to sample from. Raises: CheckpointError."""
        model, tokenizer = open_policy(directory, self.device)
        model.model.compute_dtype = self.dtype
        return Policy(name, model, self._templated(tokenizer))

    def reward_model(self, directory: Path) -> RewardModelScorer:
        """The reward model in a directory. Raises: CheckpointError."""
        model, tokenizer = open_scalar(directory, self.device)
        model.model.compute_dtype = self.dtype
        return RewardModelScorer(model, self._templated(tokenizer))

    def scorer(self, name: str, directory: Path | None) -> Scorer:
        """The scorer that a person named: a reward model in `directory`, or without one what the name alone says.

        Raises: CheckpointError; ConfigError, FileError for a name that is no scorer.
        """
        return named_scorer(name) if directory is None else self.reward_model(directory)

    def _templated(self, tokenizer: Tokenizer) -> Tokenizer:
        return tokenizer.without_template() if self.template == "none" else tokenizer


def opening_of(params: Mapping[str, Any]) -> Opening:
    """The way of opening that the typed options device, template and dtype ask for.

    Raises: ConfigError for a value that none of them has, or a device that is not there.
    """
    allowed = {"template": ("auto", "none"), "dtype": ("float32", "bfloat16")}
    given = {name: params.get(name) or values[0] for name, values in allowed.items()}
    for name, value in given.items():
        if value not in allowed[name]:
            raise ConfigError(f"--{name} is {value!r}; it must be {' or '.join(allowed[name])}")
    return Opening(choose_device(params.get("device") or "auto"), given["template"], getattr(torch, given["dtype"]))


@dataclass(frozen=True)
class Policy:
    """A language model with its tokenizer, under the name that a person gave it."""

    name: str
    model: LanguageModel
    tokenizer: Tokenizer


@dataclass(frozen=True)
class Answer:
    """A response with its length in tokens, EOS included, and whether it ended by itself."""

    text: str
    tokens: int
    finished: bool


def encoded_prompts(policy: Policy, prompts: Sequence[Prompt]) -> list[list[int]]:
    """The ids of each prompt. Raises: ConfigError for a prompt that leaves no room for an answer, or is empty."""
    encoded = policy.tokenizer.encode_prompts(prompts)
    for prompt, ids in zip(prompts, encoded, strict=True):
        if misfit := _misfit(policy, ids):
            text = prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)
            raise ConfigError(f"a prompt {misfit}: {text[:SHOWN]!r}")
    return encoded


def fitting(asked: Iterable[tuple[str, Prompt]], policies: Sequence[Policy]) -> Iterator[Prompt]:
    """Of prompts with their places those that leave every policy room for an answer, as they come.

    The others are counted on stderr at the end. Raises: DataError where none is left.
    """
    kept, left_out = 0, list[str]()
    for place, prompt in asked:
        misfits = [_misfit(policy, policy.tokenizer.encode_prompts([prompt])[0]) for policy in policies]
        if any(misfits):
            left_out.append(f"{place} {next(filter(None, misfits))}")
        else:
            kept += 1
            yield prompt
    named = "; ".join(left_out[:NAMED]) + ("; ..." if len(left_out) > NAMED else "")
    if left_out and not kept:
        raise DataError(f"no prompt leaves room for an answer: {named}")
    if left_out:
        say(f"left out: {len(left_out)} of {kept + len(left_out)} prompts, too long: {clean(named)}")


def _misfit(policy: Policy, ids: Sequence[int]) -> str:
    """Why a policy cannot answer a prompt of these ids; "" where it can."""
    context = policy.model.architecture.context
    return "" if 0 < len(ids) < context else f"has {len(ids)} tokens, {policy.name} reads 1 to {context - 1}"


def respond(policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, seed: int, step: int = 0) -> list[Answer]:
    """One answer a prompt; the draws follow from (seed, step) and the prompt's place.

    Raises: ConfigError for a prompt that leaves no room for an answer.
    """
    encoded_prompts(policy, prompts)
    episodes = draw_episodes(policy.model, policy.tokenizer, prompts, sampling, seed, "sample", step)
    texts = response_texts(episodes, policy.tokenizer)
    lengths = episodes.response_mask.sum(1).tolist()
    finished = ended(episodes, policy.tokenizer.eos_id).tolist()
    return [Answer(*answer) for answer in zip(texts, lengths, finished, strict=True)]


def respond_to_all(
    policy: Policy, prompts: Iterator[Prompt], sampling: Sampling, seed: int
) -> Iterator[tuple[Prompt, Answer]]:
    """Prompts with their answers, in order, drawn a batch at a time."""
    step = 0
    while batch := list(islice(prompts, BATCH)):
        yield from zip(batch, respond(policy, batch, sampling, seed, step), strict=True)
        step += 1
