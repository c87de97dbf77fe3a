"""How far the policy has moved from its reference, in nats, and the coefficients that hold it back.

Estimators per token, their sum per response, and the fixed and adaptive controllers, which share one shape. Putting the
penalty into rewards is left to advantages.py, and what to do when the KL runs away to the PPO stage.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from engine.algorithms.masked import masked_sum

MAX_ERROR = 0.2
"""The relative distance from the target beyond which the adaptive controller does not react more strongly."""


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(B,R) log-ratio in nats of tokens drawn from the policy: unbiased for KL(policy || reference), of either sign.

    Gradient flows to both. Padding is not cleaned here: reduce under a mask.
    """
    return logprobs - ref_logprobs


def k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(B,R) half the squared log-ratio in nats: biased, low variance, never negative. Otherwise as `k1`."""
    return k1(logprobs, ref_logprobs).square() / 2


def sequence_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
    """(B,) KL to the reference of each response, in nats: the sum of `k1` through EOS.

    `logprobs` and `ref_logprobs` are (B,R), `mask` (B,R) bool is True at a real token. Gradient flows to real tokens.
    """
    return masked_sum(k1(logprobs, ref_logprobs), mask, dim=1)


@dataclass
class FixedKL:
    """A KL coefficient that stays what it is."""

    coef: float

    def update(self, kl_nats: float, episodes: int) -> None:
        """Changes nothing."""

    def state(self) -> dict[str, float]:
        """What `load` needs to go on from here."""
        return {"coef": self.coef}

    def load(self, state: dict[str, float]) -> None:
        """Goes on from what `state` returned."""
        self.coef = state["coef"]


@dataclass
class AdaptiveKL:
    """A KL coefficient steered so that responses settle at `target` nats.

    `horizon` is in episodes: the larger, the slower. It must exceed a fifth of the episodes of one update, or the
    coefficient could lose its sign.

    Source: Ziegler et al. 2019 (arXiv 1909.08593), section 2.2.
    """

    coef: float
    target: float
    horizon: float

    def update(self, kl_nats: float, episodes: int) -> None:
        """Raises `coef` if `kl_nats`, the mean a response over the last `episodes`, is above target, else lowers it."""
        assert math.isfinite(kl_nats), f"the KL that steers the coefficient is {kl_nats}"
        assert self.horizon > MAX_ERROR * episodes, f"horizon {self.horizon} is too short for {episodes} episodes"
        error = min(max(kl_nats / self.target - 1, -MAX_ERROR), MAX_ERROR)
        self.coef *= 1 + error * episodes / self.horizon

    def state(self) -> dict[str, float]:
        """What `load` needs to go on from here; target and horizon come from the configuration."""
        return {"coef": self.coef}

    def load(self, state: dict[str, float]) -> None:
        """Goes on from what `state` returned."""
        self.coef = state["coef"]


KLController = FixedKL | AdaptiveKL
