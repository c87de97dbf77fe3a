"""The optimizer of every stage: Adam, or Muon for the matrices inside the layers, a schedule, and one guarded step."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from engine.core.config import OptimizerConfig
from engine.core.errors import DivergedError

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic that pushes singular values towards 1
NEWTON_SCHULZ_STEPS = 5
MUON_MOMENTUM = 0.95


class Muon(Optimizer):
    """Momentum with each matrix update orthogonalized, so that no direction learns much faster than the others.

    Source: Jordan et al. 2024 (Muon). Unlike torch.optim.Muon it computes in the parameters' own dtype, since bfloat16
    is slow on CPU; matrices of one shape are orthogonalized together.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float):
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Updates every matrix that has a gradient; takes no closure and returns no loss."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                # An orthogonal update has spectral norm 1; the factor keeps the step's size alike across shapes.
                scale = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
                updates = orthogonalized(torch.stack([self._direction(parameter) for parameter in parameters]))
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-scale)

    def _direction(self, parameter: nn.Parameter) -> Tensor:
        """The gradient moved towards its running mean (Nesterov)."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(parameter.grad, 1 - MUON_MOMENTUM)
        # Nesterov: the step uses the mean with the new gradient counted once more, a look ahead along the momentum.
        momentum: Tensor = state["momentum"]
        return parameter.grad.lerp(momentum, MUON_MOMENTUM)


def orthogonalized(matrices: Tensor) -> Tensor:
    """Matrices (N,rows,columns) with all singular values near 1 and their singular vectors kept, by Newton-Schulz."""
    # An odd polynomial of a matrix acts on its singular values alone: U S V^T becomes U p(S) V^T. Iterating this one
    # drives every value in (0, 1] to about 1, with matrix products only; a singular value decomposition would be slow.
    a, b, c = NEWTON_SCHULZ
    tall = matrices.size(-2) > matrices.size(-1)
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)  # the iteration converges for singular values up to 1
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def optimizers_for(model: nn.Module, config: OptimizerConfig, lr: float | None = None) -> dict[str, Optimizer]:
    """Adam for all of `model` at rate `lr` (the configuration's if not given); with config.muon_lr, Muon for the
    matrices of its layers and Adam for the rest. Weight decay applies to matrices only.

    Source: Loshchilov and Hutter 2017 for the decoupled weight decay.
    """
    inner, matrices, others = [], [], []
    for name, parameter in model.named_parameters():
        # Decay pulls weights to 0, which keeps matrices small where the data does not ask for more.
        if parameter.dim() < 2:  # norms and biases: decay would pull a norm's scale away from 1
            others.append(parameter)
        elif config.muon_lr and ".layers." in name:
            inner.append(parameter)
        else:
            matrices.append(parameter)
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=lr or config.lr, betas=config.betas, eps=config.eps, fused=True)
    found: dict[str, Optimizer] = {"adam": adam}
    if inner:
        found["muon"] = Muon(inner, config.muon_lr, config.weight_decay)
    for optimizer in found.values():
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return found


def schedule(step: int, steps: int, warmup_steps: int, min_ratio: float) -> float:
    """The learning rate of step 1..`steps` as a share of its peak: linear warm-up from a tenth, then a cosine down to
    `min_ratio`. Source: Ouyang et al. 2022, appendix C.
    """
    # Adam divides by a running mean of squared gradients that starts from few samples, so its first steps are too
    # large; the warm-up keeps them small until that mean is reliable.
    if step <= warmup_steps:
        return 0.1 + 0.9 * (step - 1) / warmup_steps
    # After the warm-up, half a cosine from 1 to min_ratio: slow at both ends, fast between.
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


def check_finite(loss: Tensor, what: str, step: int) -> None:
    """Checks that `loss` is finite, before anything is updated.

    Raises: DivergedError naming what diverged and at which step.
    """
    if not bool(torch.isfinite(loss)):
        raise DivergedError(
            f"{what} became {loss.item()} at step {step}; the last good checkpoint is kept: "
            "lower the learning rate and start again with --fresh or --run NEW."
        )


def apply_gradients(
    optimizers: Mapping[str, Optimizer],
    parameters: Iterable[nn.Parameter],
    lr_share: float,
    max_grad_norm: float,
    step: int,
) -> float:
    """Clips the gradients to `max_grad_norm`, steps at `lr_share` of the peak rates and clears them; returns the norm
    before clipping.

    Raises: DivergedError for a norm that is not finite, before any parameter changes.
    """
    # Clip by the norm of all gradients together: the direction stays, and one bad batch cannot throw the weights away.
    norm = nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    check_finite(norm, "the gradient", step)
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * lr_share
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(norm)


def descend(
    loss: Tensor,
    what: str,
    model: nn.Module,
    optimizers: Mapping[str, Optimizer],
    config: OptimizerConfig,
    step: int,
    steps: int,
) -> dict[str, float]:
    """One optimizer step down the gradient of `loss`, called `what` in errors; returns loss, lr and grad_norm.

    Raises: DivergedError for a loss or gradient that is not finite, before any parameter changes.
    """
    check_finite(loss, what, step)
    loss.backward()  # adds to .grad, which apply_gradients has cleared after the last step
    lr_share = schedule(step, steps, config.warmup_steps, config.min_lr_ratio)
    norm = apply_gradients(optimizers, model.parameters(), lr_share, config.max_grad_norm, step)
    return {"loss": loss.item(), "lr": config.lr * lr_share, "grad_norm": norm}
