"""PPO through the real model: what the first update must show, what may not move, and how a training ends."""

import copy
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from engine.algorithms.advantages import token_rewards
from engine.algorithms.kl import AdaptiveKL, FixedKL
from engine.core.config import PpoConfig
from engine.core.errors import DivergedError
from engine.core.events import (
    AlertRaised,
    CheckpointSaved,
    SamplesDrawn,
    StageFinished,
    StageStarted,
    StepCompleted,
    without_clock,
)
from engine.train import ppo
from engine.train.ppo import accumulate, kl_controller, prompts_at, shaped_scores, train_ppo, update
from engine.train.rollout import Actors, Rollout
from tests.support.tiny import (
    PROMPTS,
    WordScorer,
    language_model,
    loop,
    scalar_model,
    stop_after,
    word_tokenizer,
)
from tests.support.tiny_ppo import CONFIG, changed, collected, config, train, weights

LAYOUT_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-6
TOLERANCE = 1e-6
SUM_TOLERANCE = 1e-4
"""For a mean over float32 sums of a few dozen terms, taken in another order."""


# the first update


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_first_minibatch_has_ratio_1_exactly(temperature: float) -> None:
    """Where both passes share a layout. At another temperature in one of the two passes the ratio would not be 1."""
    c = config(temperature=temperature)
    metrics = update(*collected(c), c, 1, loop(Path(), "ppo", 1, 0))
    assert metrics["ppo/ratio"] == metrics["ppo/ratio_max"] == 1.0
    assert metrics["ppo/approx_kl"] == metrics["ppo/clip_fraction"] == metrics["ppo/value_clip_fraction"] == 0.0


def test_the_first_ratio_is_1_within_tolerance_in_other_layouts() -> None:
    c = config(microbatch=1)
    metrics = update(*collected(c), c, 1, loop(Path(), "ppo", 1, 0))
    assert metrics["ppo/ratio"] == pytest.approx(1, abs=LAYOUT_TOLERANCE)
    assert metrics["ppo/ratio_max"] == pytest.approx(1, abs=LAYOUT_TOLERANCE)
    assert metrics["ppo/approx_kl"] < LAYOUT_TOLERANCE**2


def test_kl_is_exactly_0_before_the_first_update_and_not_after(tmp_path: Path) -> None:
    first, second = train(CONFIG, tmp_path).metrics
    assert first["ppo/kl_nats"] == 0.0 and first["ppo/ratio"] == 1.0
    assert second["ppo/kl_nats"] != 0.0 and second["ppo/ratio"] == 1.0


def test_a_second_epoch_finds_another_ratio(tmp_path: Path) -> None:
    c = config(epochs=2)
    assert train(c, tmp_path, steps=1).metrics[0]["ppo/ratio_max"] > 1 + LAYOUT_TOLERANCE


def gradients(c: PpoConfig) -> tuple[dict[str, Tensor], Tensor]:
    learners, rollout, advantages, returns = collected(c)
    sums = accumulate(learners, rollout, advantages, returns, torch.arange(len(PROMPTS)), c, frozen=False)
    both = [*learners.policy.named_parameters(prefix="policy"), *learners.value.named_parameters(prefix="value")]
    return {name: p.grad for name, p in both if p.grad is not None}, sums


@pytest.mark.parametrize("microbatch", [1, 2, 3])
def test_microbatches_change_neither_gradient_nor_metrics(microbatch: int) -> None:
    whole, sums = gradients(CONFIG)
    split, split_sums = gradients(config(microbatch=microbatch))
    assert whole.keys() == split.keys() and all(gradient.any() for gradient in whole.values())
    for name, gradient in whole.items():
        torch.testing.assert_close(split[name], gradient, rtol=1e-4, atol=GRADIENT_TOLERANCE)
    torch.testing.assert_close(split_sums, sums, rtol=1e-4, atol=GRADIENT_TOLERANCE)


def test_losses_are_means_over_the_minibatchs_tokens() -> None:
    learners, rollout, advantages, returns = collected()
    index = torch.tensor([1, 4])
    sums = accumulate(learners, rollout, advantages, returns, index, CONFIG, frozen=False)
    mask = rollout.mask[index]
    assert sums[0].item() == pytest.approx(-advantages[index][mask].mean().item(), abs=LAYOUT_TOLERANCE)
    errors = (rollout.values[index] - returns[index])[mask]
    assert sums[1].item() == pytest.approx(0.5 * errors.square().mean().item(), abs=SUM_TOLERANCE)


