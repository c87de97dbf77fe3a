"""One test for each defect of RLHF.md sections 4, 6 and 8 that can be written with the pure functions.

Each computes what the defective code would give as well, and asserts that the difference is seen.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.algorithms.advantages import gae, token_rewards
from engine.algorithms.kl import AdaptiveKL, k1, k2, sequence_kl
from engine.algorithms.logprobs import entropy, response_hidden, token_logprobs
from engine.algorithms.losses import cross_entropy, policy_loss, ratios, value_loss
from engine.algorithms.masked import masked_mean, masked_sum, masked_var, whiten

TOLERANCE = 1e-6
FLOAT64_TOLERANCE = 1e-12
SENTINEL = 1.0
"""What summarize_from_feedback_details and TRL write where there is no token: a log-probability above 0."""
MASK = torch.arange(5) < torch.tensor([[5], [2], [3], [1]])
LENGTHS = [5, 2, 3, 1]


def rollout(*, padding: float = 0.0, extra: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(4, 5 + extra) float64 logprobs, old logprobs and values with `padding` in the padding, and their mask."""
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64) * 0.3 - 1
    mask = torch.cat([MASK, torch.zeros(4, extra, dtype=torch.bool)], dim=1)
    logprobs, old_logprobs, values = torch.nn.functional.pad(wide, (0, extra)).masked_fill(~mask, padding)
    return logprobs, old_logprobs, values, mask


# RLHF.md section 4


def test_logprobs_are_not_one_position_off() -> None:
    """A model that is sure of the next token finds its own text certain, and one column off, impossible."""
    tokens = torch.tensor([[5, 1, 4, 2, 3, 0]])
    sure = torch.zeros(1, 6, 6)
    for t in range(5):
        sure[0, t, tokens[0, t + 1]] = 50.0
    aligned = token_logprobs(response_hidden(sure, 3), tokens[:, 3:])
    assert aligned.abs().max() < TOLERANCE
    for off in (sure[:, 1:4], sure[:, 3:6]):
        assert token_logprobs(off, tokens[:, 3:]).max() < -1


def test_sampling_and_training_share_one_temperature() -> None:
    """The probabilities a sampler draws from at temperature .5 are those that training sees, and not those at 1."""
    logits = torch.tensor([0.0, 1.0, 2.0])
    drawn_from = [math.exp(2 * logit) / sum(math.exp(2 * other) for other in range(3)) for logit in range(3)]
    every_token = torch.arange(3)
    at_half = token_logprobs(logits.expand(3, 3), every_token, temperature=0.5).exp()
    at_1 = token_logprobs(logits.expand(3, 3), every_token).exp()
    assert at_half.tolist() == pytest.approx(drawn_from, abs=TOLERANCE)
    assert (at_1 - at_half).abs().max() > 0.1


def test_the_kl_term_has_the_right_sign() -> None:
    """Moving away from the reference costs, whatever token is drawn: the expected reward is -kl_coef KL."""
    policy, reference = [0.8, 0.15, 0.05], [0.2, 0.3, 0.5]
    logprobs, ref_logprobs = (torch.tensor(p).log().unsqueeze(1) for p in (policy, reference))
    rewards = token_rewards(torch.zeros(3), logprobs, ref_logprobs, torch.ones(3, 1, dtype=torch.bool), kl_coef=0.1)
    assert rewards[0].item() < 0 < rewards[2].item()
    expected = sum(p * reward for p, reward in zip(policy, rewards[:, 0].tolist(), strict=True))
    kl = sum(p * math.log(p / q) for p, q in zip(policy, reference, strict=True))
    assert expected == pytest.approx(-0.1 * kl, abs=TOLERANCE)


def test_nothing_after_eos_counts() -> None:
    """Tokens and values after EOS change no number."""
    outcomes = []
    for padding in (0.0, -7.0):
        logprobs, old_logprobs, values, mask = rollout(padding=padding)
        rewards = token_rewards(torch.ones(4).double(), logprobs, old_logprobs, mask, kl_coef=0.1)
        advantages, returns = gae(rewards, values, mask, 1.0, 0.95)
        losses = policy_loss(logprobs, old_logprobs, whiten(advantages, mask), mask, 0.2)
        value_losses = value_loss(values, old_logprobs, returns, mask, 0.2)
        outcomes.append(torch.stack([rewards, advantages, returns, losses, value_losses]))
    assert torch.equal(outcomes[0], outcomes[1])
    assert not outcomes[0][:, ~MASK].any()


def test_entropy_is_of_the_distribution_not_of_sampled_tokens() -> None:
    logits = torch.tensor([math.log(0.99), math.log(0.01)])
    exact = -(0.99 * math.log(0.99) + 0.01 * math.log(0.01))
    of_the_token = [-token_logprobs(logits, torch.tensor(token)).item() for token in (0, 1)]
    assert entropy(logits).item() == pytest.approx(exact, abs=TOLERANCE)
    assert min(abs(each - exact) for each in of_the_token) > 0.04


