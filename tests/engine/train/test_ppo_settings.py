"""Every setting of PPO changes something: the weights, or, where it only decides what is shown, the events."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core.config import PpoConfig
from engine.core.events import StageFinished, to_row, without_clock
from tests.support.tiny import language_model
from tests.support.tiny_ppo import config, train, weights

OTHER: dict[str, Any] = {
    "lr": 1e-3,
    "warmup_steps": 3,
    "min_lr_ratio": 0.3,
    "betas": (0.5, 0.6),
    "eps": 1e-2,
    "weight_decay": 0.5,
    "max_grad_norm": 0.01,
    "muon_lr": 0.01,
    "value_lr": 1e-3,
    "rollout_batch": 12,
    "minibatch": 3,
    "microbatch": 1,
    "epochs": 2,
    "value_warmup_steps": 1,
    "kl_coef": 0.5,
    "kl_controller": "adaptive",
    "kl_target": 1e4,
    "kl_horizon": 60.0,
    "gamma": 0.5,
    "lam": 0.3,
    "clip_range": 0.001,
    "value_clip_range": 0.001,
    "vf_coef": 0.1,
    "temperature": 0.7,
    "max_new_tokens": 5,
    "missing_eos_penalty": 3.0,
    "score_clip": 0.5,
    "stop_kl_nats": 0.01,
    "alert_kl_nats": 0.01,
    "save_every": 1,
    "samples_every": 3,
    "samples_shown": 1,
}
TOGETHER: dict[str, dict[str, Any]] = {
    "kl_target": {"kl_controller": "adaptive"},
    "kl_horizon": {"kl_controller": "adaptive"},
    "minibatch": {"microbatch": 3},
    "microbatch": {"max_grad_norm": 1e6},
    "clip_range": {"epochs": 3},
    "value_clip_range": {"epochs": 3},
    "vf_coef": {"max_grad_norm": 1e6},
    "stop_kl_nats": {"alert_kl_nats": 0.01},
}
SHOWN = {"alert_kl_nats", "save_every", "samples_every", "samples_shown"}
"""What changes the events alone; all others change the weights."""
ELSEWHERE = {"steps"}
"""Read where the stage is opened (test_stage_settings.py)."""


def test_every_setting_of_ppo_has_a_case() -> None:
    assert OTHER.keys() | ELSEWHERE == PpoConfig.model_fields.keys()


def traces(changes: dict[str, Any], directory: Path) -> Iterator[Any]:
    """All that a training says and leaves, but for the clock."""
    c = config(**changes)
    run = train(c, directory, steps=3, reference=language_model(seed=8), every=c.save_every)
    yield [without_clock(to_row(event)) for event in run.events if not isinstance(event, StageFinished)]
    yield {name: tensor.tolist() for name, tensor in (weights(run.policy) | weights(run.value)).items()}


@pytest.mark.parametrize("name", OTHER)
def test_the_setting_changes_something(name: str, tmp_path: Path) -> None:
    base: dict[str, Any] = {"stop_kl_nats": 1e6, "alert_kl_nats": 1e5, "samples_every": 1, **TOGETHER.get(name, {})}
    said, learnt = traces(base, tmp_path / "usual")
    other_said, other_learnt = traces(base | {name: OTHER[name]}, tmp_path / "other")
    assert said != other_said if name in SHOWN else learnt != other_learnt


def test_the_same_settings_give_the_same_training(tmp_path: Path) -> None:
    one, other = (list(traces({"epochs": 2}, tmp_path / key)) for key in "ab")
    assert one == other
