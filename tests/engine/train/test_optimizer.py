"""Muon beside singular values, Adam beside torch's own, the schedule by hand, and a guard that fires in time."""

import math

import pytest
import torch
from torch import Tensor, nn

from engine.core.config import OptimizerConfig
from engine.core.errors import DivergedError
from engine.train.optimizer import (
    MUON_MOMENTUM,
    Muon,
    apply_gradients,
    check_finite,
    optimizers_for,
    orthogonalized,
    schedule,
)
from tests.support.tiny import language_model

TOLERANCE = 1e-6
POLAR_TOLERANCE = 0.35
"""Five quintic steps leave singular values between about .68 and 1.13; the exact orthogonal factor has 1."""
QUINTIC_TOLERANCE = 1e-4
"""Between the quintic on a float32 matrix and on its float64 singular values."""


def matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def slow_orthogonalised(x: Tensor) -> Tensor:
    """The quintic of Newton-Schulz on the singular values themselves, five times, in float64."""
    u, s, v = torch.linalg.svd(x.double() / (x.double().norm() + 1e-7), full_matrices=False)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    result: Tensor = u @ s.diag() @ v
    return result


@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (4, 9), (9, 4), (1, 5)])
def test_orthogonalised_against_singular_values(rows: int, columns: int) -> None:
    x = torch.stack([matrix(rows, columns, seed) * 10**seed for seed in range(3)])
    result = orthogonalized(x)
    for own, given in zip(result, x, strict=True):
        torch.testing.assert_close(own.double(), slow_orthogonalised(given), rtol=0, atol=QUINTIC_TOLERANCE)
        u, _, v = torch.linalg.svd(given, full_matrices=False)
        singular = torch.linalg.svdvals(own)
        assert (singular - 1).abs().max() < POLAR_TOLERANCE
        assert (own - u @ v).norm(2, dim=0).max() < POLAR_TOLERANCE * math.sqrt(min(rows, columns))


def test_muon_steps_by_hand() -> None:
    """Nesterov momentum, orthogonalized, scaled by sqrt(rows / columns) where tall, with decoupled decay."""
    start, lr, decay = matrix(6, 3), 0.1, 0.5
    parameter = nn.Parameter(start.clone())
    muon = Muon([parameter], lr, decay)
    expected, momentum = start.double(), torch.zeros(6, 3, dtype=torch.float64)
    for step in range(3):
        gradient = matrix(6, 3, seed=step + 1)
        parameter.grad = gradient.clone()
        muon.step()
        momentum = MUON_MOMENTUM * momentum + (1 - MUON_MOMENTUM) * gradient.double()
        direction = (1 - MUON_MOMENTUM) * gradient.double() + MUON_MOMENTUM * momentum
        expected = expected * (1 - lr * decay) - lr * math.sqrt(2) * slow_orthogonalised(direction)
        torch.testing.assert_close(parameter.detach().double(), expected, rtol=0, atol=QUINTIC_TOLERANCE)


def test_muon_leaves_a_matrix_without_gradient_alone() -> None:
    still, moved = nn.Parameter(matrix(3, 3)), nn.Parameter(matrix(3, 3))
    moved.grad = matrix(3, 3, seed=1)
    Muon([still, moved], 0.1, 0.5).step()
    assert torch.equal(still, matrix(3, 3)) and not torch.equal(moved, matrix(3, 3))


@pytest.mark.parametrize(
    ("step", "expected"),
    [(1, 0.1), (2, 0.55), (3, 0.95 * 0.5 * (1 + math.cos(math.pi / 4)) + 0.05), (4, 0.525), (6, 0.05), (9, 0.05)],
)
def test_schedule_by_hand(step: int, expected: float) -> None:
    """6 steps, 2 of warm-up from a tenth, a cosine of 4 down to .05."""
    assert schedule(step, 6, 2, 0.05) == pytest.approx(expected, abs=TOLERANCE)


