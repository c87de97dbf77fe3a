"""PPO on the tiny models of tiny.py: a whole training, and one rollout ready for an update."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.algorithms.advantages import gae, token_rewards
from engine.algorithms.masked import whiten
from engine.core.config import PpoConfig
from engine.core.events import Event
from engine.model.heads import ScalarModel
from engine.model.sampling import Sampling
from engine.model.transformer import LanguageModel
from engine.train.optimizer import optimizers_for
from engine.train.ppo import Learners, shaped_scores, train_ppo
from engine.train.rollout import Actors, Rollout, draw_episodes, measure
from tests.support.tiny import (
    PROMPTS,
    WordScorer,
    language_model,
    loop,
    metrics_of,
    never,
    scalar_model,
    word_tokenizer,
)

CONFIG = PpoConfig(
    lr=3e-3, value_lr=3e-3, rollout_batch=6, minibatch=6, microbatch=6, epochs=1, value_warmup_steps=0, max_new_tokens=8
)


def config(**changes: Any) -> PpoConfig:
    """CONFIG with changes, validated."""
    return PpoConfig(**{**CONFIG.model_dump(), **changes})


@dataclass
class Run:
    """The result of a training."""

    events: list[Event]
    policy: LanguageModel
    value: ScalarModel

    @property
    def metrics(self) -> list[dict[str, float]]:
        return metrics_of(self.events)


def train(
    c: PpoConfig,
    directory: Path,
    *,
    steps: int = 2,
    reference: LanguageModel | None = None,
    scorer: Any = None,
    judge: Any = None,
    stop: Callable[[], bool] = never,
    every: int = 1000,
) -> Run:
    policy, value = language_model(), scalar_model()
    actors = Actors(policy, reference or language_model(), value, scorer or WordScorer(), word_tokenizer(), judge)
    events = train_ppo(actors, PROMPTS, c, loop(directory, "ppo", steps, 5, every=every, should_stop=stop), {})
    return Run(list(events), policy, value)


def collected(c: PpoConfig = CONFIG, seed: int = 0) -> tuple[Learners, Rollout, Tensor, Tensor]:
    """Fresh learners and a rollout of the policy, with whitened advantages and returns."""
    policy, value = language_model(), scalar_model()
    sampling = Sampling(c.temperature, max_new_tokens=c.max_new_tokens)
    episodes = draw_episodes(policy, word_tokenizer(), PROMPTS, sampling, seed, "test")
    actors = Actors(policy, language_model(), value, WordScorer(), word_tokenizer())
    rollout = measure(actors, PROMPTS, episodes, c.temperature)
    rewards = token_rewards(shaped_scores(rollout, c), rollout.logprobs, rollout.ref_logprobs, rollout.mask, c.kl_coef)
    advantages, returns = gae(rewards, rollout.values, rollout.mask, c.gamma, c.lam)
    learners = Learners(policy, value, optimizers_for(policy, c), optimizers_for(value, c, c.value_lr))
    return learners, rollout, whiten(advantages, rollout.mask), returns


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def changed(before: dict[str, Tensor], model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if not torch.equal(before[name], parameter)}
