"""The reward model: Bradley-Terry on rankings, all pairs of a prompt as one batch element, one forward a response.

Afterwards gain and bias are set: scores of responses vary by 1, demonstrations average 0. Source: Ouyang et al. 2022,
section 3.5 and appendix C.2 (bias); Ziegler et al. 2019 (gain).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.batching import EpochBatches, right_pad
from engine.config import RmConfig
from engine.events import EvalCompleted, Event, StageStarted, StepCompleted
from engine.heads import ScalarModel
from engine.losses import pairwise_loss
from engine.optimiser import apply_gradients, check_finite, optimisers, schedule
from engine.records import Demonstration, Ranking
from engine.saving import Saver
from engine.scoring import RewardModelScorer, score_rows
from engine.tokenizer import Tokenizer


@dataclass(frozen=True)
class RankedRows:
    """One prompt's responses as ids, and the ranks of each (0 is best, equal is a tie)."""

    rows: list[list[int]]
    ranks: tuple[int, ...]


def train_rm(
    model: ScalarModel,
    tokenizer: Tokenizer,
    rankings: Sequence[Ranking],
    marked: Sequence[Ranking],
    validation: Sequence[Ranking],
    demonstrations: Sequence[Demonstration],
    config: RmConfig,
    *,
    seed: int,
    steps: int,
    saver: Saver,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """Train `model` in place; yields the stage's events.

    `marked` pairs are learnt once before the rankings (Askell et al. 2021, preference model pretraining).
    `demonstrations` set the bias, they are not trained on.

    Raises: DivergedError on a loss or gradient that is not finite.
    """
    c, device = config, model.score.weight.device
    optimizers = optimisers(model, c)
    saver.model, saver.tokenizer, saver.optimizers, saver.steps = model, tokenizer, optimizers, steps
    start = saver.resume()
    context, first = model.architecture.context, marked_steps(len(marked), c)
    lesson = Lesson(ranked_rows(rankings, tokenizer, context), seed, "rm/data", c.batch)
    opening = Lesson(ranked_rows(marked, tokenizer, context), seed, "rm/marked", c.marked_batch) if marked else lesson
    about = {"rankings": len(rankings), "marked_pairs": len(marked), "validation": len(validation)}
    yield StageStarted("rm", steps, about)
    for step in range(start + 1, steps + 1):
        began = time.perf_counter()
        items = opening.batch(step) if step <= first else lesson.batch(step - first)
        loss, accuracy = batch_loss(model, items, tokenizer.pad_id, device, c.centre_coef)
        check_finite(loss, "the reward model's loss", step)
        loss.backward()
        share = schedule(step, steps, c.warmup_steps, c.min_lr_ratio)
        norm = apply_gradients(optimizers, model.parameters(), share, c.max_grad_norm, step)
        seconds = time.perf_counter() - began
        metrics = {"rm/loss": loss.item(), "rm/accuracy": accuracy, "rm/lr": c.lr * share, "rm/grad_norm": norm}
        yield StepCompleted("rm", step, metrics | {"rm/step_s": seconds})
        if validation and (step % c.eval_every == 0 or step == steps):
            yield EvalCompleted("rm", step, {"rm/validation_accuracy": accuracy_of(model, tokenizer, validation)})
        stop = should_stop()
        if step < steps and (stop or saver.due(step)):
            yield saver.save(step)
            if stop:
                return
    normalise(model, tokenizer, rankings, demonstrations)
    yield from saver.finish(steps, held_out(model, tokenizer, validation))


class Lesson:
    """Rankings in batches, by step."""

    def __init__(self, rows: Sequence[RankedRows], seed: int, stream: str, batch: int):
        self._rows = rows
        self._batches = EpochBatches([max(map(len, item.rows)) for item in rows], seed, stream, rows=batch)

    def batch(self, step: int) -> list[RankedRows]:
        """The rankings of `step`, from 1; steps are asked for in rising order."""
        return [self._rows[i] for i in self._batches[step - 1]]


def marked_steps(marked: int, config: RmConfig) -> int:
    """How many of the first steps go to this many marked pairs."""
    return math.ceil(marked / config.marked_batch)


def ranked_rows(rankings: Sequence[Ranking], tokenizer: Tokenizer, context: int) -> list[RankedRows]:
    """The rankings as ids."""
    encoded = []
    for ranking in rankings:
        prompts = [ranking.prompt] * len(ranking.responses)
        encoded.append(RankedRows(score_rows(prompts, ranking.responses, tokenizer, context), ranking.ranks))
    return encoded


def batch_loss(
    model: ScalarModel, items: Sequence[RankedRows], pad: int, device: torch.device, centre_coef: float
) -> tuple[Tensor, float]:
    """Mean over prompts of the pairwise loss, and the share of untied pairs ordered as ranked.

    Pairs leave the level of a prompt's scores free; `centre_coef` times its square holds it near 0, which PPO's value
    network would otherwise have to learn. Source: Eisenstein et al. 2023, section 2 (on all K responses, not on two).
    """
    tokens, lengths = right_pad([row for item in items for row in item.rows], pad, device)
    scores = model.scores(tokens, lengths)
    losses, right, pairs, first = [], 0, 0, 0
    for item in items:
        own = scores[first : first + len(item.rows)]
        ranks = torch.tensor(item.ranks, device=device)
        losses.append(pairwise_loss(own, ranks) + centre_coef * own.mean().square())
        better = ranks[:, None] < ranks[None, :]
        right += int((better & (own[:, None] > own[None, :])).sum())
        pairs, first = pairs + int(better.sum()), first + len(item.rows)
    return torch.stack(losses).mean(), right / max(1, pairs)


def ranking_scores(model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking]) -> list[list[float]]:
    """Scores of every response of every ranking."""
    prompts = [ranking.prompt for ranking in rankings for _ in ranking.responses]
    flat = iter(RewardModelScorer(model, tokenizer).score(prompts, [r for x in rankings for r in x.responses]))
    return [[next(flat) for _ in ranking.responses] for ranking in rankings]