def test_a_likelier_word_is_scored_and_becomes_likelier(tmp_path: Path) -> None:
    scorer = WordScorer("yes")
    c = config(lr=2e-2, value_lr=2e-2, rollout_batch=24, minibatch=24, microbatch=24, kl_coef=0.0, epochs=2)
    metrics = train(c, tmp_path, steps=20, scorer=scorer).metrics
    early, late = (sum(m["ppo/score"] for m in part) / 4 for part in (metrics[:4], metrics[-4:]))
    assert late > early + 1, (early, late)


# scores and rewards


def test_the_score_lands_on_the_last_real_token() -> None:
    _, rollout, _, _ = collected()
    scores = torch.arange(1.0, 1 + len(PROMPTS))
    rewards = token_rewards(scores, rollout.logprobs, rollout.ref_logprobs, rollout.mask, 0.5)
    rows, columns = rewards.nonzero().T
    assert rows.tolist() == list(range(len(PROMPTS)))  # policy and reference are one: no KL elsewhere
    assert rewards[rows, columns].tolist() == scores.tolist()
    assert (rollout.episodes.responses[rows, columns] == 1).tolist() == rollout.finished.tolist()
    assert 0 < rollout.finished.sum() < len(PROMPTS)


def test_the_missing_eos_penalty_and_the_clip_by_hand() -> None:
    _, rollout, _, _ = collected()
    scored = copy.copy(rollout)
    object.__setattr__(scored, "scores", torch.tensor([3.0, -3.0, 0.5, 3.0, -0.5, 0.0]))
    object.__setattr__(scored, "finished", torch.tensor([True, True, True, False, False, False]))
    plain = shaped_scores(scored, config(missing_eos_penalty=1.5))
    assert plain.tolist() == [3.0, -3.0, 0.5, 1.5, -2.0, -1.5]
    clipped = shaped_scores(scored, config(missing_eos_penalty=1.5, score_clip=2.0))
    assert clipped.tolist() == [2.0, -2.0, 0.5, 0.5, -2.0, -1.5]


def test_metrics_show_the_coefficient_that_made_the_rewards(tmp_path: Path) -> None:
    c = config(kl_controller="adaptive", kl_coef=0.15, kl_target=0.01, kl_horizon=100.0, missing_eos_penalty=0.0)
    metrics = train(c, tmp_path, steps=4, reference=language_model(seed=8)).metrics
    assert metrics[0]["ppo/kl_coef"] == 0.15
    assert metrics[1]["ppo/kl_coef"] == pytest.approx(0.15 * (1 + 0.2 * 6 / 100))  # far above target: clipped at .2
    for each in metrics:
        expected = each["ppo/score"] - each["ppo/kl_coef"] * each["ppo/kl_nats"]
        assert each["ppo/reward"] == pytest.approx(expected, abs=SUM_TOLERANCE)


def test_the_controller_is_the_configured_one() -> None:
    adaptive = config(kl_controller="adaptive", kl_coef=0.1, kl_target=3.0, kl_horizon=500.0)
    assert kl_controller(adaptive) == AdaptiveKL(0.1, 3.0, 500.0)
    assert kl_controller(config(kl_coef=0.1)) == FixedKL(0.1)


def test_the_horizon_is_a_tenth_of_the_runs_episodes_unless_told() -> None:
    assert config(steps=200, rollout_batch=6).horizon == 120.0
    assert config(steps=3, rollout_batch=6).horizon == 12.0, "never so short that one update could turn the sign"
    assert config(steps=200, kl_horizon=33.0).horizon == 33.0


def test_a_horizon_shorter_than_a_rollout_is_refused() -> None:
    """In one update the coefficient could change its sign."""
    assert config(kl_horizon=6.0).kl_horizon == 6.0
    with pytest.raises(ValidationError, match="kl_horizon 6 must be greater than rollout_batch 6"):
        config(kl_controller="adaptive", kl_horizon=6.0)


def test_the_reference_never_changes(tmp_path: Path) -> None:
    reference = language_model()
    before = weights(reference)
    train(CONFIG, tmp_path, reference=reference)
    assert changed(before, reference) == set()


# what moves, and what does not


