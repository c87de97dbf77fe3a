"""Settings for a reward model that trains on few comparisons, and a warning if others are set.

A hundred comparisons should be neither ignored nor memorized. Measured on `tiny` by tests/bench/round.py.
"""

import shlex
from collections.abc import Collection

from engine.core.config import RmConfig

SEEN = 600  # comparisons that a reward model should see, counting repetitions
MAX_EPOCHS = 10
LR_SHARE = 0.3  # of the usual peak, for a pretrained reward model
WARMUP_STEPS = 2
ENOUGH = 0.5  # fraction of the recommended epochs below which a warning is given


def recommended_epochs(comparisons: int) -> float:
    """How many epochs a reward model should train on this many comparisons."""
    return min(MAX_EPOCHS, max(1.0, round(SEEN / comparisons, 1)))


def recommended_settings(config: RmConfig, comparisons: int, warm: bool) -> dict[str, float]:
    """Recommended settings by name for this many comparisons; `warm` means a pretrained reward model."""
    return {
        "rm.epochs": recommended_epochs(comparisons),
        **({"rm.lr": float(f"{LR_SHARE * config.lr:.2g}")} if warm else {}),
        "rm.muon_lr": 0.0,
        "rm.warmup_steps": min(WARMUP_STEPS, config.warmup_steps),
    }


def few_epochs_warning(
    run: str, config: RmConfig, comparisons: int, steps: int, *, typed: Collection[str], start: str, warm: bool
) -> str:
    """A warning that too few epochs are set for this many comparisons, or "" if they are enough.

    It gives the command to restart the stage of `run` with the recommended settings, except those that the user has
    `typed`, and from the reward model `start`, if any.
    """
    if config.epochs >= ENOUGH * recommended_epochs(comparisons):
        return ""
    fitting, now = recommended_settings(config, comparisons, warm or bool(start)), config.model_dump()
    others = [name for name in fitting if now[name.removeprefix("rm.")] != fitting[name] and name not in typed]
    options = [f"--init {shlex.quote(start)}"] * bool(start)
    options += [f"--set {name}={fitting[name]:g}" for name in dict.fromkeys(("rm.epochs", *others))]
    return (
        f"{comparisons} comparisons at rm.epochs {config.epochs:g} are {steps} steps, too few to learn from; "
        f"to train longer: slmctl rm --run {shlex.quote(run)} --fresh {' '.join(options)}"
    )