def test_advantages_are_not_whitened_over_padding() -> None:
    x, mask = torch.tensor([[1.0, 3.0, 0.0, 0.0]]), torch.tensor([[True, True, False, False]])
    over_padding = (x - x.mean()) / x.std(correction=0)
    assert whiten(x, mask).tolist() == [pytest.approx([-1.0, 1.0, 0.0, 0.0], abs=TOLERANCE)]
    assert (over_padding[mask] - whiten(x, mask)[mask]).abs().max() > 0.5


# RLHF.md section 6


def test_whiten_does_not_add_the_mean_back() -> None:
    """torchtune's shift_mean=True does."""
    x, mask = torch.tensor([[11.0, 13.0]]), torch.ones(1, 2, dtype=torch.bool)
    assert whiten(x, mask, shift_mean=True).tolist() == [pytest.approx([-1.0, 1.0], abs=TOLERANCE)]
    assert whiten(x, mask, shift_mean=False).tolist() == [pytest.approx([11.0, 13.0], abs=1e-5)]


WRONG_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "not clipped": lambda ratio, advantage: -advantage * ratio,
    "clipped always": lambda ratio, advantage: -advantage * ratio.clamp(0.8, 1.2),
    "the smaller loss": lambda ratio, advantage: torch.minimum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)),
    "the sign turned": lambda ratio, advantage: torch.minimum(advantage * ratio, advantage * ratio.clamp(0.8, 1.2)),
    "a hundredth off": lambda ratio, advantage: (
        1.01 * torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2))
    ),
}