def test_schedule_without_warmup_and_constant() -> None:
    assert schedule(3, 3, 0, 0.2) == pytest.approx(0.2)
    assert [schedule(step, 9, 0, 1.0) for step in range(1, 10)] == [1.0] * 9
    assert [schedule(step, 2, 5, 0.1) for step in (1, 2)] == pytest.approx([0.1, 0.28])  # warm-up longer than all


def test_every_parameter_has_one_place_and_only_matrices_decay() -> None:
    model = language_model()
    for muon_lr, expected in ((0.0, {"adam"}), (0.02, {"adam", "muon"})):
        found = optimizers_for(model, OptimizerConfig(weight_decay=0.3, muon_lr=muon_lr))
        assert found.keys() == expected
        groups = [group for optimizer in found.values() for group in optimizer.param_groups]
        held = [parameter for group in groups for parameter in group["params"]]
        assert sorted(map(id, held)) == sorted(map(id, model.parameters()))
        for group in groups:
            assert {p.dim() >= 2 for p in group["params"]} <= {group["weight_decay"] > 0}
    names = {id(p): name for name, p in model.named_parameters()}
    inner = {names[id(p)] for p in found["muon"].param_groups[0]["params"]}
    assert inner == {name for name, p in model.named_parameters() if ".layers." in name and p.dim() == 2}


def test_adam_has_the_configured_rates() -> None:
    config = OptimizerConfig(lr=0.01, betas=(0.7, 0.8), eps=0.1, max_grad_norm=1e9)
    model, reference = nn.Linear(3, 2), nn.Linear(3, 2)
    reference.load_state_dict(model.state_dict())
    found = optimizers_for(model, config, lr=0.02)
    theirs = torch.optim.Adam(reference.parameters(), lr=0.02 * 0.5, betas=(0.7, 0.8), eps=0.1)
    for step in range(3):
        for each in (model, reference):
            each(matrix(4, 3, seed=step)).square().sum().backward()
        apply_gradients(found, model.parameters(), 0.5, config.max_grad_norm, step)
        theirs.step()
        theirs.zero_grad()
    torch.testing.assert_close(model.weight, reference.weight, rtol=0, atol=TOLERANCE)


def with_gradients(*gradients: Tensor) -> nn.ParameterList:
    parameters = nn.ParameterList(nn.Parameter(torch.ones_like(gradient)) for gradient in gradients)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    return parameters


def test_gradients_are_clipped_and_the_norm_before_is_returned() -> None:
    parameters = with_gradients(torch.tensor([3.0]), torch.tensor([4.0]))
    sgd = torch.optim.SGD(parameters, lr=1.0)
    sgd.param_groups[0]["peak_lr"] = 1.0
    assert apply_gradients({"sgd": sgd}, parameters, 0.5, 1.0, 1) == pytest.approx(5.0)
    assert [p.item() for p in parameters] == pytest.approx([1 - 0.5 * 0.6, 1 - 0.5 * 0.8], abs=1e-5)
    assert all(p.grad is None for p in parameters)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_divergence_raises_before_any_parameter_changes(bad: float) -> None:
    parameters = with_gradients(torch.tensor([1.0]), torch.tensor([bad]))
    sgd = torch.optim.SGD(parameters, lr=1.0)
    sgd.param_groups[0]["peak_lr"] = 1.0
    with pytest.raises(
        DivergedError, match=r"the gradient became (nan|inf) at step 7; the last good checkpoint is kept"
    ):
        apply_gradients({"sgd": sgd}, parameters, 1.0, 1.0, 7)
    assert [p.item() for p in parameters] == [1.0, 1.0]


def test_a_loss_that_is_not_finite_is_one_sentence() -> None:
    check_finite(torch.tensor(3.0), "the loss", 1)
    with pytest.raises(DivergedError, match=r"the SFT loss became nan at step 12.*lower the learning rate"):
        check_finite(torch.tensor(math.nan), "the SFT loss", 12)
