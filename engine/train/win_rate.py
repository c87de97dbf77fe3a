"""Comparing policies: win rate with its Wilson interval, KL, length, diversity; a reward model's accuracy and ceiling.

Functions here take models and text and return plain numbers; the evaluation of a run is in evaluation.py.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from torch import Tensor

from engine.algorithms.kl import sequence_kl
from engine.core.intervals import wilson
from engine.data.records import Prompt, Ranking
from engine.model.sampling import Sampling
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.pocket.judge import JudgeScores
from engine.pocket.labelers import accuracy_ceiling
from engine.train.rm import share_right
from engine.train.rollout import Episodes, draw_episodes, ended, response_logprobs, response_texts, without_gradient
from engine.train.scoring import Scorer

COMPONENTS = ("utility", "helpful", "honest", "harmless", "courteous", "concise")


@dataclass(frozen=True)
class PromptSet:
    """Prompts to answer, how responses to them are sampled, the seed of the draws, and how many are drawn at once."""

    prompts: Sequence[Prompt]
    sampling: Sampling
    seed: int
    batch: int = 64


@dataclass(frozen=True)
class Answers:
    """One response per prompt: text, tokens through EOS, whether it ended, and KL to a reference, if measured."""

    texts: list[str]
    tokens: list[int]
    finished: list[bool]
    kl_nats: list[float]

    @property
    def length_mean(self) -> float:
        """Mean tokens per response."""
        return fmean(self.tokens)


@dataclass(frozen=True)
class WinRate:
    """Wins, ties and losses of one policy against another; the rate counts a tie as half a win."""

    wins: int
    ties: int
    losses: int

    @property
    def prompts(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def rate(self) -> float:
        return (self.wins + 0.5 * self.ties) / self.prompts

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson score interval of the rate."""
        return wilson(self.rate, self.prompts)

    def as_row(self) -> dict[str, Any]:
        """The win-rate keys of every JSON result."""
        low, high = self.interval  # Wilson's stays inside 0 to 1, unlike rate +- 1.96 standard errors
        return {
            "prompts": self.prompts,
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
            "win_rate": self.rate,
            "win_rate_low": low,
            "win_rate_high": high,
        }


def answer(
    policy: LanguageModel, tokenizer: Tokenizer, asked: PromptSet, stream: str, reference: LanguageModel | None = None
) -> Answers:
    """One response per prompt, drawn from `stream`, with the KL of each to `reference` if one is given (same
    tokenizer)."""
    answers = Answers([], [], [], [])
    for start in range(0, len(asked.prompts), asked.batch):
        block = asked.prompts[start : start + asked.batch]
        # The block's first index is the step of its random stream: each block draws other numbers.
        episodes = draw_episodes(policy, tokenizer, block, asked.sampling, asked.seed, stream, start)
        answers.texts.extend(response_texts(episodes, tokenizer))
        answers.tokens.extend(episodes.response_mask.sum(1).tolist())
        answers.finished.extend(ended(episodes, tokenizer.eos_id).tolist())
        if reference is not None:
            kl = episode_kl(policy, reference, episodes, asked.sampling.temperature or 1.0)
            answers.kl_nats.extend(kl.tolist())
    return answers


def episode_kl(policy: LanguageModel, reference: LanguageModel, episodes: Episodes, temperature: float) -> Tensor:
    """KL (B,) of `policy` to `reference` in nats per response: the sum of log-ratios through EOS."""
    # k1: the mean of log pi - log pi_ref over the policy's own samples is the KL divergence. The value of one response
    # can be negative, the expectation cannot.
    own = without_gradient(lambda block: response_logprobs(policy, block, temperature), episodes)
    theirs = without_gradient(lambda block: response_logprobs(reference, block, temperature), episodes)
    return sequence_kl(own, theirs, episodes.response_mask)


def win_rate(scores: Sequence[float], against: Sequence[float], tie_margin: float) -> WinRate:
    """How often `scores` beat those `against`, pair by pair; a difference up to `tie_margin` is a tie."""
    # Both answered the same prompts, so each prompt is a match of its own, and its difficulty cancels.
    verdicts = Counter(verdict(own, other, tie_margin) for own, other in zip(scores, against, strict=True))
    return WinRate(verdicts["win"], verdicts["tie"], verdicts["loss"])


def verdict(own: float, other: float, tie_margin: float) -> str:
    """ "win", "tie" or "loss" of the first score against the second."""
    if abs(own - other) <= tie_margin:
        return "tie"
    return "win" if own > other else "loss"


def distinct_2(texts: Sequence[str]) -> float:
    """Different word 2-grams of all `texts` together, as a share of all their 2-grams. Source: Li et al. 2016."""
    # A policy that collapses onto a few phrases repeats its word pairs; one that answers freely does not.
    pairs = Counter(pair for text in texts for pair in zip(text.split(), text.split()[1:], strict=False))
    return len(pairs) / max(1, pairs.total())


def best_of(scorer: Scorer, prompts: Sequence[Prompt], drawn: Sequence[Answers]) -> list[int]:
    """For each prompt, the index of the answer among `drawn` with the highest score."""
    # argmax over k of r(x, y_k), for each prompt x; the first of equal scores.
    scores = [scorer.score(prompts, answers.texts) for answers in drawn]
    return [max(range(len(drawn)), key=lambda k: scores[k][i]) for i in range(len(prompts))]


def component_means(name: str, judged: Sequence[JudgeScores]) -> dict[str, float]:
    """Means of utility, every component and correctness (of answerable prompts), keyed like `helpful_sft`."""
    means = {f"{part}_{name}": fmean(getattr(one, part) for one in judged) for part in COMPONENTS}
    right = [one.correct for one in judged if one.correct is not None]
    return means | {f"correct_{name}": fmean(right) if right else math.nan}


def group_means(groups: Sequence[str], judged: Sequence[JudgeScores]) -> dict[str, float]:
    """Mean utility by group of requests."""
    by_group: dict[str, list[float]] = defaultdict(list)
    for group, one in zip(groups, judged, strict=True):
        by_group[group].append(one.utility)
    return {group: fmean(utilities) for group, utilities in by_group.items()}


def ranking_ceiling(
    utilities: Sequence[Sequence[float]], rankings: Sequence[Ranking], scale: float, tie_margin: float
) -> float:
    """The accuracy that the labelers' own utilities could reach on the untied pairs of these rankings."""
    pairs = [own[a] - own[b] for own, ranking in zip(utilities, rankings, strict=True) for a, b in ranking.pairs()]
    return accuracy_ceiling(pairs, scale, tie_margin) if pairs else math.nan


def pair_accuracy(scorer: Scorer, pairs: Sequence[tuple[str, str, str]]) -> float:
    """Share of (prompt, right, wrong) that the scorer orders rightly; equal scores count half."""
    prompts, right, wrong = zip(*pairs, strict=True)
    return share_right(list(zip(scorer.score(prompts, right), scorer.score(prompts, wrong), strict=True)))
