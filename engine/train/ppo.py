"""PPO with a KL penalty: draw, score, estimate advantages, update, adapt the coefficient.

Source: Ouyang et al. 2022, section 3.5 and appendix C.4; Schulman et al. 2017. The value network is separate from the
policy, so that value gradients cannot disturb it, and starts from the reward model, which already knows what makes a
response good (Stiennon et al. 2020). PTX and EMA are not implemented.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from engine.algorithms.advantages import gae, token_rewards
from engine.algorithms.kl import AdaptiveKL, FixedKL, KLController, k2, sequence_kl
from engine.algorithms.losses import policy_clipped, policy_loss, ratios, value_clipped, value_loss
from engine.algorithms.masked import masked_mean, masked_var, whiten
from engine.core.config import PpoConfig
from engine.core.events import AlertRaised, Event, SamplesDrawn, StageStarted, StepCompleted
from engine.data.records import Prompt, prompt_text
from engine.model.heads import ScalarModel
from engine.model.sampling import Sampling, generator
from engine.model.transformer import LanguageModel
from engine.train.alerts import Alerts
from engine.train.optimizer import apply_gradients, check_finite, optimizers_for, schedule
from engine.train.rollout import Actors, Rollout, draw_episodes, measure, response_logprobs, response_values
from engine.train.saver import StageLoop, Trained

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
    """The two networks that PPO trains, each with its own optimizers."""

    policy: LanguageModel
    value: ScalarModel
    policy_optimizers: dict[str, torch.optim.Optimizer]
    value_optimizers: dict[str, torch.optim.Optimizer]

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """All optimizers by distinct names."""
        own = {f"policy.{name}": optimizer for name, optimizer in self.policy_optimizers.items()}
        return own | {f"value.{name}": optimizer for name, optimizer in self.value_optimizers.items()}

    def step(self, lr_share: float, max_grad_norm: float, step: int, frozen: bool) -> tuple[float, float]:
        """Applies the gradients of both, of the value network only while the policy is `frozen`; returns both norms."""
        norm = 0.0
        if not frozen:
            norm = apply_gradients(self.policy_optimizers, self.policy.parameters(), lr_share, max_grad_norm, step)
        return norm, apply_gradients(self.value_optimizers, self.value.parameters(), lr_share, max_grad_norm, step)


def train_ppo(
    actors: Actors, prompts: Sequence[Prompt], config: PpoConfig, loop: StageLoop, left_out: Mapping[str, int]
) -> Iterator[Event]:
    """Trains the policy and value network of `actors` in place; yields the stage's events.

    `left_out` counts unused prompts by reason. Ends early, without learning from it, at a rollout whose KL passes
    stop_kl_nats. Raises: DivergedError on a loss or gradient that is not finite.
    """
    c, policy, value, kl = config, actors.policy, actors.value, kl_controller(config)
    learners = Learners(policy, value, optimizers_for(policy, c), optimizers_for(value, c, c.value_lr))
    numbers: dict[str, Any] = {"alerts": {}, "kl": kl.coef}
    remaining = loop.resume(Trained(policy, actors.tokenizer, learners.optimizers(), value), numbers)
    kl.coef = numbers["kl"]
    alerts = Alerts(c.alert_kl_nats, c.stop_kl_nats, numbers["alerts"])
    sampling = Sampling(c.temperature, max_new_tokens=c.max_new_tokens)
    yield StageStarted(
        "ppo", loop.steps, {"prompts": len(prompts), **left_out, "episodes": loop.steps * c.rollout_batch}
    )
    for step in remaining:
        began = time.perf_counter()
        asked = [prompts[i] for i in prompts_at(step, len(prompts), c.rollout_batch, loop.seed)]
        episodes = draw_episodes(policy, actors.tokenizer, asked, sampling, loop.seed, "ppo/sampling", step)
        rollout = measure(actors, asked, episodes, c.temperature)
        # R(x, y) = r(x, y) - beta log(pi(y|x) / pi_ref(y|x)): Ziegler et al. 2019, eq. 2; Ouyang et al. 2022, eq. 2.
        # The penalty keeps the policy near text that the reward model was trained on, where its scores mean something.
        # It is part of the reward, token by token, and not of the loss: so the value network predicts it, and GAE
        # credits an unlikely token with what it earns later.
        rewards = token_rewards(
            shaped_scores(rollout, c), rollout.logprobs, rollout.ref_logprobs, rollout.mask, kl.coef
        )
        # GAE (Schulman et al. 2016): advantages tell which tokens did better than the value network expected.
        advantages, returns = gae(rewards, rollout.values, rollout.mask, c.gamma, c.lam)  # both (B,R)
        metrics = rollout_metrics(rollout, rewards, returns, kl.coef)
        # Whitening comes last: returns = advantages + values must stay in reward units, or the value network would
        # chase a target that moves with each batch. Whitened advantages make lr mean the same at any reward scale.
        advantages = whiten(advantages, rollout.mask)
        ran_away = metrics["ppo/kl_nats"] > c.stop_kl_nats
        if not ran_away:
            metrics |= update(learners, rollout, advantages, returns, c, step, loop)
            kl.update(metrics["ppo/kl_nats"], len(episodes))  # Ziegler et al. 2019, section 2.2, where adaptive
            numbers["kl"] = kl.coef
            metrics["ppo/tokens_per_s"] = float(rollout.mask.sum()) / (time.perf_counter() - began)
        metrics["ppo/step_s"] = time.perf_counter() - began
        yield StepCompleted("ppo", step, metrics)
        raised = alerts.check(step, metrics, rollout.texts, rollout.judge_scores)
        if raised or step % c.samples_every == 0 or step in (1, loop.steps):
            yield SamplesDrawn("ppo", step, samples(asked, rollout, c.samples_shown))
        yield from (AlertRaised("ppo", step, *alert) for alert in raised)
        if ran_away:
            break
        if (yield from loop.end_step(step)):
            return
    yield from loop.saver.finish(step, metrics)


def kl_controller(config: PpoConfig) -> KLController:
    """The controller that the configuration asks for, at its initial coefficient."""
    if config.kl_controller == "adaptive":
        return AdaptiveKL(config.kl_coef, config.kl_target, config.horizon)
    return FixedKL(config.kl_coef)


def prompts_at(step: int, count: int, batch: int, seed: int) -> list[int]:
    """Which of `count` prompts rollout `step` (from 1) uses: epoch after epoch, each in an order of its own."""
    # Counted from the start of training, not drawn from a stateful shuffle: a resumed run needs no data cursor.
    places = range((step - 1) * batch, step * batch)
    orders = {
        epoch: torch.randperm(count, generator=generator(seed, "ppo/prompts", epoch)).tolist()
        for epoch in {place // count for place in places}
    }
    return [orders[place // count][place % count] for place in places]


def shaped_scores(rollout: Rollout, config: PpoConfig) -> Tensor:
    """Scores (B,), clipped if asked, minus a penalty where a response did not end. Source: Stiennon et al. 2020."""
    scores = rollout.scores
    # Without a penalty, running into the length limit costs nothing: a scorer reads a cut response as a short one.
    if config.score_clip:
        scores = scores.clamp(-config.score_clip, config.score_clip)
    return scores - config.missing_eos_penalty * (~rollout.finished)


def update(
    learners: Learners,
    rollout: Rollout,
    advantages: Tensor,
    returns: Tensor,
    config: PpoConfig,
    step: int,
    loop: StageLoop,
) -> dict[str, float]:
    """All minibatches of one rollout, `config.epochs` times, reshuffled each time; returns the means of their metrics.

    The policy is frozen while the value network warms up.
    """
    c, taken = config, []
    lr_share = schedule(step, loop.steps, c.warmup_steps, c.min_lr_ratio)
    # Advantages from an untrained value network are noise; the first rollouts train it alone.
    frozen = step <= c.value_warmup_steps
    for epoch in range(c.epochs):
        rng = generator(loop.seed, "ppo/minibatches", step * c.epochs + epoch)
        order = torch.randperm(len(rollout.episodes), generator=rng).to(advantages.device)
        for index in order.split(c.minibatch):
            sums = accumulate(learners, rollout, advantages, returns, index, c, frozen)
            check_finite(sums[0] + sums[1], "the PPO loss", step)  # before any parameter changes
            norms = learners.step(lr_share, c.max_grad_norm, step, frozen)
            taken.append(torch.cat((sums, sums.new_tensor(norms))))
    means = torch.stack(taken).mean(0).tolist()
    metrics = dict(zip(UPDATE_METRICS, means, strict=True))
    return metrics | {
        "ppo/ratio_max": float(torch.stack(taken)[:, RATIO_MAX].max()),
        "ppo/lr": 0.0 if frozen else c.lr * lr_share,
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
    """Adds the gradients of one minibatch, microbatch by microbatch; returns its metrics before the norms."""
    # Losses are sums divided by the tokens of the whole minibatch. Means of microbatches would weigh a token more where
    # its microbatch is short, and the gradient would depend on how much memory there is.
    tokens = rollout.mask[index].sum()
    lengths = rollout.mask[index].sum(1) + rollout.episodes.prompt_mask[index].sum(1)
    totals = torch.zeros(len(UPDATE_METRICS) - 2, device=advantages.device)
    for micro in index[lengths.argsort(stable=True)].split(config.microbatch):
        episodes = rollout.episodes.rows(micro)  # cut to the longest of them, R' <= R
        mask, width = episodes.response_mask, episodes.response_mask.size(1)
        old, advantage = rollout.logprobs[micro, :width], advantages[micro, :width]
        with torch.set_grad_enabled(not frozen):
            logprobs = response_logprobs(learners.policy, episodes, config.temperature)
            # L^CLIP of Schulman et al. 2017, eq. 7: no gain from moving a ratio further out of 1 +- clip_range.
            loss = policy_loss(logprobs, old, advantage, mask, config.clip_range).sum() / tokens
        if not frozen:
            loss.backward()
        old_values, target = rollout.values[micro, :width], returns[micro, :width]
        values = response_values(learners.value, episodes)
        clip = config.value_clip_range
        # Squared error against the returns, clipped like the policy: the larger of both, as in OpenAI's code.
        vf = value_loss(values, old_values, target, mask, clip).sum() / tokens
        (config.vf_coef * vf).backward()
        with torch.no_grad():
            # ratio = pi_new(token) / pi_old(token): exactly 1 in the first minibatch, where nothing has changed yet.
            # k2, half the squared log-ratio, estimates how far this update moved the policy.
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
    """The metrics of a rollout before the update; means are over real tokens, or over responses for sums and scores."""
    mask = rollout.mask
    kl = sequence_kl(rollout.logprobs, rollout.ref_logprobs, mask)  # (B,), the k1 estimate: a sum of log-ratios
    # Explained variance: 1 means the value network predicts every return, 0 that it is no better than their mean. Below
    # 0 its advantages are noise.
    spread = masked_var(returns, mask)
    return {
        "ppo/score": float(rollout.scores.mean()),
        "ppo/score_std": float(rollout.scores.std(correction=0)),
        **({} if rollout.judge_scores is None else {"ppo/judge_score": fmean(rollout.judge_scores)}),
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
            **({} if rollout.judge_scores is None else {"judge_score": rollout.judge_scores[i]}),
        }
        for i in range(min(shown, len(prompts)))
    ]
