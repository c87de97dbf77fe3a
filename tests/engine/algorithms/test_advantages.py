"""Rewards and GAE: golden values, the definition as a double loop in float64, and invariance to the padding."""

import math

import pytest
import torch
from torch import Tensor

from engine.algorithms.advantages import gae, token_rewards
from engine.algorithms.kl import sequence_kl

TOLERANCE = 1e-6
FLOAT64_TOLERANCE = 1e-12
JUNK = [99.0, 1.0, math.inf, -math.inf, math.nan]
TWO_OF_THREE = torch.tensor([[True, True, False]])


def close(actual: Tensor, expected: list[list[float]]) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=0, atol=TOLERANCE)


def ragged(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """(6,7) float64 rewards and values, and a mask of lengths 1 to 7."""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 6, 7, generator=generator, dtype=torch.float64)
    lengths = torch.cat([torch.tensor([1, 7]), torch.randint(1, 8, (4,), generator=generator)])
    return rewards, values, torch.arange(7) < lengths.unsqueeze(1)


def slow_gae(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """The definition: advantage t is the sum over l of (gamma lam)^l delta(t + l), every delta computed again."""
    length, advantages = len(rewards), []
    for t in range(length):
        total = 0.0
        for later in range(t, length):
            next_value = values[later + 1] if later + 1 < length else 0.0
            total += (gamma * lam) ** (later - t) * (rewards[later] + gamma * next_value - values[later])
        advantages.append(total)
    return advantages


def test_gae_golden() -> None:
    rewards, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.25, 0.1]])
    advantages, returns = gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), gamma=1.0, lam=0.5)
    close(advantages, [[-0.10, 0.30, 0.90]])
    close(returns, [[0.40, 0.55, 1.00]])


def test_gae_golden_with_padding() -> None:
    rewards, values = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.5, 0.25, 99.0]])
    advantages, returns = gae(rewards, values, TWO_OF_THREE, gamma=1.0, lam=0.5)
    close(advantages, [[0.125, 0.75, 0.0]])
    close(returns, [[0.625, 1.0, 0.0]])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.8), (1.0, 0.0), (0.7, 1.0), (0.0, 0.5)])
def test_gae_against_a_double_loop(seed: int, gamma: float, lam: float) -> None:
    rewards, values, mask = ragged(seed)
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    for b, length in enumerate(mask.sum(dim=1).tolist()):
        slow = slow_gae(rewards[b, :length].tolist(), values[b, :length].tolist(), gamma, lam)
        expected = torch.tensor(slow + [0.0] * (7 - length), dtype=torch.float64)
        torch.testing.assert_close(advantages[b], expected, rtol=0, atol=FLOAT64_TOLERANCE)
        with_values = torch.where(mask[b], expected + values[b], 0.0)
        torch.testing.assert_close(returns[b], with_values, rtol=0, atol=FLOAT64_TOLERANCE)


def test_with_gamma_and_lam_1_returns_are_the_reward_to_go() -> None:
    rewards, values, mask = ragged(3)
    _, returns = gae(rewards, values, mask, gamma=1.0, lam=1.0)
    to_go = (rewards * mask).flip(1).cumsum(1).flip(1) * mask
    torch.testing.assert_close(returns, to_go, rtol=0, atol=FLOAT64_TOLERANCE)


@pytest.mark.parametrize("junk", JUNK)
def test_gae_does_not_see_the_padding(junk: float) -> None:
    rewards, values, mask = ragged(4)
    clean = gae(rewards * mask, values * mask, mask, 1.0, 0.95)
    dirty = gae(rewards.masked_fill(~mask, junk), values.masked_fill(~mask, junk), mask, 1.0, 0.95)
    for one, other in zip(clean, dirty, strict=True):
        assert torch.equal(one, other)
        assert not other[~mask].any()


def test_rewards_golden() -> None:
    logprobs, ref_logprobs = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.5, -1.0]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    close(token_rewards(torch.tensor([2.0]), logprobs, ref_logprobs, mask, kl_coef=0.1), [[-0.05, 2.10]])


def test_the_score_comes_at_the_last_real_token_of_each_row() -> None:
    mask = torch.tensor([[True, False, False], [True, True, True], [True, True, False]])
    rewards = token_rewards(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3, 3), torch.zeros(3, 3), mask, kl_coef=0.1)
    close(rewards, [[1.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 3.0, 0.0]])


def test_rewards_sum_to_the_score_less_the_penalty() -> None:
    logprobs, ref_logprobs, mask = ragged(5)
    scores = torch.arange(6.0, dtype=torch.float64)
    rewards = token_rewards(scores, logprobs, ref_logprobs, mask, kl_coef=0.3)
    expected = scores - 0.3 * sequence_kl(logprobs, ref_logprobs, mask)
    torch.testing.assert_close(rewards.sum(dim=1), expected, rtol=0, atol=FLOAT64_TOLERANCE)


@pytest.mark.parametrize("junk", JUNK)
def test_rewards_do_not_see_the_padding(junk: float) -> None:
    logprobs, ref_logprobs, mask = ragged(6)
    scores = torch.ones(6, dtype=torch.float64)
    clean = token_rewards(scores, logprobs * mask, ref_logprobs * mask, mask, 0.1)
    dirty = token_rewards(scores, logprobs.masked_fill(~mask, junk), ref_logprobs.masked_fill(~mask, junk), mask, 0.1)
    assert torch.equal(clean, dirty)
    assert not dirty[~mask].any()


def test_the_inputs_stay_as_they_were() -> None:
    rewards, values, mask = ragged(7)
    before = rewards.clone(), values.clone()
    token_rewards(rewards[:, 0], rewards, values, mask, 0.1)
    gae(rewards, values, mask, 1.0, 0.95)
    assert torch.equal(rewards, before[0]) and torch.equal(values, before[1])


def test_no_gradient_flows() -> None:
    rewards, values, mask = ragged(8)
    scores = torch.ones(6, dtype=torch.float64, requires_grad=True)
    made = token_rewards(scores, rewards.requires_grad_(), values.requires_grad_(), mask, 0.1)
    advantages, returns = gae(made, values, mask, 1.0, 0.95)
    assert not (made.requires_grad or advantages.requires_grad or returns.requires_grad)


def test_a_response_without_tokens_is_refused() -> None:
    mask = torch.tensor([[True, True], [False, False]])
    with pytest.raises(AssertionError, match=r"\[2, 0\]"):
        token_rewards(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 2), mask, 0.1)


@pytest.mark.parametrize("row", [[True, False, True], [False, True, True]])
def test_a_mask_with_a_gap_is_refused(row: list[bool]) -> None:
    with pytest.raises(AssertionError, match="response"):
        gae(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([row]), 1.0, 0.95)
