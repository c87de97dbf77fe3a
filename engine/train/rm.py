"""The reward model: Bradley-Terry on rankings, all pairs of a prompt as one batch element, one forward per response.

Afterwards gain and bias are set: scores of responses vary by 1, demonstrations average 0. Source: Ouyang et al. 2022,
section 3.5 and appendix C.2 (bias); Ziegler et al. 2019 (gain).
"""

import math
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from engine.algorithms.losses import pairwise_loss
from engine.core.config import RmConfig
from engine.core.events import AlertRaised, EvalCompleted, Event, PhaseProgress, StageStarted, StepCompleted
from engine.data.records import Demonstration, Ranking, TrainingRows
from engine.model.batching import EpochBatches, pack_groups, shared_prefix_length
from engine.model.heads import ScalarModel
from engine.model.tokenizer import Tokenizer
from engine.train.optimizer import check_finite, descend, optimizers_for
from engine.train.saver import StageLoop, Trained
from engine.train.scoring import RewardModelScorer, score_rows

SCORED_AT_ONCE = 48  # prompts with all their responses: large enough to fill the machine
NORMALIZING_RANKINGS = 500
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class RankedRows:
    """One prompt's responses as ids, and the ranks of each (0 is best, equal is a tie)."""

    rows: list[list[int]]
    ranks: tuple[int, ...]

    @property
    def length(self) -> int:
        """Ids that a forward reads: the shared prefix once, and the rest of each row."""
        shared = shared_prefix_length(self.rows)
        return shared + sum(len(row) - shared for row in self.rows)


@dataclass(frozen=True)
class RewardData:
    """What a reward model learns from: rankings, pairs to pretrain it on, and demonstrations that set its zero."""

    rankings: TrainingRows[Ranking]
    pretraining: Sequence[Ranking]
    demonstrations: Sequence[Demonstration]


def train_rm(
    model: ScalarModel, tokenizer: Tokenizer, data: RewardData, config: RmConfig, loop: StageLoop, warning: str = ""
) -> Iterator[Event]:
    """Trains `model` in place; yields the stage's events. A `warning` that data are few comes before the first step.

    Pretraining pairs are trained on once, before the rankings (Askell et al. 2021, preference model pretraining);
    demonstrations set the bias and are not trained on.

    Raises: DivergedError on a loss or gradient that is not finite.
    """
    c, device, optimizers, rankings = config, model.score.weight.device, optimizers_for(model, config), data.rankings
    remaining = loop.resume(Trained(model, tokenizer, optimizers), {})
    first = pretraining_steps(len(data.pretraining), c)
    batches = RankedBatches(model, tokenizer, rankings.train, loop.seed, "rm/data", c.batch)
    if data.pretraining:
        pairs = RankedBatches(model, tokenizer, data.pretraining, loop.seed, "rm/marked", c.pretraining_batch)
    counts = {"rankings": len(rankings.train), "pretraining_pairs": len(data.pretraining)}
    yield StageStarted("rm", loop.steps, counts | {"validation": len(rankings.validation), **rankings.left_out})
    if warning and remaining.start == 1:
        yield AlertRaised("rm", 1, "few_epochs", warning)
    for step in remaining:
        began = time.perf_counter()
        # Preference model pretraining: pairs that are cheap to make teach what a good answer is; then the few labels
        # teach what these labelers prefer.
        items = pairs.at(step) if step <= first else batches.at(step - first)
        loss, accuracy = batch_loss(model, items, tokenizer.pad_id, device, c.center_coef)
        taken = descend(loss, "the reward model's loss", model, optimizers, c, step, loop.steps)
        own = taken | {"accuracy": accuracy, "step_s": time.perf_counter() - began}
        yield StepCompleted("rm", step, {f"rm/{name}": value for name, value in own.items()})
        if rankings.validation and (step % c.eval_every == 0 or step == loop.steps):
            held_out = accuracy_of(model, tokenizer, rankings.validation)
            yield EvalCompleted("rm", step, {"rm/validation_accuracy": held_out})
        if (yield from loop.end_step(step)):
            return
    metrics = yield from normalize_and_validate(model, tokenizer, data, loop)
    if metrics is None:
        yield from loop.saver.save(loop.steps)  # a later command resumes here, before the normalization
    else:
        yield from loop.saver.finish(loop.steps, metrics)


