"""KL estimators and controllers: golden values, exact expectations, settling at the target."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.algorithms.kl import AdaptiveKL, FixedKL, KLController, k1, k2, sequence_kl

TOLERANCE = 1e-6
FOUR_DECIMALS = 5e-5
"""Half the last digit of golden values that are given to four decimals."""


def test_estimators_golden_at_log_ratio_ln_2() -> None:
    logprobs, ref_logprobs = torch.tensor([[-1.0]]), torch.tensor([[-1.0 - math.log(2)]])
    assert k1(logprobs, ref_logprobs).item() == pytest.approx(0.6931, abs=FOUR_DECIMALS)
    assert k2(logprobs, ref_logprobs).item() == pytest.approx(math.log(2) ** 2 / 2, abs=TOLERANCE)


def test_k1_expects_the_true_kl_and_k2_does_not() -> None:
    policy, reference = [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]
    exact = sum(p * math.log(p / q) for p, q in zip(policy, reference, strict=True))
    p, q = torch.tensor(policy).double(), torch.tensor(reference).double()
    expected = {each: (p * each(p.log(), q.log())).sum().item() for each in (k1, k2)}
    assert expected[k1] == pytest.approx(exact, abs=TOLERANCE)
    assert expected[k2] != pytest.approx(exact, abs=0.1)


@given(st.floats(-20, 20, width=32), st.floats(-20, 20, width=32))
def test_k2_is_never_negative(logprob: float, ref_logprob: float) -> None:
    assert k2(torch.tensor([logprob]), torch.tensor([ref_logprob])).item() >= 0


def test_sequence_kl_by_hand_is_the_sum_through_eos() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -0.5, 7.0]])
    ref_logprobs = torch.tensor([[-1.5, -1.0, -4.5], [-2.0, -1.0, -9.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    torch.testing.assert_close(sequence_kl(logprobs, ref_logprobs, mask), torch.tensor([1.0, 1.5]))


@pytest.mark.parametrize("junk", [99.0, 1.0, math.inf, -math.inf, math.nan])
def test_sequence_kl_does_not_see_the_padding(junk: float) -> None:
    logprobs = torch.tensor([[-1.0, junk]], requires_grad=True)
    kl = sequence_kl(logprobs, torch.tensor([[-2.0, junk]]), torch.tensor([[True, False]]))
    assert kl.tolist() == [1.0]
    assert torch.autograd.grad(kl.sum(), logprobs)[0].tolist() == [[1.0, 0.0]]


def test_adaptive_golden() -> None:
    controller = AdaptiveKL(coef=0.15, target=6.0, horizon=10_000)
    controller.update(kl_nats=9.0, episodes=512)
    assert controller.coef == pytest.approx(0.151536, abs=1e-9)


@pytest.mark.parametrize(
    ("kl_nats", "expected"),
    [
        (6.0, 0.15),
        (6.6, 0.15 * (1 + 0.1 * 0.0512)),
        (5.4, 0.15 * (1 - 0.1 * 0.0512)),
        (3.0, 0.15 * (1 - 0.2 * 0.0512)),
        (-1.0, 0.15 * (1 - 0.2 * 0.0512)),
    ],
)
def test_adaptive_by_hand(kl_nats: float, expected: float) -> None:
    controller = AdaptiveKL(coef=0.15, target=6.0, horizon=10_000)
    controller.update(kl_nats, episodes=512)
    assert controller.coef == pytest.approx(expected, abs=1e-12)


def test_adaptive_settles_a_policy_at_the_target() -> None:
    """A policy whose KL is inverse to the coefficient, as in best response to a linear reward."""
    controller = AdaptiveKL(coef=0.15, target=6.0, horizon=10_000)
    for _ in range(2_000):
        controller.update(kl_nats=0.3 / controller.coef, episodes=512)
    assert 0.3 / controller.coef == pytest.approx(6.0, abs=1e-3)


def test_fixed_stays() -> None:
    controller = FixedKL(0.05)
    controller.update(kl_nats=100.0, episodes=512)
    assert controller.coef == 0.05


@pytest.mark.parametrize("controller", [FixedKL(0.05), AdaptiveKL(0.05, target=6.0, horizon=1_000)])
def test_a_loaded_controller_continues_as_the_saved_one(controller: KLController) -> None:
    fresh = FixedKL(1.0) if isinstance(controller, FixedKL) else AdaptiveKL(1.0, target=6.0, horizon=1_000)
    controller.update(9.0, 512)
    fresh.coef = controller.coef
    for each in (controller, fresh):
        each.update(3.0, 512)
    assert fresh.coef == controller.coef


@pytest.mark.parametrize("kl_nats", [math.nan, math.inf])
def test_a_kl_that_is_not_finite_is_refused(kl_nats: float) -> None:
    with pytest.raises(AssertionError, match=str(kl_nats)):
        AdaptiveKL(0.15, target=6.0, horizon=10_000).update(kl_nats, episodes=512)


def test_a_horizon_that_could_change_the_sign_is_refused() -> None:
    with pytest.raises(AssertionError, match="100"):
        AdaptiveKL(0.15, target=6.0, horizon=100).update(0.0, episodes=512)