def test_every_parameter_is_in_an_optimizer_and_changes(tmp_path: Path) -> None:
    learners, *_ = collected(config(muon_lr=0.01))
    for model, own in ((learners.policy, learners.policy_optimizers), (learners.value, learners.value_optimizers)):
        held = [p for optimizer in own.values() for group in optimizer.param_groups for p in group["params"]]
        assert sorted(map(id, held)) == sorted(map(id, model.parameters()))
    run = train(CONFIG, tmp_path, steps=1)
    assert changed(weights(language_model()), run.policy) == set(weights(run.policy))
    assert changed(weights(scalar_model()), run.value) == set(weights(run.value))


def test_the_policy_is_frozen_while_the_value_network_warms_up(tmp_path: Path) -> None:
    run = train(config(value_warmup_steps=2, epochs=2), tmp_path / "warming", steps=2)
    assert changed(weights(language_model()), run.policy) == set()
    assert changed(weights(scalar_model()), run.value) == set(weights(run.value))
    assert [m["ppo/lr"] for m in run.metrics] == [0.0, 0.0] and run.metrics[1]["ppo/kl_nats"] == 0.0
    after = train(config(value_warmup_steps=2), tmp_path / "warm", steps=3)
    assert changed(weights(language_model()), after.policy) == set(weights(after.policy))
    assert after.metrics[2]["ppo/lr"] == CONFIG.lr


def test_minibatches_cover_the_rollout_and_reshuffle_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    c, seen = config(minibatch=2, microbatch=2, epochs=3), list[list[int]]()
    original = ppo.accumulate

    def recorded(learners: Any, rollout: Any, advantages: Any, returns: Any, index: Tensor, *rest: Any) -> Tensor:
        seen.append(index.tolist())
        return original(learners, rollout, advantages, returns, index, *rest)

    monkeypatch.setattr(ppo, "accumulate", recorded)
    for step in (1, 2):
        update(*collected(c), c, step, loop(Path(), "ppo", 2, 0))
    epochs = [[*chain(*seen[at : at + 3])] for at in range(0, len(seen), 3)]
    assert len(epochs) == 6 and all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_advantages_are_whitened_over_the_whole_rollout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = list[tuple[Tensor, Tensor, Tensor]]()
    original = ppo.update

    def recorded(learners: Any, rollout: Rollout, advantages: Tensor, returns: Tensor, *rest: Any, **named: Any) -> Any:
        seen.append((advantages, returns, rollout.mask))
        return original(learners, rollout, advantages, returns, *rest, **named)

    monkeypatch.setattr(ppo, "update", recorded)
    train(config(minibatch=2, microbatch=2), tmp_path, steps=1)
    ((advantages, returns, mask),) = seen
    assert advantages[mask].mean().item() == pytest.approx(0, abs=TOLERANCE)
    assert advantages[mask].std(correction=0).item() == pytest.approx(1, abs=SUM_TOLERANCE)
    assert not advantages[~mask].any()
    assert returns[mask].mean().abs() > 0.01, "returns are never whitened"


def test_a_pass_asks_every_prompt_once_and_passes_differ() -> None:
    asked = [prompt for step in range(1, 7) for prompt in prompts_at(step, count=9, batch=6, seed=0)]
    passes = [asked[at : at + 9] for at in range(0, 36, 9)]
    assert all(sorted(each) == list(range(9)) for each in passes)
    assert len({tuple(each) for each in passes}) == 4
    assert len(prompts_at(1, count=2, batch=7, seed=0)) == 7


# ends


class Broken(WordScorer):
    """A scorer whose numbers overflow the value loss."""

    def score(self, prompts: Any, responses: Any) -> list[float]:
        return [1e30 if i == 0 else 0.0 for i in range(len(prompts))]


def test_divergence_is_one_sentence_and_changes_no_parameter(tmp_path: Path) -> None:
    policy, value = language_model(), scalar_model()
    actors = Actors(policy, language_model(), value, Broken(), word_tokenizer())
    events = train_ppo(actors, PROMPTS, CONFIG, loop(tmp_path, "ppo", 2, 5), {})
    with pytest.raises(DivergedError, match=r"became \w+ at step 1.*lower the learning rate"):
        list(events)
    assert changed(weights(language_model()), policy) == changed(weights(scalar_model()), value) == set()


def test_a_value_loss_that_diverges_does_not_move_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppo, "value_loss", lambda values, *rest: values * torch.inf)
    learners, rollout, advantages, returns = collected()
    with pytest.raises(DivergedError, match="the PPO loss became"):
        update(learners, rollout, advantages, returns, CONFIG, 1, loop(Path(), "ppo", 1, 0))
    assert changed(weights(language_model()), learners.policy) == set()


