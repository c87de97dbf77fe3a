"""Losses: golden values, slow code in plain floats, brute-forced pairs, gradients, invariance to the padding."""

import math
from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.algorithms.losses import (
    cross_entropy,
    pairwise_loss,
    policy_clipped,
    policy_loss,
    ratios,
    value_clipped,
    value_loss,
)

TOLERANCE = 1e-6
FLOAT64_TOLERANCE = 1e-12
FOUR_DECIMALS = 5e-5
"""Half the last digit of golden values that are given to four decimals."""
JUNK = [99.0, 1.0, -1e30, math.inf, -math.inf, math.nan]
LN_3 = math.log(3)


def ragged(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(5,6) float64 values: new, old (about 1 away from new) and third; and a mask of lengths 1 to 6."""
    generator = torch.Generator().manual_seed(seed)
    old, noise, third = torch.randn(3, 5, 6, generator=generator, dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor([[1], [6], [3], [4], [2]])
    return old + noise, old, third, mask


def one_token(value: float) -> Tensor:
    return torch.tensor([[value]])


TRUE = torch.tensor([[True]])


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "clipped"),
    [(1.5, 1.0, -1.2, True), (1.5, -1.0, 1.5, False), (0.5, 1.0, -0.5, False), (0.5, -1.0, 0.8, True)],
)
def test_policy_golden(ratio: float, advantage: float, expected: float, clipped: bool) -> None:
    logprobs = one_token(-2.0 + math.log(ratio)).requires_grad_()
    arguments = (logprobs, one_token(-2.0), one_token(advantage), TRUE, 0.2)
    loss = policy_loss(*arguments)
    assert ratios(*arguments[:2], TRUE).item() == pytest.approx(ratio, abs=TOLERANCE)
    assert loss.item() == pytest.approx(expected, abs=TOLERANCE)
    assert policy_clipped(*arguments).item() is clipped
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    assert gradient.item() == pytest.approx(0.0 if clipped else -advantage * ratio, abs=TOLERANCE)


def slow_policy_loss(logprob: float, old_logprob: float, advantage: float, clip_range: float) -> tuple[float, bool]:
    ratio = math.exp(logprob - old_logprob)
    clipped = min(max(ratio, 1 - clip_range), 1 + clip_range)
    return -min(ratio * advantage, clipped * advantage), clipped * advantage < ratio * advantage


@pytest.mark.parametrize("clip_range", [0.05, 0.2, 0.5])
def test_policy_against_slow_code(clip_range: float) -> None:
    logprobs, old_logprobs, advantages, mask = ragged(0)
    losses = policy_loss(logprobs, old_logprobs, advantages, mask, clip_range)
    clipped = policy_clipped(logprobs, old_logprobs, advantages, mask, clip_range)
    assert 0 < clipped.sum() < mask.sum()
    for b, r in mask.nonzero().tolist():
        logprob, old_logprob, advantage = (each[b, r].item() for each in (logprobs, old_logprobs, advantages))
        slow_loss, slow_clipped = slow_policy_loss(logprob, old_logprob, advantage, clip_range)
        assert losses[b, r].item() == pytest.approx(slow_loss, abs=FLOAT64_TOLERANCE)
        assert clipped[b, r].item() is slow_clipped


def test_at_ratio_1_the_policy_gradient_is_minus_the_advantage() -> None:
    logprobs, _, advantages, mask = ragged(1)
    logprobs.requires_grad_()
    losses = policy_loss(logprobs, logprobs.detach(), advantages, mask, 0.2)
    (gradient,) = torch.autograd.grad(losses.sum(), logprobs)
    assert torch.equal(losses, torch.where(mask, -advantages, 0.0))
    assert torch.equal(gradient, torch.where(mask, -advantages, 0.0))


def test_value_golden() -> None:
    values = one_token(1.5).requires_grad_()
    arguments = (values, one_token(1.0), one_token(0.2), TRUE, 0.2)
    assert value_loss(*arguments).item() == pytest.approx(0.845, abs=TOLERANCE)
    assert not value_clipped(*arguments).item()
    (gradient,) = torch.autograd.grad(value_loss(*arguments).sum(), values)
    assert gradient.item() == pytest.approx(1.3, abs=TOLERANCE)


def test_value_clipped_near_the_old_by_hand() -> None:
    values = one_token(1.5).requires_grad_()
    arguments = (values, one_token(1.0), one_token(2.0), TRUE, 0.2)  # held at 1.2: .5 max(.5^2, .8^2)
    assert value_loss(*arguments).item() == pytest.approx(0.32, abs=TOLERANCE)
    assert value_clipped(*arguments).item()
    assert torch.autograd.grad(value_loss(*arguments).sum(), values)[0].item() == 0


@pytest.mark.parametrize("clip", [0.05, 0.2, 0.5])
def test_value_against_slow_code(clip: float) -> None:
    values, old_values, returns, mask = ragged(2)
    losses = value_loss(values, old_values, returns, mask, clip)
    clipped = value_clipped(values, old_values, returns, mask, clip)
    assert 0 < clipped.sum() < mask.sum()
    for b, r in mask.nonzero().tolist():
        value, old, target = (each[b, r].item() for each in (values, old_values, returns))
        held = min(max(value, old - clip), old + clip)
        assert losses[b, r].item() == pytest.approx(
            0.5 * max((value - target) ** 2, (held - target) ** 2), abs=FLOAT64_TOLERANCE
        )
        assert clipped[b, r].item() is ((held - target) ** 2 > (value - target) ** 2)


def test_inside_the_clip_the_value_gradient_is_the_error() -> None:
    values, _, returns, mask = ragged(3)
    values.requires_grad_()
    losses = value_loss(values, values.detach() + 0.1, returns, mask, 0.2)
    (gradient,) = torch.autograd.grad(losses.sum(), values)
    expected = torch.where(mask, values - returns, 0.0).detach()
    torch.testing.assert_close(gradient, expected, rtol=0, atol=FLOAT64_TOLERANCE)


ThreeInputs = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
TOKEN_LOSSES: dict[str, ThreeInputs] = {
    "policy_loss": lambda new, old, third, mask: policy_loss(new, old, third, mask, 0.2),
    "value_loss": lambda new, old, third, mask: value_loss(new, old, third, mask, 0.2),
    "ratios": lambda new, old, third, mask: ratios(new, old, mask),
}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", TOKEN_LOSSES)
def test_padding_reaches_neither_loss_nor_gradient(name: str, junk: float) -> None:
    *inputs, mask = ragged(4)
    results, gradients = [], []
    for filler in (0.0, junk):
        new, old, third = (each.masked_fill(~mask, filler) for each in inputs)
        results.append(TOKEN_LOSSES[name](new.requires_grad_(), old, third, mask))
        gradients.append(torch.autograd.grad(results[-1].sum(), new)[0])
    assert torch.equal(results[0], results[1])
    assert torch.equal(gradients[0], gradients[1])
    assert (results[1][~mask] == (1 if name == "ratios" else 0)).all()
    assert not gradients[1][~mask].any()


@pytest.mark.parametrize("junk", JUNK)
def test_padding_is_never_counted_as_clipped(junk: float) -> None:
    *inputs, mask = ragged(5)
    new, old, third = (each.masked_fill(~mask, junk) for each in inputs)
    assert not policy_clipped(new, old, third, mask, 0.2)[~mask].any()
    assert not value_clipped(new, old, third, mask, 0.2)[~mask].any()


@pytest.mark.parametrize(("margin", "expected"), [(0.0, 0.6931), (LN_3, 0.2877), (-LN_3, 1.3863)])
def test_pairwise_golden(margin: float, expected: float) -> None:
    loss = pairwise_loss(torch.tensor([margin, 0.0]), torch.tensor([0, 1]))
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, abs=FOUR_DECIMALS)


def test_pairwise_golden_of_three() -> None:
    loss = pairwise_loss(torch.tensor([LN_3, 0.0, -LN_3]), torch.tensor([0, 1, 2]))
    assert loss.item() == pytest.approx(0.2269, abs=FOUR_DECIMALS)


@pytest.mark.parametrize(
    "ranks", [[0, 1], [3, 0, 1, 2], [0, 0, 1, 2], [1, 0, 1, 0], [0, 0, 0, 0, 1], [4, 2, 0, 2, 8, 1, 3, 3, 7]]
)
def test_pairwise_against_brute_force_with_ties_dropped(ranks: list[int]) -> None:
    scores = torch.randn(len(ranks), generator=torch.Generator().manual_seed(6), dtype=torch.float64) * 3
    losses = []
    for one, other in combinations(range(len(ranks)), 2):
        if ranks[one] != ranks[other]:
            winner, loser = (one, other) if ranks[one] < ranks[other] else (other, one)
            losses.append(math.log1p(math.exp(scores[loser].item() - scores[winner].item())))
    actual = pairwise_loss(scores, torch.tensor(ranks)).item()
    assert actual == pytest.approx(sum(losses) / len(losses), abs=FLOAT64_TOLERANCE)


def test_pairwise_gradient_by_hand() -> None:
    scores = torch.tensor([LN_3, 0.0], requires_grad=True)  # sigmoid(-ln 3) = 1/4
    (gradient,) = torch.autograd.grad(pairwise_loss(scores, torch.tensor([0, 1])), scores)
    assert gradient.tolist() == pytest.approx([-0.25, 0.25], abs=TOLERANCE)


def test_pairwise_does_not_see_a_shift_of_all_scores() -> None:
    scores, ranks = torch.tensor([1.0, 2.0, 4.0]).double(), torch.tensor([1, 0, 1])
    torch.testing.assert_close(pairwise_loss(scores + 100, ranks), pairwise_loss(scores, ranks))


def test_pairwise_stays_finite_at_huge_margins() -> None:
    scores = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = pairwise_loss(scores, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(2e4)
    assert torch.autograd.grad(loss, scores)[0].tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("ranks", [[0], [0, 0], [2, 2, 2, 2]])
def test_pairwise_of_ties_alone_is_0_with_zero_gradient(ranks: list[int]) -> None:
    scores = torch.arange(float(len(ranks)), requires_grad=True)
    loss = pairwise_loss(scores, torch.tensor(ranks))
    assert loss.item() == 0
    assert torch.autograd.grad(loss, scores)[0].tolist() == [0.0] * len(ranks)


def test_cross_entropy_by_hand() -> None:
    losses = cross_entropy(torch.tensor([[0.0, LN_3], [0.0, LN_3]]), torch.tensor([1, 0]))
    torch.testing.assert_close(losses, torch.tensor([math.log(4 / 3), math.log(4)]), rtol=0, atol=TOLERANCE)


def test_cross_entropy_against_torch() -> None:
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(5, 6, 11, generator=generator, dtype=torch.float64).requires_grad_()
    targets = torch.randint(0, 11, (5, 6), generator=generator)
    ours = cross_entropy(logits, targets)
    theirs = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(5, 6)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=FLOAT64_TOLERANCE)
    gradients = [torch.autograd.grad(losses.sum(), logits)[0] for losses in (ours, theirs)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=FLOAT64_TOLERANCE)
