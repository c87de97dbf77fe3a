"""From scores to the rewards, advantages and returns of one rollout.

Everything here is response-aligned (B,R) under one mask and constant during the update: no gradient flows. Scores are
already normalized by scoring.py. Whitening is masked.whiten; the stage applies it to the advantages alone, after the
returns are formed: a value network predicts returns, which must stay in the units of the score.
"""

import torch
from torch import Tensor

from engine.algorithms.kl import k1
from engine.algorithms.masked import zero_padding


@torch.no_grad()
def token_rewards(scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """(B,R) rewards: -kl_coef times the log-ratio at every real token, plus the score at the last; 0 in the padding.

    `scores` is (B,), `logprobs` and `ref_logprobs` (B,R) in nats, `mask` (B,R) bool, True through EOS. `kl_coef` is the
    controller's current coefficient, in score per nat. No gradient flows.

    Source: Ziegler et al. 2019, equation 2; Ouyang et al. 2022, equation 2, without the pretraining term.
    """
    _assert_response_mask(mask)
    # The paper's R(x, y) = r(x, y) - beta log(pi(y|x) / pi_ref(y|x)), taken apart: the log-ratio of a response is a sum
    # over its tokens, so each token pays for its own part, and credit for staying close is given where it is due.
    rewards = zero_padding(-kl_coef * k1(logprobs, ref_logprobs), mask)
    # the reward model judges whole responses, so r(x, y) comes with the last token
    last = mask.sum(dim=1, keepdim=True) - 1
    return rewards.scatter_add(1, last, scores.to(rewards.dtype).unsqueeze(1))


@torch.no_grad()
def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """(B,R) advantages, not whitened, and (B,R) returns, which are advantages + values; both 0 in the padding.

    `rewards` (B,R); `values` (B,R), each the value before its token; `mask` (B,R) bool, True through EOS, after which
    the value is 0. `gamma` and `lam` are in 0..1. No gradient flows.

    Source: Schulman et al. 2015 (arXiv 1506.02438), equation 16.
    """
    _assert_response_mask(mask)
    # zeros in the padding make V = 0 after EOS: the episode is over, and nothing more can be earned
    rewards, values = zero_padding(rewards, mask), zero_padding(values, mask)
    advantages = torch.zeros_like(values)
    next_value = next_advantage = values.new_zeros(values.shape[0])
    # Equation 16 is A_t = sum over l of (gamma lam)^l delta_{t+l}. Backward in time that is one recursion,
    # A_t = delta_t + gamma lam A_{t+1}. With lam = 0 it trusts the value network (biased), with lam = 1 the sampled
    # rewards alone (noisy).
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]  # r_t + gamma V(s_{t+1}) - V(s_t)
        next_advantage = delta + gamma * lam * next_advantage
        next_value = values[:, t]
        advantages[:, t] = next_advantage
    return advantages, advantages + values  # A_t + V(s_t): the TD(lambda) estimate of the return


def _assert_response_mask(mask: Tensor) -> None:
    """Asserts that each row of `mask` is at least one True followed by nothing but False."""
    assert bool(mask[:, 0].all()), f"a response without tokens: lengths {mask.sum(dim=1).tolist()}"
    assert bool((mask[:, 1:] <= mask[:, :-1]).all()), "a response mask with a gap, or padding on the left"
