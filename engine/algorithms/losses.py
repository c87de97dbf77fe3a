"""Every loss of the pipeline: clipped policy and value losses, Bradley-Terry pairs, cross-entropy.

Token losses come back one a token, 0 in the padding, with no mean taken: callers divide the sum by the token count of
the whole minibatch, so that the split into microbatches cannot change the gradient. Weights (vf_coef, ptx_coef) are
left to the stages.
"""

import torch
from torch import Tensor
from torch.nn import functional

from engine.algorithms.logprobs import token_logprobs
from engine.algorithms.masked import masked_sum, zero_padding


def ratios(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor) -> Tensor:
    """(B,R) probability of each token under the policy now over when it was sampled; 1 in the padding.

    Inputs (B,R) in nats, `mask` bool, True at a real token. Gradient flows to the real `logprobs`. For a mean, use
    `masked_mean`: the padding's ones are no data.
    """
    return zero_padding(logprobs - old_logprobs, mask).exp()


def policy_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip_range: float) -> Tensor:
    """(B,R) clipped policy loss max(-A ratio, -A clip(ratio, 1 - c, 1 + c)) of each token; 0 in the padding.

    All (B,R), log-probabilities in nats, `mask` bool, True at a real token. Gradient flows to the real `logprobs` where
    the clip does not hold it; `old_logprobs` and `advantages` are constants.

    Source: Schulman et al. 2017 (arXiv 1707.06347), equation 7, negated.
    """
    free, held = _policy_losses(logprobs, old_logprobs, advantages, mask, clip_range)
    return torch.maximum(free, held)


def policy_clipped(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip_range: float
) -> Tensor:
    """(B,R) bool, True where the clip decides `policy_loss` and so stops its gradient; False in the padding.

    Arguments as for `policy_loss`. Its sum over the minibatch's token count is the clip fraction.
    """
    free, held = _policy_losses(logprobs, old_logprobs, advantages, mask, clip_range)
    return held > free


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float) -> Tensor:
    """(B,R) clipped value loss, half the larger squared error of the value and of the clipped value; 0 in padding.

    All (B,R), in units of the score, `mask` bool, True at a real token. Gradient flows to the real `values`;
    `old_values` (of the rollout) and `returns` are constants; `clip` is the value_clip_range. The half is here,
    vf_coef is not.

    Source: OpenAI baselines ppo2; "The N implementation details of RLHF with PPO" (value clipping).
    """
    free, held = _value_losses(values, old_values, returns, mask, clip)
    return torch.maximum(free, held)


def value_clipped(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float) -> Tensor:
    """(B,R) bool, True where the clip decides `value_loss`; False in the padding. Arguments as for `value_loss`."""
    free, held = _value_losses(values, old_values, returns, mask, clip)
    return held > free


def pairwise_loss(scores: Tensor, ranks: Tensor) -> Tensor:
    """Mean of -log sigmoid(better - worse) over the untied pairs of one prompt's responses, a scalar in nats.

    `scores` (K,); `ranks` (K,) integers, 0 the best, equal for a tie. Gradient flows to `scores`; where all are tied
    the loss is 0 and so is its gradient.

    Source: Ouyang et al. 2022, equation 1; ties leave the mean as well as the sum.
    """
    better = ranks.unsqueeze(1) < ranks.unsqueeze(0)  # (K,K), True where row beats column
    margins = scores.unsqueeze(1) - scores.unsqueeze(0)
    return masked_sum(-functional.logsigmoid(margins), better) / better.sum().clamp(min=1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(...) negative log-probability in nats of each target token, with no mean taken.

    `logits` (...,V) already speak of `targets` (...) int64: the shift is in logprobs.py, and padding never gets here,
    since the unembedding is applied to tokens to learn alone. Gradient flows to the logits.
    """
    return -token_logprobs(logits, targets)


def _policy_losses(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip_range: float
) -> tuple[Tensor, Tensor]:
    """The two sides of `policy_loss`'s maximum, (B,R) each: with the ratio as it is, and clipped."""
    ratio = ratios(logprobs, old_logprobs, mask)
    advantages = zero_padding(advantages, mask)
    return -advantages * ratio, -advantages * ratio.clamp(1 - clip_range, 1 + clip_range)


def _value_losses(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    """The two sides of `value_loss`'s maximum, (B,R) each: of the value as it is, and held near the old."""
    values, old_values, returns = (zero_padding(x, mask) for x in (values, old_values, returns))
    held = values.clamp(old_values - clip, old_values + clip)
    return (values - returns).square() / 2, (held - returns).square() / 2
