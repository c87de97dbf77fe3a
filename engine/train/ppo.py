"""PPO with a KL penalty: draw, score, estimate advantages, update, adapt the coefficient.

Source: Ouyang et al. 2022, section 3.5 and appendix C.4; Schulman et al. 2017. The value network is separate from the
policy and starts from the reward model. PTX and EMA are not here yet.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from engine.algorithms.advantages import gae, token_rewards
from engine.algorithms.kl import AdaptiveKL, FixedKL, KLController, k2, sequence_kl
from engine.algorithms.losses import policy_clipped, policy_loss, ratios, value_clipped, value_loss
from engine.algorithms.masked import masked_mean, masked_var, whiten
from engine.core.config import PpoConfig
from engine.core.events import AlarmRaised, Event, SamplesDrawn, StageStarted, StepCompleted
from engine.data.records import Prompt, prompt_text
from engine.model.heads import ScalarModel
from engine.model.randomness import generator
from engine.model.sampling import Sampling
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.train.alarms import Watch
from engine.train.optimizer import apply_gradients, check_finite, optimisers, schedule
from engine.train.rollout import Rollout, draw_episodes, measure, response_logprobs, response_values
from engine.train.saver import Saver
from engine.train.scoring import Scorer

UPDATE_METRICS = (
    "ppo/policy_loss",
    "ppo/value_loss",
    "ppo/approx_kl",
    "ppo/clip_fraction",
    "ppo/value_clip_fraction",
    "ppo/ratio",
    "ppo/ratio_max",
    "ppo/grad_norm",
    "ppo/value_grad_norm",
)
RATIO_MAX = UPDATE_METRICS.index("ppo/ratio_max")


@dataclass(frozen=True)
class Learners:
    """The two networks that PPO trains, each with its own optimisers."""

    policy: LanguageModel
    value: ScalarModel
    policy_optimizers: dict[str, torch.optim.Optimizer]
    value_optimizers: dict[str, torch.optim.Optimizer]

    def named(self) -> dict[str, torch.optim.Optimizer]:
        """All optimisers by distinct names."""
        own = {f"policy.{name}": optimizer for name, optimizer in self.policy_optimizers.items()}
        return own | {f"value.{name}": optimizer for name, optimizer in self.value_optimizers.items()}

    def step(self, share: float, max_grad_norm: float, step: int, frozen: bool) -> tuple[float, float]:
        """Apply the gradients of both, of the value network alone while the policy is `frozen`; the two norms."""
        norm = 0.0
        if not frozen:
            norm = apply_gradients(self.policy_optimizers, self.policy.parameters(), share, max_grad_norm, step)
        return norm, apply_gradients(self.value_optimizers, self.value.parameters(), share, max_grad_norm, step)


def train_ppo(
    policy: LanguageModel,
    reference: LanguageModel,
    value_model: ScalarModel,
    scorer: Scorer,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    config: PpoConfig,
    *,
    left_out: Mapping[str, int],
    seed: int,
    steps: int,
    saver: Saver,
    should_stop: Callable[[], bool],
    judge: Scorer | None = None,
) -> Iterator[Event]:
    """Train `policy` and `value_model` in place; yields the stage's events. `left_out` counts unused prompts by reason.

    `judge` only watches, for an alarm where its mean falls while the score rises. Ends early, without learning from it,
    at a rollout whose KL passes stop_kl_nats. Raises: DivergedError on what is not finite.
    """
    c = config
    learners = Learners(policy, value_model, optimisers(policy, c), optimisers(value_model, c, c.value_lr))
    saver.model, saver.tokenizer, saver.value, saver.steps = policy, tokenizer, value_model, steps
    saver.optimizers = learners.named()
    start = saver.resume()
    kl, watch = kl_controller(c), Watch(c.alert_kl_nats, c.stop_kl_nats, saver.numbers.setdefault("alarms", {}))
    kl.load(saver.numbers.setdefault("kl", kl.state()))
    sampling = Sampling(c.temperature, max_new_tokens=c.max_new_tokens)
    yield StageStarted("ppo", steps, {"prompts": len(prompts), **left_out, "episodes": steps * c.rollout_batch})
    for step in range(start + 1, steps + 1):
        began = time.perf_counter()
        asked = [prompts[i] for i in prompts_at(step, len(prompts), c.rollout_batch, seed)]
        episodes = draw_episodes(policy, tokenizer, asked, sampling, seed, "ppo/sampling", step)
        rollout = measure(policy, reference, value_model, scorer, tokenizer, asked, episodes, c.temperature, judge)
        scores = shaped_scores(rollout, c)
        rewards = token_rewards(scores, rollout.logprobs, rollout.ref_logprobs, rollout.mask, kl.coef)
        advantages, returns = gae(rewards, rollout.values, rollout.mask, c.gamma, c.lam)
        metrics = rollout_metrics(rollout, rewards, returns, kl.coef)
        advantages = whiten(advantages, rollout.mask)
        ran_away = metrics["ppo/kl_nats"] > c.stop_kl_nats
        if not ran_away:
            metrics |= update(learners, rollout, advantages, returns, c, seed=seed, step=step, steps=steps)
            kl.update(metrics["ppo/kl_nats"], len(episodes))
            saver.numbers["kl"] = kl.state()
            metrics["ppo/tokens_per_s"] = float(rollout.mask.sum()) / (time.perf_counter() - began)
        metrics["ppo/step_s"] = time.perf_counter() - began
        yield StepCompleted("ppo", step, metrics)
        alarms = watch.look(step, metrics, rollout.texts, rollout.judged)
        if alarms or step % c.samples_every == 0 or step in (1, steps):
            yield SamplesDrawn("ppo", step, samples(asked, rollout, c.samples_shown))
        yield from (AlarmRaised("ppo", step, *alarm) for alarm in alarms)
        if ran_away:
            break
        stop = should_stop()
        if step < steps and (stop or saver.due(step)):
            yield from saver.save(step)
            if stop:
                return
    yield from saver.finish(step, metrics)


def kl_controller(config: PpoConfig) -> KLController:
    """The controller that the configuration asks for, at its first coefficient."""
    if config.kl_controller == "adaptive":
        return AdaptiveKL(config.kl_coef, config.kl_target, config.horizon)
    return FixedKL(config.kl_coef)


def prompts_at(step: int, count: int, batch: int, seed: int) -> list[int]:
    """Which of `count` prompts rollout `step` (from 1) asks: pass after pass over all, each freshly shuffled."""
    places = range((step - 1) * batch, step * batch)
    passes = {
        epoch: torch.randperm(count, generator=generator(seed, "ppo/prompts", epoch)).tolist()
        for epoch in {place // count for place in places}
    }
    return [passes[place // count][place % count] for place in places]


def shaped_scores(rollout: Rollout, config: PpoConfig) -> Tensor:
    """Scores (B,) clipped if asked, less the penalty where a response did not end. Source: Stiennon et al. 2020."""
    scores = rollout.scores
    if config.score_clip:
        scores = scores.clamp(-config.score_clip, config.score_clip)
    return scores - config.missing_eos_penalty * (~rollout.finished)


def update(
    learners: Learners,
    rollout: Rollout,
    advantages: Tensor,
    returns: Tensor,
    config: PpoConfig,
    *,
    seed: int,
    step: int,
    steps: int,
) -> dict[str, float]:
    """All minibatches of one rollout, `config.epochs` times, reshuffled each time; returns the means of their metrics.

    While the value network warms up, the policy stays as it is.
    """
    c, taken = config, []
    share = schedule(step, steps, c.warmup_steps, c.min_lr_ratio)
    frozen = step <= c.value_warmup_steps
    for epoch in range(c.epochs):
        rng = generator(seed, "ppo/minibatches", step * c.epochs + epoch)
        order = torch.randperm(len(rollout.episodes), generator=rng).to(advantages.device)
        for index in order.split(c.minibatch):
            sums = accumulate(learners, rollout, advantages, returns, index, c, frozen)
            check_finite(sums[0] + sums[1], "the PPO loss", step)
            taken.append(torch.cat((sums, sums.new_tensor(learners.step(share, c.max_grad_norm, step, frozen)))))
    means = torch.stack(taken).mean(0).tolist()
    metrics = dict(zip(UPDATE_METRICS, means, strict=True))
    return metrics | {
        "ppo/ratio_max": float(torch.stack(taken)[:, RATIO_MAX].max()),
        "ppo/lr": 0.0 if frozen else c.lr * share,
    }


def accumulate(
    learners: Learners,
    rollout: Rollout,
    advantages: Tensor,
    returns: Tensor,
    index: Tensor,
    config: PpoConfig,
    frozen: bool,
) -> Tensor:
    """Add the gradients of one minibatch, microbatch by microbatch; returns its metrics before the norms.

    Losses are sums divided by the whole minibatch's token count, so that microbatches cannot change the gradient.
    """
    tokens = rollout.mask[index].sum()
    lengths = rollout.mask[index].sum(1) + rollout.episodes.prompt_mask[index].sum(1)
    totals = torch.zeros(len(UPDATE_METRICS) - 2, device=advantages.device)
    for micro in index[lengths.argsort(stable=True)].split(config.microbatch):
        episodes = rollout.episodes.rows(micro)
        mask, width = episodes.response_mask, episodes.response_mask.size(1)
        old, advantage = rollout.logprobs[micro, :width], advantages[micro, :width]
        with torch.set_grad_enabled(not frozen):
            logprobs = response_logprobs(learners.policy, episodes, config.temperature)
            loss = policy_loss(logprobs, old, advantage, mask, config.clip_range).sum() / tokens
        if not frozen:
            loss.backward()
        old_values, target = rollout.values[micro, :width], returns[micro, :width]
        values = response_values(learners.value, episodes)
        clip = config.value_clip_range
        vf = value_loss(values, old_values, target, mask, clip).sum() / tokens
        (config.vf_coef * vf).backward()
        with torch.no_grad():
            ratio = ratios(logprobs, old, mask)
            sums = (
                loss,
                vf,
                k2(logprobs, old)[mask].sum() / tokens,
                policy_clipped(logprobs, old, advantage, mask, config.clip_range).sum() / tokens,
                value_clipped(values, old_values, target, mask, clip).sum() / tokens,
                ratio[mask].sum() / tokens,
            )
            totals[:RATIO_MAX] += torch.stack(sums)
            totals[RATIO_MAX] = torch.maximum(totals[RATIO_MAX], ratio[mask].max())
    return totals


def rollout_metrics(rollout: Rollout, rewards: Tensor, returns: Tensor, kl_coef: float) -> dict[str, float]:
    """What a rollout shows before the update; every mean is over real tokens or over responses, as its name says."""
    mask = rollout.mask
    kl = sequence_kl(rollout.logprobs, rollout.ref_logprobs, mask)
    spread = masked_var(returns, mask)
    return {
        "ppo/score": float(rollout.scores.mean()),
        "ppo/score_std": float(rollout.scores.std(correction=0)),
        **({} if rollout.judged is None else {"ppo/judge_score": fmean(rollout.judged)}),
        "ppo/reward": float(rewards.sum(1).mean()),
        "ppo/kl_nats": float(kl.mean()),
        "ppo/kl_coef": kl_coef,
        "ppo/entropy": float(masked_mean(rollout.entropy, mask)),
        "ppo/response_tokens": float(mask.sum(1).float().mean()),
        "ppo/finished": float(rollout.finished.float().mean()),
        "ppo/value": float(masked_mean(rollout.values, mask)),
        "ppo/explained_variance": float(1 - masked_var(returns - rollout.values, mask) / (spread + 1e-8)),
    }


def samples(prompts: Sequence[Prompt], rollout: Rollout, shown: int) -> list[dict[str, object]]:
    """The first `shown` episodes of a rollout as rows for samples.jsonl."""
    kl = sequence_kl(rollout.logprobs, rollout.ref_logprobs, rollout.mask)
    return [
        {
            "prompt": prompt_text(prompts[i]),
            "response": rollout.texts[i],
            "score": float(rollout.scores[i]),
            "kl_nats": float(kl[i]),
            "tokens": int(rollout.mask[i].sum()),
            "finished": bool(rollout.finished[i]),
            **({} if rollout.judged is None else {"judge_score": rollout.judged[i]}),
        }
        for i in range(min(shown, len(prompts)))
    ]