@pytest.mark.parametrize("name", WRONG_LOSSES)
def test_the_policy_loss_tolerance_can_fail(name: str) -> None:
    """torchtune's relative tolerance of 1e6 lets all of these pass; ours tells them apart from the golden values."""
    ratio, advantage = torch.tensor([[1.5, 1.5, 0.5, 0.5]]), torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    golden = torch.tensor([[-1.2, 1.5, -0.5, 0.8]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    ours = policy_loss(ratio.log(), torch.zeros(1, 4), advantage, mask, 0.2)
    torch.testing.assert_close(ours, golden, rtol=0, atol=TOLERANCE)
    assert not torch.allclose(WRONG_LOSSES[name](ratio, advantage), golden, rtol=0, atol=TOLERANCE)


POLARITY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "masked_sum": lambda x, mask: masked_sum(x, mask, dim=1),
    "masked_mean": lambda x, mask: masked_mean(x, mask, dim=1),
    "masked_var": lambda x, mask: torch.stack([masked_var(*pair) for pair in zip(x, mask, strict=True)]),
    "whiten": lambda x, mask: torch.stack([whiten(*pair)[0] for pair in zip(x, mask, strict=True)]),
    "sequence_kl": lambda x, mask: sequence_kl(x, torch.zeros_like(x), mask),
    "token_rewards": lambda x, mask: token_rewards(x[:, 0], x, -x, mask, 0.1).sum(dim=1),
    "gae": lambda x, mask: gae(x, -x, mask, 1.0, 0.95)[0].sum(dim=1),
    "ratios": lambda x, mask: ratios(x, -x, mask).prod(dim=1),
    "policy_loss": lambda x, mask: policy_loss(x, x - 0.1, x, mask, 0.2).sum(dim=1),
    "value_loss": lambda x, mask: value_loss(x, x - 0.1, -x, mask, 0.2).sum(dim=1),
}


@pytest.mark.parametrize("name", POLARITY)
def test_true_keeps_everywhere(name: str) -> None:
    """A mask that is True for the first two of five tokens gives what those two alone give."""
    x = rollout(padding=-2.0)[0]
    mask = (torch.arange(5) < 2).expand(4, 5)
    alone = POLARITY[name](x[:, :2], torch.ones(4, 2, dtype=torch.bool))
    torch.testing.assert_close(POLARITY[name](x, mask), alone, rtol=0, atol=FLOAT64_TOLERANCE)


QUANTITIES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "k1": lambda new, old, mask: masked_mean(k1(old, new), mask),
    "approxkl as k2": lambda new, old, mask: masked_mean(k2(old, new), mask),
    "ratio": lambda new, old, mask: masked_mean(ratios(new, old, mask), mask),
    "sequence_kl": sequence_kl,
    "policy_loss": lambda new, old, mask: policy_loss(new, old, torch.ones_like(new), mask, 0.2).sum(),
    "rewards": lambda new, old, mask: token_rewards(torch.ones(4), new, old, mask, 0.1).sum(dim=1),
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_sentinel_logprob_in_padding_reaches_nothing(name: str) -> None:
    logprobs, old_logprobs, _, mask = rollout()
    clean = QUANTITIES[name](logprobs, old_logprobs, mask)
    for new_padding, old_padding in [(SENTINEL, SENTINEL), (SENTINEL, 0.0), (0.0, SENTINEL)]:
        new, old = logprobs.masked_fill(~mask, new_padding), old_logprobs.masked_fill(~mask, old_padding)
        assert torch.equal(QUANTITIES[name](new, old, mask), clean)


def test_entropy_of_padding_is_not_summed() -> None:
    logits = torch.zeros(4, 5, 8, dtype=torch.float64)
    assert masked_mean(entropy(logits), MASK).item() == pytest.approx(math.log(8), abs=FLOAT64_TOLERANCE)
    assert masked_sum(entropy(logits), MASK).item() == pytest.approx(sum(LENGTHS) * math.log(8), abs=TOLERANCE)


@pytest.mark.parametrize("name", QUANTITIES)
def test_padding_does_not_dilute_approxkl_and_ratio(name: str) -> None:
    """A longer row in the batch, hence more padding, changes no number."""
    narrow, wide = rollout(), rollout(extra=40)
    one, other = (QUANTITIES[name](new, old, mask) for new, old, _, mask in (narrow, wide))
    torch.testing.assert_close(one, other, rtol=0, atol=FLOAT64_TOLERANCE)


def test_approxkl_by_hand_beside_its_diluted_twin() -> None:
    new, old = torch.tensor([[-1.0, -1.0, 0.0, 0.0]]), torch.tensor([[-1.2, -0.8, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False, False]])
    assert masked_mean(k2(old, new), mask).item() == pytest.approx(0.02, abs=TOLERANCE)
    assert k2(old, new).mean().item() == pytest.approx(
        0.01, abs=TOLERANCE
    )  # the wrong value, which must not be reported


def test_the_coefficient_in_use_is_the_controllers() -> None:
    """lm-human-preferences prints a total at the initial coefficient. Here a controller holds one coefficient only."""
    controller = AdaptiveKL(coef=0.15, target=6.0, horizon=10_000)
    controller.update(kl_nats=9.0, episodes=512)
    logprobs, ref_logprobs, mask = torch.tensor([[-1.0]]), torch.tensor([[-11.0]]), torch.tensor([[True]])
    total = token_rewards(torch.tensor([2.0]), logprobs, ref_logprobs, mask, controller.coef).sum().item()
    assert total == pytest.approx(2 - 10 * 0.151536, abs=TOLERANCE)
    assert total != pytest.approx(2 - 10 * 0.15, abs=1e-3)
    assert [name for name, value in vars(controller).items() if value == 0.15] == []


def test_the_score_lands_on_eos_not_on_padding() -> None:
    """trl#3750. The last column is EOS only for the longest response."""
    rewards = token_rewards(torch.full((4,), 5.0), torch.zeros(4, 5), torch.zeros(4, 5), MASK, kl_coef=0.1)
    assert rewards.nonzero().tolist() == [[row, length - 1] for row, length in enumerate(LENGTHS)]
    assert rewards[rewards != 0].tolist() == [5.0] * 4


# RLHF.md section 8, and DESIGN.md section 6


def test_advantages_are_not_inference_tensors() -> None:
    """Tensors made under inference_mode cannot be saved for the backward pass of the losses."""
    logprobs, old_logprobs, values, mask = rollout()
    rewards = token_rewards(torch.ones(4), logprobs, old_logprobs, mask, 0.1)
    advantages, returns = gae(rewards, values, mask, 1.0, 0.95)
    assert not any(each.is_inference() for each in (rewards, advantages, returns))
    new, new_values = logprobs.clone().requires_grad_(), values.clone().requires_grad_()
    loss = policy_loss(new, old_logprobs, advantages, mask, 0.2) + value_loss(new_values, values, returns, mask, 0.2)
    assert all(gradient.any() for gradient in torch.autograd.grad(loss.sum(), (new, new_values)))


def _policy_term(weights: Tensor, rows: slice) -> Tensor:
    logprobs, old_logprobs, values, mask = (each[rows] for each in rollout())
    return policy_loss(logprobs * weights[0], old_logprobs, values, mask, 0.2)


def _value_term(weights: Tensor, rows: slice) -> Tensor:
    logprobs, old_logprobs, values, mask = (each[rows] for each in rollout())
    return value_loss(values * weights[0], old_logprobs, logprobs, mask, 0.2)


def _language_term(weights: Tensor, rows: slice) -> Tensor:
    logits = rollout()[0].unsqueeze(-1) * weights
    return cross_entropy(logits[rows][MASK[rows]], torch.ones(4, 5, dtype=torch.long)[rows][MASK[rows]])


@pytest.mark.parametrize("term", [_policy_term, _value_term, _language_term])
@pytest.mark.parametrize("microbatch", [1, 2, 3])
def test_microbatches_do_not_change_the_gradient(term: Callable[[Tensor, slice], Tensor], microbatch: int) -> None:
    weights = torch.tensor([1.1, 0.7], dtype=torch.float64, requires_grad=True)

    def gradient(loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, weights)[0]

    parts = [slice(start, start + microbatch) for start in range(0, 4, microbatch)]
    whole = gradient(term(weights, slice(0, 4)).sum() / MASK.sum())
    split = torch.stack([gradient(term(weights, rows).sum() / MASK.sum()) for rows in parts]).sum(dim=0)
    mean_of_means = torch.stack([gradient(term(weights, rows).sum() / MASK[rows].sum()) for rows in parts]).mean(dim=0)
    torch.testing.assert_close(split, whole, rtol=0, atol=FLOAT64_TOLERANCE)
    assert (mean_of_means - whole).abs().max() > 1e-3
