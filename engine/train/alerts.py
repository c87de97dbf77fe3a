"""Alerts while a policy trains: KL running away or negative, length blow-up, repetition, a score that rises while the
judge's falls. Each is a sentence with its numbers.

An alert is raised once per run of bad steps, not at every step. A loss that is not finite is an error
(optimizer.check_finite), which the driver records as the alert "nan".
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from statistics import fmean, pvariance

KL_NEGATIVE_NATS = -0.5  # sampling noise of a rollout stays well above this
LENGTH_FACTOR = 1.5  # mean response length beside the first rollouts'
REPETITION_SHARE = 0.3  # share of a response's 2-grams that repeat an earlier one of it
BASELINE_STEPS = 3
SMOOTHING = 1 / 3  # weight of the newest rollout in the means that are set beside the best so far
CHANCE = 3.0  # standard errors of the difference of two rollouts: smaller changes are chance
NEGLIGIBLE = 1e-3  # share of a mean: smaller changes are not shown


@dataclass
class Alerts:
    """What the alerts remember, as JSON values that are saved with the stage."""

    alert_kl_nats: float
    stop_kl_nats: float
    numbers: dict[str, float] = field(default_factory=dict)

    def check(
        self, step: int, metrics: Mapping[str, float], texts: Sequence[str], judged: Sequence[float] | None
    ) -> list[tuple[str, str]]:
        """(alert, message) for each thing that has gone wrong since the last step; `judged` are the judge's scores of
        `texts`, None without a judge."""
        kl_nats, length_mean = metrics["ppo/kl_nats"], metrics["ppo/response_tokens"]
        seen = self.numbers.get("steps_seen", 0.0)
        # The first rollouts give the usual length: a reward that likes length shows only against a baseline.
        if seen < BASELINE_STEPS:
            before = self.numbers.get("length_at_start", 0.0)
            self.numbers["length_at_start"] = (before * seen + length_mean) / (seen + 1)
        self.numbers["steps_seen"] = seen + 1
        usual, repeated = self.numbers["length_at_start"], repetition(texts)
        found = {
            # A reward model is right only near the responses it was trained on; far from there its scores mean little.
            "kl_runaway": kl_nats > self.alert_kl_nats
            and f"KL is {kl_nats:.1f} nats per response, above {self.alert_kl_nats:g}: raise kl_coef or lower lr.",
            # A mean of log(pi / pi_ref) over the policy's own samples is above 0. Below, they were not drawn from pi as
            # it is measured: another temperature, a truncated distribution, or a mask that is off by one.
            "kl_negative": kl_nats < KL_NEGATIVE_NATS
            and f"KL is {kl_nats:.2f} nats: the policy samples what it finds unlikely; check temperature and top-p.",
            "length_blowup": length_mean > LENGTH_FACTOR * usual
            and f"Responses average {length_mean:.1f} tokens, {usual:.1f} at the start: does the reward like length?",
            "repetition": repeated > REPETITION_SHARE
            and f"{repeated:.0%} of the word pairs in a response repeat an earlier one: does the reward like a phrase?",
            "over_optimization": judged is not None and self._over_optimized(step, metrics, judged),
            # The stage stops by KL and not by the judge: stopping by the judge would be a way to optimize against it.
            "stopped_early": kl_nats > self.stop_kl_nats
            and f"KL passed {self.stop_kl_nats:g} nats: training ends here.",
        }
        raised = [(alert, message) for alert, message in found.items() if message and not self.numbers.get(alert)]
        self.numbers |= {alert: float(bool(message)) for alert, message in found.items()}
        return raised

    def _over_optimized(self, step: int, metrics: Mapping[str, float], judged: Sequence[float]) -> str | None:
        """The message where the score has risen and the judge's has fallen since its best, both by more than chance.

        Source: Gao et al. 2022, gold against proxy reward.
        """
        # The scorer is a proxy for what the judge measures. Optimized too hard, the two part: the proxy keeps rising
        # while the gold score falls. Single rollouts are noisy, so both are smoothed and compared at 3 standard errors.
        score, score_chance = self._followed("score", metrics["ppo/score"], metrics["ppo/score_std"] ** 2, len(judged))
        judge, judge_chance = self._followed("judge", fmean(judged), pvariance(judged), len(judged))
        if judge >= self.numbers.get("judge_best", judge) or self.numbers["steps_seen"] <= BASELINE_STEPS:
            self.numbers |= {"judge_best": judge, "score_then": score, "best_step": float(step)}
        best, score_then = self.numbers["judge_best"], self.numbers["score_then"]
        if score - score_then <= score_chance or best - judge <= judge_chance:
            return None
        return (
            f"Since step {self.numbers['best_step']:.0f} the reward rose from {score_then:.3g} to {score:.3g} while "
            f"the judge score fell from {best:.3g} to {judge:.3g} (means over recent steps, not the values in the "
            "charts): the policy exploits the reward model; raise kl_coef."
        )

    def _followed(self, name: str, mean: float, variance: float, count: int) -> tuple[float, float]:
        """A mean over `count` responses, smoothed over rollouts, and how far chance may move it."""
        mean = self._smooth(f"{name}_mean", mean)
        # By chance, two means of `count` values of variance s^2 differ by about sqrt(2 s^2 / count), a standard error.
        chance = CHANCE * sqrt(2 * self._smooth(f"{name}_variance", variance) / count)
        return mean, max(chance, NEGLIGIBLE * abs(mean))

    def _smooth(self, name: str, value: float) -> float:
        # An exponential moving average: a rollout three steps back has 0.3 of the newest one's weight.
        before = self.numbers.get(name, value)
        self.numbers[name] = before + SMOOTHING * (value - before)
        return self.numbers[name]


def repetition(texts: Sequence[str]) -> float:
    """Mean over `texts` of the share of word 2-grams that occur earlier in the same text, 0 to 1."""
    shares = []
    for text in texts:
        words = text.lower().split()
        pairs = Counter(pairwise(words))
        shares.append(1 - len(pairs) / pairs.total() if pairs else 0.0)
    return sum(shares) / len(shares) if shares else 0.0
