"""The reward model: Bradley-Terry on rankings, all pairs of a prompt as one batch element, one forward a response.

Afterwards gain and bias are set: scores of responses vary by 1, demonstrations average 0. Source: Ouyang et al. 2022,
section 3.5 and appendix C.2 (bias); Ziegler et al. 2019 (gain).
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from engine.algorithms.losses import pairwise_loss
from engine.core.config import RmConfig
from engine.core.events import AlarmRaised, EvalCompleted, Event, StageStarted, StepCompleted
from engine.data.records import Demonstration, Ranking
from engine.model.batching import EpochBatches, pack_groups, shared_prefix_length
from engine.model.heads import ScalarModel
from engine.model.tokenizer import Tokenizer
from engine.train.optimizer import apply_gradients, check_finite, optimisers, schedule
from engine.train.saver import Saver
from engine.train.scoring import RewardModelScorer, score_rows

SCORED_AT_ONCE = 48  # prompts with all their responses: large enough to fill the machine
NORMALISING_RANKINGS = 500
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class RankedRows:
    """One prompt's responses as ids, and the ranks of each (0 is best, equal is a tie)."""

    rows: list[list[int]]
    ranks: tuple[int, ...]

    @property
    def length(self) -> int:
        """Ids that a forward reads: what the rows share once, and the rest of each."""
        shared = shared_prefix_length(self.rows)
        return shared + sum(len(row) - shared for row in self.rows)


def train_rm(
    model: ScalarModel,
    tokenizer: Tokenizer,
    rankings: Sequence[Ranking],
    pretraining: Sequence[Ranking],
    validation: Sequence[Ranking],
    demonstrations: Sequence[Demonstration],
    config: RmConfig,
    *,
    left_out: Mapping[str, int],
    seed: int,
    steps: int,
    saver: Saver,
    should_stop: Callable[[], bool],
    warning: str = "",
) -> Iterator[Event]:
    """Train `model` in place; yields the stage's events.

    `pretraining` pairs are trained on once, before the rankings (Askell et al. 2021, preference model pretraining).
    `demonstrations` set the bias, they are not trained on. `left_out` counts the rankings that are not used, by reason;
    `warning` says before the first step that they are too few, where they are.

    Raises: DivergedError on a loss or gradient that is not finite.
    """
    c, device = config, model.score.weight.device
    optimizers = optimisers(model, c)
    saver.model, saver.tokenizer, saver.optimizers, saver.steps = model, tokenizer, optimizers, steps
    start = saver.resume()
    context, first = model.architecture.context, pretraining_steps(len(pretraining), c)
    lesson = Lesson(ranked_rows(rankings, tokenizer, context), seed, "rm/data", c.batch)
    opening = (
        Lesson(ranked_rows(pretraining, tokenizer, context), seed, "rm/marked", c.pretraining_batch)
        if pretraining
        else lesson
    )
    about = {
        "rankings": len(rankings),
        "pretraining_pairs": len(pretraining),
        "validation": len(validation),
        **left_out,
    }
    yield StageStarted("rm", steps, about)
    if warning and start == 0:
        yield AlarmRaised("rm", 1, "few_passes", warning)
    for step in range(start + 1, steps + 1):
        began = time.perf_counter()
        items = opening.batch(step) if step <= first else lesson.batch(step - first)
        loss, accuracy = batch_loss(model, items, tokenizer.pad_id, device, c.center_coef)
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
            yield from saver.save(step)
            if stop:
                return
    gain = normalise(model, tokenizer, rankings, demonstrations)
    check_finite(torch.tensor(gain), "the spread of the reward model's scores", steps)
    yield from saver.finish(steps, held_out(model, tokenizer, validation, gain))


class Lesson:
    """Rankings in batches, by step."""

    def __init__(self, rows: Sequence[RankedRows], seed: int, stream: str, batch: int):
        self._rows = rows
        self._batches = EpochBatches([item.length for item in rows], seed, stream, rows=batch)

    def batch(self, step: int) -> list[RankedRows]:
        """The rankings of `step`, from 1; steps are asked for in rising order."""
        return [self._rows[i] for i in self._batches[step - 1]]


def pretraining_steps(pairs: int, config: RmConfig) -> int:
    """How many of the first steps train on this many pretraining pairs."""
    return math.ceil(pairs / config.pretraining_batch)


def ranked_rows(rankings: Sequence[Ranking], tokenizer: Tokenizer, context: int) -> list[RankedRows]:
    """The rankings as ids."""
    encoded = []
    for ranking in rankings:
        prompts = [ranking.prompt] * len(ranking.responses)
        encoded.append(RankedRows(score_rows(prompts, ranking.responses, tokenizer, context), ranking.ranks))
    return encoded