def normalize_and_validate(
    model: ScalarModel, tokenizer: Tokenizer, data: RewardData, loop: StageLoop
) -> Generator[Event, None, dict[str, float] | None]:
    """Sets gain and bias, then measures on held-out rankings; yields its progress and returns the final metrics.

    Where it is asked to stop, it leaves the model as it was and returns None.
    """
    # The spread is measured on rankings that were trained on, so that held-out ones stay for the accuracy alone.
    some, validation = data.rankings.train[:NORMALIZING_RANKINGS], data.rankings.validation
    total = math.ceil(len(some) / SCORED_AT_ONCE) + math.ceil(len(validation) / SCORED_AT_ONCE)
    scores: list[list[float]] = [[] for _ in some]
    held_out: list[list[float]] = [[] for _ in validation]
    weight, bias, gain, done = model.score.weight.detach().clone(), model.bias.clone(), math.nan, 0
    for phase, rankings, found in (("normalization", some, scores), ("validation", validation, held_out)):
        if phase == "validation":
            gain = normalize(model, tokenizer, scores, data.demonstrations)
            check_finite(torch.tensor(gain), "the spread of the reward model's scores", loop.steps)
        for _ in score_blocks(model, tokenizer, rankings, found):
            done += 1
            yield PhaseProgress("rm", phase, done, total)
            if loop.should_stop():
                model.score.weight.data.copy_(weight)
                model.bias.copy_(bias)
                return None
    return ranking_metrics(held_out, validation, gain)


class RankedBatches:
    """Rankings as ids, in batches by step, reshuffled each epoch."""

    def __init__(
        self, model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking], seed: int, stream: str, batch: int
    ):
        self._rows = ranked_rows(rankings, tokenizer, model.architecture.context)
        self._batches = EpochBatches([item.length for item in self._rows], seed, stream, rows=batch)

    def at(self, step: int) -> list[RankedRows]:
        """The batch of `step`, counted from 1."""
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
    """The mean over prompts of the pairwise loss, and the share of untied pairs ordered as ranked.

    Pairs leave the level of a prompt's scores free; `center_coef` times its square keeps it near 0, or PPO's value
    network would have to learn it. Source: Eisenstein et al. 2023, section 2 (on all K responses instead of two).
    """
    scores = row_scores(model, items, pad, device)
    losses, right, pairs, first = [], 0, 0, 0
    # All pairs of a prompt are one element (Ouyang et al. 2022, section 3.5). As separate elements, each response would
    # take part in K - 1 updates an epoch, and the model would overfit within the first.
    for item in items:
        own = scores[first : first + len(item.rows)]
        ranks = torch.tensor(item.ranks, device=device)
        # Bradley-Terry: P(w beats l) = sigmoid(r_w - r_l). The loss is -log of it, averaged over the up to C(K,2) pairs
        # that are not ties (Ouyang et al. 2022, eq. 1).
        losses.append(pairwise_loss(own, ranks) + center_coef * own.mean().square())
        better = ranks[:, None] < ranks[None, :]  # (K,K), True where row beats column
        right += int((better & (own[:, None] > own[None, :])).sum())
        pairs, first = pairs + int(better.sum()), first + len(item.rows)
    return torch.stack(losses).mean(), right / max(1, pairs)


def row_scores(model: ScalarModel, items: Sequence[RankedRows], pad: int, device: torch.device) -> Tensor:
    """Scores (N,) of all rows of all items; the shared prefix of a prompt's rows is computed once."""
    # The score is read at EOS, the only position that has seen the whole response.
    packed = pack_groups([item.rows for item in items], pad, device)
    return model.scores_at(packed.tokens, packed.layout, packed.ends)


def ranking_scores(model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking]) -> list[list[float]]:
    """Scores of every response of every ranking."""
    scores: list[list[float]] = [[] for _ in rankings]
    for _ in score_blocks(model, tokenizer, rankings, scores):
        pass
    return scores


