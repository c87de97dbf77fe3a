"""How far the policy has moved from its reference policy, in nats, and the coefficient that holds it back.

A reward model is right only near the responses that it was trained on. A policy that is free to move finds responses
that it overrates, so moving away from the reference policy costs reward: kl_coef for each nat.

Estimators per token, their sum per response, and the fixed and the adaptive controller, which share one interface.
Putting the penalty into rewards is up to advantages.py, and reacting to a KL that runs away up to the PPO stage.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from engine.algorithms.masked import masked_sum

MAX_ERROR = 0.2  # relative distance from the target beyond which the adaptive controller reacts no more strongly


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(B,R) log-ratio in nats, log pi(y_t) - log pi_ref(y_t): unbiased for KL(pi || pi_ref), of either sign.

    Gradient flows to both. Padding is not cleaned here: reduce under a mask.

    Source: Schulman, "Approximating KL Divergence" (2020), whose log r is the negative of this.
    """
    # KL(pi || pi_ref) is the mean of log pi - log pi_ref under pi. The tokens were drawn from pi, so the mean over
    # them estimates it without a sum over the vocabulary, although a single token may be below 0.
    return logprobs - ref_logprobs


def k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(B,R) half the squared log-ratio in nats: biased, low variance, never negative. Otherwise as `k1`."""
    # While the two policies are close, KL is nearly half the mean squared log-ratio (its second-order expansion), so k2
    # has about the mean of k1, and less noise because nothing cancels.
    return k1(logprobs, ref_logprobs).square() / 2


def sequence_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
    """(B,) KL to the reference of each response, in nats: the sum of `k1` through EOS.

    `logprobs` and `ref_logprobs` are (B,R), `mask` (B,R) bool is True at a real token. Gradient flows to real tokens.
    """
    # log pi(y|x) = sum over t of log pi(y_t | x, y_<t), so the log-ratio of a whole response is a sum, not a mean
    return masked_sum(k1(logprobs, ref_logprobs), mask, dim=1)


@dataclass
class FixedKL:
    """A KL coefficient that never changes. As with the adaptive one, `coef` is all that is saved to resume."""

    coef: float

    def update(self, kl_nats: float, episodes: int) -> None:
        """Changes nothing."""


@dataclass
class AdaptiveKL:
    """A KL coefficient that is adjusted until responses are `target` nats from the reference.

    `horizon` is in episodes: the larger, the slower. It must exceed a fifth of the episodes of one update, or the
    coefficient could change its sign.

    Source: Ziegler et al. 2019 (arXiv 1909.08593), section 2.2.
    """

    coef: float
    target: float
    horizon: float

    def update(self, kl_nats: float, episodes: int) -> None:
        """Raises `coef` if `kl_nats`, the mean a response of the last `episodes`, is above `target`, else lowers it."""
        assert math.isfinite(kl_nats), f"the KL that adjusts the coefficient is {kl_nats}"
        assert self.horizon > MAX_ERROR * episodes, f"horizon {self.horizon} is too short for {episodes} episodes"
        # the paper: e_t = clip((KL - target) / target, -0.2, 0.2) and beta_{t+1} = beta_t (1 + K e_t), here with
        # K = episodes / horizon, so that the speed does not depend on how many episodes one update has
        error = min(max(kl_nats / self.target - 1, -MAX_ERROR), MAX_ERROR)
        self.coef *= 1 + error * episodes / self.horizon


KLController = FixedKL | AdaptiveKL
