"""What a reward model is set to where comparisons are few, and what to say to a person who has it set otherwise.

A hundred must neither be forgotten nor learnt by heart. Measured on `tiny`: tests/bench/round.py. Torch-free.
"""

import shlex
from collections.abc import Collection

from engine.core.config import RmConfig

SEEN = 600  # comparisons that a reward model sees in all, each as often as it takes
EPOCHS_MOST = 10
LR_SHARE = 0.3  # of the usual peak, for a reward model that has learnt before
WARMUP_STEPS = 2
ENOUGH = 0.5  # share of the fitting passes from which on nothing need be said


def passes(comparisons: int) -> float:
    """How often a reward model is to see each of so many comparisons."""
    return min(EPOCHS_MOST, max(1.0, round(SEEN / comparisons, 1)))


def settings_for_few(config: RmConfig, comparisons: int, warm: bool) -> dict[str, float]:
    """The settings, by name, with which a reward model learns from so many comparisons; a `warm` one has learnt before
    and takes smaller steps."""
    return {
        "rm.epochs": passes(comparisons),
        **({"rm.lr": float(f"{LR_SHARE * config.lr:.2g}")} if warm else {}),
        "rm.muon_lr": 0.0,
        "rm.warmup_steps": min(WARMUP_STEPS, config.warmup_steps),
    }


def too_few(
    run: str, config: RmConfig, comparisons: int, steps: int, *, typed: Collection[str], start: str, warm: bool
) -> str:
    """The sentence for passes so few that the comparisons teach next to nothing; empty where they are enough.

    It names the command that has `run` do it again with the settings that fit, save those that a person has `typed`,
    and from `start`, a reward model to go on from in place of a new one, where there is one.
    """
    if config.epochs >= ENOUGH * passes(comparisons):
        return ""
    fitting, now = settings_for_few(config, comparisons, warm or bool(start)), config.model_dump()
    others = [name for name in fitting if now[name.removeprefix("rm.")] != fitting[name] and name not in typed]
    options = [f"--init {shlex.quote(start)}"] * bool(start)
    options += [f"--set {name}={fitting[name]:g}" for name in dict.fromkeys(("rm.epochs", *others))]
    return (
        f"{comparisons} comparisons at rm.epochs {config.epochs:g} are {steps} steps, which teach next to nothing; "
        f"to learn more from them, type: slmctl rm --run {shlex.quote(run)} --fresh {' '.join(options)}"
    )