@torch.no_grad()
def score_blocks(
    model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking], scores: list[list[float]]
) -> Iterator[None]:
    """Fills `scores` with those of every response, SCORED_AT_ONCE rankings of like length between two yields."""
    items = ranked_rows(rankings, tokenizer, model.architecture.context)
    order = sorted(range(len(items)), key=lambda i: items[i].length)
    for start in range(0, len(order), SCORED_AT_ONCE):
        chosen = order[start : start + SCORED_AT_ONCE]
        flat = iter(row_scores(model, [items[i] for i in chosen], tokenizer.pad_id, model.score.weight.device).tolist())
        for i in chosen:
            scores[i] = [next(flat) for _ in items[i].rows]
        yield


def accuracy_of(model: ScalarModel, tokenizer: Tokenizer, rankings: Sequence[Ranking]) -> float:
    """Share of untied pairs that the model orders as the labelers did; an equal score counts half."""
    return share_right(scored_pairs(ranking_scores(model, tokenizer, rankings), rankings))


def scored_pairs(scores: Sequence[Sequence[float]], rankings: Sequence[Ranking]) -> list[tuple[float, float]]:
    """The scores of every untied pair, the preferred response's first."""
    return [(own[a], own[b]) for own, ranking in zip(scores, rankings, strict=True) for a, b in ranking.pairs()]


def longer_baseline(rankings: Sequence[Ranking]) -> float:
    """The accuracy of always preferring the longer response, in characters, which a reward model must beat."""
    return share_right([(len(r.responses[a]), len(r.responses[b])) for r in rankings for a, b in r.pairs()])


def share_right(pairs: Sequence[tuple[float, float]]) -> float:
    """Share of (chosen, rejected) pairs whose first number is larger; equal counts half."""
    if not pairs:
        return float("nan")
    return sum(1.0 if chosen > rejected else 0.5 * (chosen == rejected) for chosen, rejected in pairs) / len(pairs)


def ranking_metrics(scores: Sequence[Sequence[float]], validation: Sequence[Ranking], gain: float) -> dict[str, float]:
    """Held-out accuracy and its length baseline, loss and calibration at `gain` logits per unit of score."""
    # Scores were divided by the gain. Times the gain they are logits again: P(chosen beats rejected) = sigmoid(margin).
    pairs = scored_pairs(scores, validation)
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
    """How far predicted probabilities are from the outcomes, 0 to 1; `margins` are logits, preferred minus rejected.

    A pair's predicted probability is that of the response with the higher score, so it is between .5 and 1; in each
    tenth of that range the mean is compared with the share that was right. Source: Guo et al. 2017, expected
    calibration error.
    """
    bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for margin in margins:
        chance = 1 / (1 + math.exp(-abs(margin)))  # what the model believes of its own choice, .5 to 1
        right = 0.5 if margin == 0 else float(margin > 0)
        bins[min(CALIBRATION_BINS - 1, int((chance - 0.5) * 2 * CALIBRATION_BINS))].append((chance, right))
    # |mean probability - share right| in each bin, weighted by its number of pairs.
    gaps = [abs(sum(chance - right for chance, right in own)) for own in bins.values()]
    return sum(gaps) / len(margins)


@torch.no_grad()
def normalize(
    model: ScalarModel,
    tokenizer: Tokenizer,
    scores: Sequence[Sequence[float]],
    demonstrations: Sequence[Demonstration],
) -> float:
    """Folds the gain into the head so that `scores`, the model's own, vary by 1, then sets the bias by demonstrations.

    Returns the gain: the logits per unit of score.
    """
    # The pairwise loss only sees differences, so training leaves the scale and zero of the scores to chance. PPO adds
    # them to a KL penalty in nats: with variance 1, one kl_coef means the same for every reward model.
    gain = float(torch.tensor([score for own in scores for score in own]).std(correction=0).clamp(min=1e-6))
    model.score.weight.div_(gain)
    model.bias.zero_()
    if demonstrations:
        scorer = RewardModelScorer(model, tokenizer)
        own = scorer.score([row.prompt for row in demonstrations], [row.response for row in demonstrations])
        model.bias.fill_(sum(own) / len(own))  # demonstrations average 0 (Ouyang et al. 2022, C.2)
    return gain
