"""Masked sums, means and whitening: by hand, against torch on real tokens alone, and invariance to the padding."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.algorithms.masked import masked_mean, masked_sum, masked_var, whiten, zero_padding

TOLERANCE = 1e-6
JUNK = [99.0, -1e30, math.inf, -math.inf, math.nan]
X = torch.tensor([[1.0, 2.0, 6.0], [5.0, -7.0, 4.0]])
MASK = torch.tensor([[True, True, True], [True, False, False]])


def close(actual: Tensor, expected: Tensor | list[float] | list[list[float]] | float, atol: float = TOLERANCE) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=0, atol=atol)


def ragged(seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """(16,9) values of mean about 3, with a mask of random lengths 1 to 9."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 9, generator=generator, dtype=dtype) * 2 + 3
    lengths = torch.randint(1, 10, (16, 1), generator=generator)
    return x, torch.arange(9) < lengths


def test_sums_by_hand() -> None:
    close(masked_sum(X, MASK), 14.0)
    close(masked_sum(X, MASK, dim=1), [9.0, 5.0])
    close(masked_sum(X, MASK, dim=0), [6.0, 2.0, 6.0])


def test_means_by_hand() -> None:
    close(masked_mean(X, MASK), 3.5)
    close(masked_mean(X, MASK, dim=1), [3.0, 5.0])
    close(masked_mean(X, MASK, dim=0), [3.0, 2.0, 6.0])


def test_variance_by_hand_is_biased() -> None:
    close(masked_var(X[:1], MASK[:1]), 14 / 3)


def test_whiten_golden() -> None:
    x, mask = torch.tensor([[1.0, 3.0, 99.0]]), torch.tensor([[True, True, False]])
    close(whiten(x, mask), [[-1.0, 1.0, 0.0]])


def test_whiten_without_shift_by_hand() -> None:
    x, mask = torch.tensor([[0.0, 4.0, 99.0]]), torch.tensor([[True, True, False]])
    close(whiten(x, mask, shift_mean=False), [[1.0, 3.0, 0.0]])


@pytest.mark.parametrize("seed", range(5))
def test_against_torch_on_the_real_tokens_alone(seed: int) -> None:
    x, mask = ragged(seed)
    close(masked_sum(x, mask), x[mask].sum())
    close(masked_mean(x, mask), x[mask].mean())
    close(masked_var(x, mask), x[mask].var(correction=0))
    rows = torch.stack([row[real].mean() for row, real in zip(x, mask, strict=True)])
    close(masked_mean(x, mask, dim=1), rows)


@pytest.mark.parametrize("seed", range(5))
def test_whitened_has_mean_0_and_variance_1(seed: int) -> None:
    x, mask = ragged(seed)
    real = whiten(x, mask)[mask]
    close(real.mean(), 0.0)
    close(real.var(correction=0), 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_without_shift_the_mean_stays_and_the_variance_is_1(seed: int) -> None:
    x, mask = ragged(seed)
    real = whiten(x, mask, shift_mean=False)[mask]
    close(real.mean(), x[mask].mean())
    close(real.var(correction=0), 1.0)


def test_whitening_does_not_see_scale_or_shift() -> None:
    x, mask = ragged(0)
    close(whiten(10 * x - 4, mask), whiten(x, mask))


def test_constants_whiten_to_0() -> None:
    close(whiten(torch.full((2, 3), 5.0), MASK), torch.zeros(2, 3))
    close(whiten(torch.full((1, 1), 5.0), torch.ones(1, 1, dtype=torch.bool)), [[0.0]])


FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "zero_padding": zero_padding,
    "masked_sum": masked_sum,
    "masked_sum by row": lambda x, mask: masked_sum(x, mask, dim=1),
    "masked_mean": masked_mean,
    "masked_mean by row": lambda x, mask: masked_mean(x, mask, dim=1),
    "masked_var": masked_var,
    "whiten": whiten,
    "whiten without shift": lambda x, mask: whiten(x, mask, shift_mean=False),
}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_padding_reaches_neither_result_nor_gradient(name: str, junk: float) -> None:
    x, mask = ragged(1)
    clean = x.masked_fill(~mask, 0).requires_grad_()
    dirty = x.masked_fill(~mask, junk).requires_grad_()
    weights = torch.arange(1.0, 1 + FUNCTIONS[name](x, mask).numel(), dtype=x.dtype)
    results = [FUNCTIONS[name](each, mask) for each in (clean, dirty)]
    assert torch.equal(results[0], results[1])
    gradients = [
        torch.autograd.grad((result.flatten() * weights).sum(), each)[0]
        for result, each in zip(results, (clean, dirty), strict=True)
    ]
    assert torch.equal(gradients[0], gradients[1])
    assert not gradients[1][~mask].any()


def test_results_are_0_in_the_padding() -> None:
    for shift_mean in (True, False):
        assert not whiten(X, MASK, shift_mean)[~MASK].any()


def test_a_mean_over_no_token_is_refused() -> None:
    empty = torch.tensor([[True, True], [False, False]])
    with pytest.raises(AssertionError, match=r"counts \[2, 0\]"):
        masked_mean(torch.ones(2, 2), empty, dim=1)


def test_a_mask_that_is_not_bool_is_refused() -> None:
    with pytest.raises(AssertionError, match="float32"):
        masked_sum(X, MASK.float())


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"\(2, 3\)"):
        masked_sum(X, MASK[:1])
