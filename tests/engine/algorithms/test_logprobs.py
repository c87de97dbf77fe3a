"""Token log-probabilities, entropy and the shift by one: by hand, against torch, and token by token."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.algorithms.logprobs import entropy, response_hidden, response_positions, token_logprobs

TOLERANCE = 1e-6
FLOAT64_TOLERANCE = 1e-12


def random_logits(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def test_token_logprobs_by_hand() -> None:
    logits = torch.tensor([0.0, math.log(3)]).expand(2, 2)
    actual = token_logprobs(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(actual, torch.tensor([math.log(0.25), math.log(0.75)]), rtol=0, atol=TOLERANCE)


def test_temperature_divides_the_logits_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(9)]])  # at temperature 2 the odds of 9 become odds of 3
    actual = token_logprobs(logits, torch.tensor([1]), temperature=2.0)
    torch.testing.assert_close(actual, torch.tensor([math.log(0.75)]), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
def test_token_logprobs_and_entropy_against_torch(temperature: float) -> None:
    logits = random_logits(0, 4, 6, 11)
    tokens = torch.randint(0, 11, (4, 6), generator=torch.Generator().manual_seed(1))
    scaled = (logits / temperature).flatten(0, 1)
    cross_entropies = functional.cross_entropy(scaled, tokens.flatten(), reduction="none")
    entropies = torch.special.entr(scaled.softmax(dim=-1)).sum(dim=-1)
    for actual, expected in [
        (token_logprobs(logits, tokens, temperature), -cross_entropies),
        (entropy(logits, temperature), entropies),
    ]:
        assert actual.shape == (4, 6)
        torch.testing.assert_close(actual.flatten(), expected, rtol=0, atol=FLOAT64_TOLERANCE)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_gradient_is_one_hot_minus_probabilities(temperature: float) -> None:
    logits = random_logits(2, 7).requires_grad_()
    (gradient,) = torch.autograd.grad(token_logprobs(logits, torch.tensor(3), temperature), logits)
    weights = [math.exp(each / temperature) for each in logits.tolist()]
    expected = [((t == 3) - weight / sum(weights)) / temperature for t, weight in enumerate(weights)]
    torch.testing.assert_close(gradient, torch.tensor(expected).double(), rtol=0, atol=TOLERANCE)


def test_adding_a_constant_to_the_logits_changes_nothing() -> None:
    logits, tokens = random_logits(3, 5, 8), torch.tensor([0, 1, 2, 3, 4])
    for shift in (1e3, -1e3):
        torch.testing.assert_close(token_logprobs(logits + shift, tokens), token_logprobs(logits, tokens))


def test_half_precision_logits_give_float32() -> None:
    logits = random_logits(4, 3, 50)
    low = logits.to(torch.bfloat16)
    expected = torch.log_softmax(low.double(), dim=-1)[:, 7]
    actual = token_logprobs(low, torch.full((3,), 7))
    assert actual.dtype == torch.float32 == entropy(low).dtype
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=1e-5)


def test_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, -math.inf, 0.0, -math.inf], [0.0, -1e4, -1e4, -1e4]])
    expected = torch.tensor([math.log(4), math.log(2), 0.0])
    torch.testing.assert_close(entropy(logits), expected, rtol=0, atol=TOLERANCE)


def test_entropy_of_an_impossible_token_has_finite_gradient() -> None:
    logits = torch.tensor([0.0, 1.0, -math.inf], requires_grad=True)
    (gradient,) = torch.autograd.grad(entropy(logits), logits)
    assert gradient.isfinite().all() and gradient[0] != 0


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_not_above_0_is_refused(temperature: float) -> None:
    with pytest.raises(AssertionError, match="temperature"):
        token_logprobs(torch.zeros(1, 2), torch.tensor([0]), temperature)
    with pytest.raises(AssertionError, match="temperature"):
        entropy(torch.zeros(1, 2), temperature)


def test_response_positions_by_hand() -> None:
    assert list(range(7))[response_positions(7, 3)] == [3, 4, 5]
    assert list(range(4))[response_positions(4, 3)] == [0, 1, 2]


@pytest.mark.parametrize("width", [0, 4, 5])
def test_a_response_without_a_token_before_it_is_refused(width: int) -> None:
    with pytest.raises(AssertionError, match=f"{width} of 4"):
        response_positions(4, width)


def test_response_hidden_by_hand() -> None:
    hidden = torch.arange(2 * 5 * 1).view(2, 5, 1)
    assert response_hidden(hidden, 2).tolist() == [[[2], [3]], [[7], [8]]]


def test_response_hidden_passes_gradient_to_its_positions_only() -> None:
    hidden = torch.zeros(1, 5, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(response_hidden(hidden, 2).sum(), hidden)
    assert gradient[0, :, 0].tolist() == [0, 0, 1, 1, 0]


def test_response_logprobs_against_one_prefix_at_a_time() -> None:
    """A causal bag-of-tokens model: the slow version feeds each prefix alone and reads its last output."""
    generator = torch.Generator().manual_seed(5)
    table = torch.randn(9, 9, generator=generator, dtype=torch.float64)
    tokens, response_width = torch.randint(0, 9, (3, 8), generator=generator), 4

    def forward(ids: Tensor) -> Tensor:
        return table[ids].cumsum(dim=-2)

    fast = token_logprobs(response_hidden(forward(tokens), response_width), tokens[:, -response_width:])
    for row, ids in enumerate(tokens):
        for r, t in enumerate(range(4, 8)):
            slow = forward(ids[:t])[-1].log_softmax(dim=-1)[ids[t]]
            torch.testing.assert_close(fast[row, r], slow, rtol=0, atol=FLOAT64_TOLERANCE)