def batch_loss(
    model: ScalarModel, items: Sequence[RankedRows], pad: int, device: torch.device, center_coef: float
) -> tuple[Tensor, float]:
    """Mean over prompts of the pairwise loss, and the share of untied pairs ordered as ranked.

    Pairs leave the level of a prompt's scores free; `center_coef` times its square holds it near 0, which PPO's value
    network would otherwise have to learn. Source: Eisenstein et al. 2023, section 2 (on all K responses, not on two).
    """
    scores = row_scores(model, items, pad, device)
    losses, right, pairs, first = [], 0, 0, 0
    for item in items:
        own = scores[first : first + len(item.rows)]
        ranks = torch.tensor(item.ranks, device=device)
        losses.append(pairwise_loss(own, ranks) + center_coef * own.mean().square())
        better = ranks[:, None] < ranks[None, :]
        right += int((better & (own[:, None] > own[None, :])).sum())
        pairs, first = pairs + int(better.sum()), first + len(item.rows)
    return torch.stack(losses).mean(), right / max(1, pairs)


def row_scores(model: ScalarModel, items: Sequence[RankedRows], pad: int, device: torch.device) -> Tensor:
    """Scores (N,) of all rows of all items, one forward a response; what a prompt's rows share passes once."""
    packed = pack_groups([item.rows for item in items], pad, device)
    return model.scores_at(packed.tokens, packed.layout, packed.ends)


@torch.no_grad()
def ranking_scores(model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking]) -> list[list[float]]:
    """Scores of every response of every ranking."""
    items = ranked_rows(rankings, tokenizer, model.architecture.context)
    order = sorted(range(len(items)), key=lambda i: items[i].length)
    scores: list[list[float]] = [[] for _ in items]
    for start in range(0, len(order), SCORED_AT_ONCE):
        chosen = order[start : start + SCORED_AT_ONCE]
        flat = iter(row_scores(model, [items[i] for i in chosen], tokenizer.pad_id, model.score.weight.device).tolist())
        for i in chosen:
            scores[i] = [next(flat) for _ in items[i].rows]
    return scores


def accuracy_of(model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking]) -> float:
    """Share of untied pairs that the model orders as the labelers did; an equal score is half right."""
    return share_right(scored_pairs(model, tokenizer, rankings))


def scored_pairs(model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking]) -> list[tuple[float, float]]:
    """The scores of every untied pair, the preferred response's first."""
    scored = zip(ranking_scores(model, tokenizer, rankings), rankings, strict=True)
    return [(own[a], own[b]) for own, ranking in scored for a, b in ranking.pairs()]


def longer_baseline(rankings: Sequence[Ranking]) -> float:
    """The accuracy of preferring the longer response, in characters: what a reward model must beat."""
    return share_right([(len(r.responses[a]), len(r.responses[b])) for r in rankings for a, b in r.pairs()])


def share_right(pairs: Sequence[tuple[float, float]]) -> float:
    """Share of (chosen, rejected) pairs whose first number is larger; equal counts half."""
    if not pairs:
        return float("nan")
    return sum(1.0 if chosen > rejected else 0.5 * (chosen == rejected) for chosen, rejected in pairs) / len(pairs)


def held_out(model: ScalarModel, tokenizer: Tokenizer, validation: Sequence[Ranking], gain: float) -> dict[str, float]:
    """Accuracy on held-out rankings beside the longer-wins baseline, loss and calibration at `gain` logits a score."""
    pairs = scored_pairs(model, tokenizer, validation)
    if not pairs:
        return {"rm/gain": gain}
    margins = [gain * (chosen - rejected) for chosen, rejected in pairs]
    return {
        "rm/validation_accuracy": share_right(pairs),
        "rm/longer_baseline": longer_baseline(validation),
        "rm/validation_loss": float(softplus(-torch.tensor(margins)).mean()),
        "rm/calibration_error": calibration_error(margins),
        "rm/gain": gain,
    }


def calibration_error(margins: Sequence[float]) -> float:
    """How far predicted chances are from what happened, 0 to 1; `margins` are logits of preferred less rejected.

    A pair's predicted chance is that of the response with the higher score, so it lies in .5 to 1; in each tenth of
    that range the mean is compared with the share that was right. Source: Guo et al. 2017, expected calibration error.
    """
    bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for margin in margins:
        chance = 1 / (1 + math.exp(-abs(margin)))
        right = 0.5 if margin == 0 else float(margin > 0)
        bins[min(CALIBRATION_BINS - 1, int((chance - 0.5) * 2 * CALIBRATION_BINS))].append((chance, right))
    gaps = [abs(sum(chance - right for chance, right in own)) for own in bins.values()]
    return sum(gaps) / len(margins)


@torch.no_grad()
def normalise(
    model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking], demonstrations: Sequence[Demonstration]
) -> float:
    """Fold the gain into the head so that the first rankings' responses vary by 1, then set the bias by demonstrations.

    Returns the gain: the logits that a score of 1 now stands for.
    """
    some = rankings[:NORMALISING_RANKINGS]
    scores = torch.tensor([score for own in ranking_scores(model, tokenizer, some) for score in own])
    gain = float(scores.std(correction=0).clamp(min=1e-6))
    model.score.weight.div_(gain)
    model.bias.zero_()
    if demonstrations:
        scorer = RewardModelScorer(model, tokenizer)
        own = scorer.score([row.prompt for row in demonstrations], [row.response for row in demonstrations])
        model.bias.fill_(sum(own) / len(own))
    return gain