def test_runaway_kl_stops_training_before_the_update(tmp_path: Path) -> None:
    far = language_model(seed=8)
    run = train(config(stop_kl_nats=1.0, alert_kl_nats=1.0), tmp_path, steps=5, reference=far)
    assert len(run.metrics) == 1 and run.metrics[0]["ppo/kl_nats"] > 1
    assert changed(weights(language_model()), run.policy) == changed(weights(scalar_model()), run.value) == set()
    assert [type(event) for event in run.events[-2:]] == [CheckpointSaved, StageFinished]
    assert [event.alert for event in run.events if isinstance(event, AlertRaised)] == ["kl_runaway", "stopped_early"]


def test_an_early_stop_has_samples_and_only_its_metrics(tmp_path: Path) -> None:
    far = language_model(seed=8)
    run = train(config(stop_kl_nats=1.0, alert_kl_nats=1.0, samples_every=100), tmp_path, steps=5, reference=far)
    (drawn,) = [event for event in run.events if isinstance(event, SamplesDrawn)]
    assert drawn.step == 1 and len(drawn.samples) == len(PROMPTS)
    assert run.metrics[0].keys().isdisjoint({"ppo/policy_loss", "ppo/value_loss", "ppo/tokens_per_s", "ppo/grad_norm"})


@pytest.mark.parametrize(("every", "expected"), [(100, [1, 2, 7]), (3, [1, 2, 3, 6, 7])])
def test_samples_of_first_last_and_alert_steps_are_kept(every: int, expected: list[int], tmp_path: Path) -> None:
    run = train(config(samples_every=every, alert_kl_nats=1e-9), tmp_path, steps=7)
    assert [event.step for event in run.events if isinstance(event, AlertRaised)] == [2]  # KL is 0 before an update
    assert [event.step for event in run.events if isinstance(event, SamplesDrawn)] == expected


class Judge:
    """Counts down, whatever it is shown."""

    def __init__(self) -> None:
        self.asked = 0

    def score(self, prompts: Any, responses: Any) -> list[float]:
        self.asked += 1
        return [-float(self.asked)] * len(responses)


def test_a_judge_is_reported_and_does_not_change_training(tmp_path: Path) -> None:
    alone, watched = train(CONFIG, tmp_path / "a"), train(CONFIG, tmp_path / "b", judge=Judge())
    assert [metrics["ppo/judge_score"] for metrics in watched.metrics] == [-1.0, -2.0]
    assert all("ppo/judge_score" not in metrics for metrics in alone.metrics)
    assert not changed(weights(alone.policy), watched.policy) and not changed(weights(alone.value), watched.value)
    samples = [event.samples for event in watched.events if isinstance(event, SamplesDrawn)]
    assert samples[0][0]["judge_score"] == -1.0 and samples[-1][0]["judge_score"] == -2.0


def test_the_events_of_a_training_in_order(tmp_path: Path) -> None:
    run = train(config(samples_every=2, samples_shown=3), tmp_path, steps=3, every=2)
    kinds = [type(event) for event in run.events]
    step = [StepCompleted, SamplesDrawn]
    assert kinds == [StageStarted, *step, *step, CheckpointSaved, *step, CheckpointSaved, StageFinished]
    samples = next(event.samples for event in run.events if isinstance(event, SamplesDrawn))
    assert len(samples) == 3
    for row in samples:
        assert row["prompt"] in PROMPTS and row["score"] == row["response"].split().count("blue")
        assert CONFIG.max_new_tokens >= row["tokens"] >= len(row["response"].split()) + row["finished"]


def test_stopped_and_resumed_equals_never_stopped(tmp_path: Path) -> None:
    c = config(kl_controller="adaptive", kl_horizon=50.0, epochs=2, muon_lr=1e-3, warmup_steps=2)
    whole = train(c, tmp_path / "whole", steps=4)
    before = train(c, tmp_path / "cut", steps=4, stop=stop_after(2))
    assert len(before.metrics) == 2 and isinstance(before.events[-1], CheckpointSaved)
    after = train(c, tmp_path / "cut", steps=4)
    assert without_clock(before.metrics + after.metrics) == without_clock(whole.metrics)
    assert changed(weights(whole.policy), after.policy) == changed(weights(whole.value), after.value) == set()
