"""Opening models by reference and drawing responses from them, for `sample`, `score` and `chat`.

Loads torch: imported inside commands only, after the thread settings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from engine.errors import ConfigError
from engine.pretrained import open_policy, open_scalar
from engine.records import Prompt
from engine.rollout import draw_episodes, ended, response_texts
from engine.sampling import Sampling
from engine.scoring import RewardModelScorer, Scorer, named_scorer
from engine.tokenizer import Tokenizer
from engine.transformer import LanguageModel

BATCH = 64


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


def policy_at(name: str, directory: Path, device: torch.device, template: str | None) -> Policy:
    """The policy in a directory, ready to sample from. Raises: CheckpointError."""
    model, tokenizer = open_policy(directory, device)
    return Policy(name, model, tokenizer.without_template() if template == "none" else tokenizer)


def reward_model_at(directory: Path, device: torch.device, template: str | None) -> RewardModelScorer:
    """The reward model in a directory. Raises: CheckpointError."""
    model, tokenizer = open_scalar(directory, device)
    return RewardModelScorer(model, tokenizer.without_template() if template == "none" else tokenizer)


def scorer_of(name: str, directory: Path | None, device: torch.device, template: str | None) -> Scorer:
    """The scorer that a person named: a reward model in `directory`, or without one what the name alone says.

    Raises: CheckpointError; ConfigError, FileError for a name that is no scorer.
    """
    return named_scorer(name) if directory is None else reward_model_at(directory, device, template)


def respond(policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, seed: int, step: int = 0) -> list[Answer]:
    """One answer a prompt; the draws follow from (seed, step) and the prompt's place.

    Raises: ConfigError for a prompt that leaves no room for an answer.
    """
    context = policy.model.architecture.context
    for prompt, ids in zip(prompts, policy.tokenizer.encode_prompts(prompts), strict=True):
        if not 0 < len(ids) < context:
            raise ConfigError(
                f"a prompt has {len(ids)} tokens, {policy.name} reads 1 to {context - 1}: {str(prompt)[:60]!r}"
            )
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
