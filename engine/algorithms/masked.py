"""Sums, means and whitening over the real tokens of a padded batch.

Padding is replaced before any arithmetic, never multiplied by 0 afterwards: whatever it contains (99, infinity, NaN)
reaches neither the result nor a gradient. What is averaged and why is up to the callers.
"""

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-8  # added to a variance before its root, so that constant values whiten to 0 and not to NaN


def zero_padding(x: Tensor, mask: Tensor) -> Tensor:
    """`x` with 0 wherever `mask` is False.

    `mask` is bool, True at a real token, and broadcasts to `x`. Gradient flows to real tokens and is 0 in the padding.
    """
    assert mask.dtype == torch.bool, f"a mask must be bool, not {mask.dtype}"
    # masked_fill and not x * mask: infinity * 0 is NaN, and so is the gradient of a product with infinity
    return x.masked_fill(~mask, 0)


def masked_sum(x: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Sum of the real tokens of `x`, over `dim` or over everything; 0 if there are none.

    `x` and the bool `mask` (True at a real token) have the same shape. Gradient flows to the real tokens.
    """
    assert x.shape == mask.shape, f"x is {tuple(x.shape)}, its mask {tuple(mask.shape)}"
    return zero_padding(x, mask).sum(dim=dim)


def masked_mean(x: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Mean of the real tokens of `x`, over `dim` or over everything: their sum divided by their number.

    Shapes, mask and gradient as in `masked_sum`. Asserts that there is a real token in each mean.
    """
    count = mask.sum(dim=dim)
    assert bool((count > 0).all()), f"a mean over no real token: counts {count.tolist()}"
    # all tokens of a batch count the same: a mean of each response's mean would weight tokens of short responses more
    return masked_sum(x, mask, dim) / count


def masked_var(x: Tensor, mask: Tensor) -> Tensor:
    """Population variance (divided by n, not n - 1) of all real tokens of `x`, a scalar.

    Shapes, mask and gradient as in `masked_sum`.
    """
    real = zero_padding(x, mask)  # before squaring, or the gradient meets what is in the padding
    return masked_mean((real - masked_mean(real, mask)).square(), mask)


def whiten(x: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
    """`x` scaled to variance 1 over its real tokens, and shifted to mean 0; padding becomes 0.

    With `shift_mean` False the mean stays what it was (for rewards); with True it becomes 0 (for advantages). Shapes
    and mask as in `masked_sum`. Gradient would flow through mean and variance too, so callers pass constants.

    Source: "The N implementation details of RLHF with PPO" (reward whitening, with the population variance).
    """
    real = zero_padding(x, mask)
    mean = masked_mean(real, mask)
    # These tokens are the whole population that the update uses, not a sample from which to estimate a variance. The
    # original code uses tf.nn.moments, which divides by n; torch.var would divide by n - 1.
    whitened = (real - mean) * torch.rsqrt(masked_var(real, mask) + VARIANCE_FLOOR)
    return zero_padding(whitened if shift_mean else whitened + mean, mask)
