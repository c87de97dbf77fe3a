"""Every loss of the pipeline: clipped policy and value losses, Bradley-Terry pairs, cross-entropy.

Losses come back one a token, 0 in the padding, without a mean: callers divide the sum by the token count of the whole
minibatch, so that the split into microbatches cannot change the gradient. Weights (vf_coef, ptx_coef) are up to the
stages.
"""

import torch
from torch import Tensor
from torch.nn import functional

from engine.algorithms.logprobs import token_logprobs
from engine.algorithms.masked import masked_sum, zero_padding


def ratios(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor) -> Tensor:
    """(B,R) probability of each token under the current policy over that when it was sampled; 1 in the padding.

    Inputs (B,R) in nats, `mask` bool, True at a real token. Gradient flows to the real `logprobs`. For a mean, use
    `masked_mean`: the ones in the padding are not data.
    """
    # r_t = pi(y_t) / pi_old(y_t), by which a rollout of the old policy is reweighted to speak about the current one
    return zero_padding(logprobs - old_logprobs, mask).exp()


def policy_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip_range: float) -> Tensor:
    """(B,R) clipped policy loss max(-A ratio, -A clip(ratio, 1 - c, 1 + c)) of each token; 0 in the padding.

    All (B,R), log-probabilities in nats, `mask` bool, True at a real token. Gradient flows to the real `logprobs` where
    the clip does not decide; `old_logprobs` and `advantages` are constants.

    Source: Schulman et al. 2017 (arXiv 1707.06347), equation 7, negated.
    """
    # L^CLIP is the smaller of two objectives; negated it is the larger of two losses. Taking the worse of the two makes
    # it a pessimistic bound: a token whose probability moved past 1 +- c in the direction that helps gets no more
    # gradient, but one that moved the wrong way always gets it, however far away it is.
    unclipped, clipped = _policy_losses(logprobs, old_logprobs, advantages, mask, clip_range)
    return torch.maximum(unclipped, clipped)


def policy_clipped(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip_range: float
) -> Tensor:
    """(B,R) bool, True where the clip decides `policy_loss` and so stops its gradient; False in the padding.

    Arguments as for `policy_loss`. Its sum over the minibatch's token count is the clip fraction.
    """
    unclipped, clipped = _policy_losses(logprobs, old_logprobs, advantages, mask, clip_range)
    return clipped > unclipped


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float) -> Tensor:
    """(B,R) clipped value loss, half the larger squared error of the value and of the clipped value; 0 in padding.

    All (B,R), in units of the score, `mask` bool, True at a real token. Gradient flows to the real `values`;
    `old_values` (of the rollout) and `returns` are constants; `clip` is the value_clip_range. The half is included,
    vf_coef is not.

    Source: OpenAI baselines ppo2; "The N implementation details of RLHF with PPO" (value clipping).
    """
    # the maximum again, for the same reason: a value that moved further than the clip towards its return gets no more
    # gradient, one that moved away from it does
    unclipped, clipped = _value_losses(values, old_values, returns, mask, clip)
    return torch.maximum(unclipped, clipped)


def value_clipped(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float) -> Tensor:
    """(B,R) bool, True where the clip decides `value_loss`; False in the padding. Arguments as for `value_loss`."""
    unclipped, clipped = _value_losses(values, old_values, returns, mask, clip)
    return clipped > unclipped


def pairwise_loss(scores: Tensor, ranks: Tensor) -> Tensor:
    """Mean of -log sigmoid(better - worse) over the untied pairs of one prompt's responses, a scalar in nats.

    `scores` (K,); `ranks` (K,) integers, 0 the best, equal for a tie. Gradient flows to `scores`; if all are tied, the
    loss and its gradient are 0.

    Source: Ouyang et al. 2022, equation 1; ties are left out of the mean as well as of the sum.
    """
    # Bradley-Terry: P(w beats l) = exp(r_w) / (exp(r_w) + exp(r_l)) = sigmoid(r_w - r_l), so this is the negative
    # log-likelihood of the labels. Only differences matter: a constant added to all scores changes nothing.
    better = ranks.unsqueeze(1) < ranks.unsqueeze(0)  # (K,K), True where the row beats the column
    margins = scores.unsqueeze(1) - scores.unsqueeze(0)  # r_w - r_l
    # The mean over the K(K - 1)/2 pairs is the paper's 1 / (K choose 2): a ranking of nine responses is one data
    # point, not 36 that overfit together. logsigmoid stays finite where log(sigmoid(x)) would be log 0.
    return masked_sum(-functional.logsigmoid(margins), better) / better.sum().clamp(min=1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(...) negative log-probability in nats of each target token, without a mean.

    `logits` (...,V) already predict `targets` (...) int64: the shift by one is in logprobs.py, and padding never gets
    here, since the unembedding is applied to tokens with a loss alone. Gradient flows to the logits.
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
    """The two sides of `value_loss`'s maximum, (B,R) each: of the value as it is, and of one kept near the old."""
    values, old_values, returns = (zero_padding(x, mask) for x in (values, old_values, returns))
    near = values.clamp(old_values - clip, old_values + clip)
    return (values - returns).square() / 2, (near - returns).square() / 2