def accuracy_of(model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking]) -> float:
    """Share of untied pairs that the model orders as the labelers did; an equal score is half right."""
    scored = zip(ranking_scores(model, tokenizer, rankings), rankings, strict=True)
    return share_right([(own[a], own[b]) for own, ranking in scored for a, b in ranking.pairs()])


def longer_baseline(rankings: Sequence[Ranking]) -> float:
    """The accuracy of preferring the longer response, in characters: what a reward model must beat."""
    return share_right([(len(r.responses[a]), len(r.responses[b])) for r in rankings for a, b in r.pairs()])


def share_right(pairs: Sequence[tuple[float, float]]) -> float:
    """Share of (chosen, rejected) pairs whose first number is larger; equal counts half."""
    if not pairs:
        return float("nan")
    return sum(1.0 if chosen > rejected else 0.5 * (chosen == rejected) for chosen, rejected in pairs) / len(pairs)


def held_out(model: ScalarModel, tokenizer: Tokenizer, validation: Sequence[Ranking]) -> dict[str, float]:
    """Accuracy on held-out rankings beside the longer-wins baseline."""
    if not validation:
        return {}
    return {
        "rm/validation_accuracy": accuracy_of(model, tokenizer, validation),
        "rm/longer_baseline": longer_baseline(validation),
    }


@torch.no_grad()
def normalise(
    model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking], demonstrations: Sequence[Demonstration]
) -> None:
    """Fold the gain into the head so that ranked responses vary by 1, then set the bias by the demonstrations."""
    scores = torch.tensor([score for own in ranking_scores(model, tokenizer, rankings) for score in own])
    model.score.weight.div_(scores.std(correction=0).clamp(min=1e-6))
    model.bias.zero_()
    if demonstrations:
        scorer = RewardModelScorer(model, tokenizer)
        own = scorer.score([row.prompt for row in demonstrations], [row.response for row in demonstrations])
        model.bias.fill_(sum(own) / len(own))
