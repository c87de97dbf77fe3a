"""Alarms while a policy trains: KL running away or negative, length blow-up, repetition, a score that rises while the
judge's falls. In words with numbers.

Each alarm is raised once a run of bad steps, not at every step. A loss that is not finite is an error
(optimiser.check_finite), which run.py records as the alarm "nan".
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from statistics import fmean, pstdev

KL_NEGATIVE_NATS = -0.5  # sampling noise of a rollout stays well above this
LENGTH_FACTOR = 1.5  # mean response length beside the first rollouts'
REPETITION_SHARE = 0.3  # share of a response's 2-grams that repeat an earlier one of it
BASELINE_STEPS = 3
SMOOTHING = 1 / 3  # weight of the newest rollout in the means that are set beside the best so far
FALL = 3.0  # standard errors of the difference of two rollouts by which the judge's mean must have fallen


@dataclass
class Watch:
    """What the alarms remember; JSON values, saved with the stage."""

    alarm_kl_nats: float
    stop_kl_nats: float
    numbers: dict[str, float] = field(default_factory=dict)

    def look(
        self, step: int, metrics: Mapping[str, float], texts: Sequence[str], judged: Sequence[float] | None
    ) -> list[tuple[str, str]]:
        """(alarm, message) for whatever has newly gone wrong at this step; `judged` are the judge's scores of `texts`,
        None without a judge."""
        kl_nats, length_mean = metrics["ppo/kl_nats"], metrics["ppo/response_tokens"]
        seen = self.numbers.get("steps_seen", 0.0)
        if seen < BASELINE_STEPS:
            before = self.numbers.get("length_at_start", 0.0)
            self.numbers["length_at_start"] = (before * seen + length_mean) / (seen + 1)
        self.numbers["steps_seen"] = seen + 1
        usual, repeated = self.numbers["length_at_start"], repetition(texts)
        found = {
            "kl_runaway": kl_nats > self.alarm_kl_nats
            and f"KL is {kl_nats:.1f} nats a response, above {self.alarm_kl_nats:g}: raise kl_coef or lower lr.",
            "kl_negative": kl_nats < KL_NEGATIVE_NATS
            and f"KL is {kl_nats:.2f} nats: the policy samples what it finds unlikely; check temperature and top-p.",
            "length_blowup": length_mean > LENGTH_FACTOR * usual
            and f"Responses average {length_mean:.1f} tokens, {usual:.1f} at the start: does the reward like length?",
            "repetition": repeated > REPETITION_SHARE
            and f"{repeated:.0%} of the word pairs in a response repeat an earlier one: does the reward like a phrase?",
            "over_optimisation": judged is not None and self._over_optimised(step, metrics["ppo/score"], judged),
            "stopped_early": kl_nats > self.stop_kl_nats
            and f"KL passed {self.stop_kl_nats:g} nats: training ends here.",
        }
        raised = [(alarm, message) for alarm, message in found.items() if message and not self.numbers.get(alarm)]
        self.numbers |= {alarm: float(bool(message)) for alarm, message in found.items()}
        return raised

    def _over_optimised(self, step: int, score: float, judged: Sequence[float]) -> str | None:
        """What to say where the score has risen and the judge's has fallen since its best, by more than chance.

        Both are exponential means over the rollouts. Source: Gao et al. 2022, gold against proxy reward.
        """
        now = {"score": score, "judge": fmean(judged)}
        for name, value in now.items():
            before = self.numbers.get(f"{name}_mean", value)
            now[name] = self.numbers[f"{name}_mean"] = before + SMOOTHING * (value - before)
        if now["judge"] >= self.numbers.get("judge_best", now["judge"]):
            self.numbers |= {"judge_best": now["judge"], "score_then": now["score"], "best_step": float(step)}
        best, score_then, best_step = (self.numbers[name] for name in ("judge_best", "score_then", "best_step"))
        chance = pstdev(judged) * sqrt(2 / len(judged))
        if now["score"] <= score_then or best - now["judge"] <= FALL * chance:
            return None
        return (
            f"Since step {best_step:.0f} the score rose from {score_then:.2f} to {now['score']:.2f} while the judge's "
            f"fell from {best:.2f} to {now['judge']:.2f}: the policy pleases the reward, not the judge; raise kl_coef."
        )


def repetition(texts: Sequence[str]) -> float:
    """Mean over `texts` of the share of word 2-grams that stand earlier in the same text, 0 to 1."""
    shares = []
    for text in texts:
        words = text.lower().split()
        pairs = Counter(pairwise(words))
        shares.append(1 - len(pairs) / pairs.total() if pairs else 0.0)
    return sum(shares) / len(shares) if shares else 0.0
