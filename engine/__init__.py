"""Reinforcement learning from human feedback as a library, without any screen.

    import engine

    for event in engine.train_stage("ppo", preset="tiny", run="mine", reward="pocket:judge"):
        if isinstance(event, engine.StepCompleted) and event.stage == "ppo":
            print(event.step, event.metrics["ppo/score"])
    policy = engine.open_policy("mine:ppo")
    responses = engine.sample(policy, ["What is the capital of France?"], seed=1)

Importing this package loads no torch; the first use of a name does.

The way of a prompt into a PPO update: `run.planning.prepare` reads the inputs (`run.inputs`) and lists the stages;
`run.driver` runs one after another; `run.stages` opens the models and takes prompts from `run.sources`; the loop is
`train.ppo.train_ppo`. A step of it draws and measures a rollout (`train.rollout`), turns scores into rewards and
advantages (`algorithms`), and updates policy and value network (`train.optimizer`).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.core.errors import EngineError
    from engine.core.events import (
        AlertRaised,
        CheckpointSaved,
        EvalCompleted,
        Event,
        SamplesDrawn,
        StageFinished,
        StageStarted,
        StepCompleted,
    )
    from engine.run.inference import Policy, Response
    from engine.run.notebook import compare, open_policy, open_scorer, sample, score, train_stage

__all__ = [
    "AlertRaised",
    "CheckpointSaved",
    "EngineError",
    "EvalCompleted",
    "Event",
    "Policy",
    "Response",
    "SamplesDrawn",
    "StageFinished",
    "StageStarted",
    "StepCompleted",
    "compare",
    "open_policy",
    "open_scorer",
    "sample",
    "score",
    "train_stage",
]
MODULES = {"EngineError": "core.errors", "Policy": "run.inference", "Response": "run.inference"}


def __getattr__(name: str) -> Any:
    """Loads a name of `__all__` at its first use."""
    if name not in __all__:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    module = MODULES.get(name, "core.events" if name[0].isupper() else "run.notebook")
    return getattr(importlib.import_module(f"engine.{module}"), name)


def __dir__() -> list[str]:
    return __all__
