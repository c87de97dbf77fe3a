"""Pretraining and fine-tuning on tiny models: they learn, keep what they promise to keep, and heed every setting."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.core.config import OptimizerConfig, PretrainConfig, SftConfig
from engine.core.errors import DivergedError
from engine.core.events import CheckpointSaved, EvalCompleted, Event, StageFinished, to_row, without_clock
from engine.core.untrusted_files import read_json
from engine.data.records import TrainingRows
from engine.model.batching import Example
from engine.model.pretrained import open_policy
from engine.model.transformer import LanguageModel
from engine.train.likelihood import mean_loss
from engine.train.pretrain import train_base
from engine.train.sft import train_sft
from tests.support.tiny import language_model, loop, metrics_of, never, stop_after, word_tokenizer

TOLERANCE = 1e-5
EXAMPLES = [Example([3 + i % 9, 3 + (i + 1) % 9, 3 + (i + 2) % 9, 1][: 2 + i % 3], 1 + i % 2) for i in range(24)]
VALIDATION = [Example([3, 4, 5, 1]), Example([7, 8, 9, 10, 1])]
SHARED: dict[str, Any] = {
    "lr": 1e-2,
    "warmup_steps": 3,
    "min_lr_ratio": 1.0,
    "betas": (0.5, 0.6),
    "eps": 1e-2,
    "weight_decay": 0.5,
    "max_grad_norm": 0.01,
    "muon_lr": 0.01,
    "eval_every": 3,
    "save_every": 2,
}
SHOWN = {"eval_every", "save_every"}


@dataclass(frozen=True)
class Stage:
    """One of the two stages, with a small configuration, its other settings and those that are read elsewhere."""

    name: str
    config: OptimizerConfig
    train: Callable[..., Iterator[Event]]
    other: dict[str, Any]
    elsewhere: set[str]

    def run(
        self, directory: Path, *, steps: int = 6, stop: Callable[[], bool] = never, **changes: Any
    ) -> tuple[list[Event], LanguageModel]:
        """The events of a training of a fresh model, and the model."""
        c: Any = type(self.config)(**(self.config.model_dump() | changes))
        model, data = language_model(), TrainingRows(EXAMPLES, VALIDATION, {"empty": 2, "too long": 3})
        its_loop = loop(directory, self.name, steps, 2, every=c.save_every, should_stop=stop)
        return list(self.train(model, word_tokenizer(), data, c, its_loop)), model


SMALL: dict[str, Any] = {"lr": 3e-3, "warmup_steps": 1, "eval_every": 2, "save_every": 100}
STAGES = {
    "pretrain": Stage(
        "pretrain",
        PretrainConfig(**SMALL, batch_tokens=20),
        train_base,
        SHARED | {"batch_tokens": 12},
        {"steps", "documents", "validation_share"},
    ),
    "sft": Stage(
        "sft",
        SftConfig(**SMALL, batch=5),
        train_sft,
        SHARED | {"batch": 3},
        {"demonstrations", "epochs", "validation_share"},
    ),
}


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> Stage:
    return STAGES[request.param]


def test_training_lowers_the_loss(stage: Stage, tmp_path: Path) -> None:
    losses = [m[f"{stage.name}/loss"] for m in metrics_of(stage.run(tmp_path, steps=40)[0])]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_a_step_by_hand(stage: Stage, tmp_path: Path) -> None:
    """One step over everything: the loss of the untouched model, the rate of the schedule's first step."""
    whole: dict[str, Any] = {name: 1000 for name in stage.other if "batch" in name}
    events, _ = stage.run(tmp_path, steps=1, warmup_steps=4, **whole)
    (metrics,) = metrics_of(events)
    assert metrics[f"{stage.name}/loss"] == pytest.approx(mean_loss(language_model(), EXAMPLES, 0), abs=TOLERANCE)
    assert metrics[f"{stage.name}/lr"] == pytest.approx(3e-3 * 0.1)


def test_pretraining_counts_its_tokens(tmp_path: Path) -> None:
    counted = [m["pretrain/tokens"] for m in metrics_of(STAGES["pretrain"].run(tmp_path)[0])]
    epoch = sum(len(example.ids) for example in EXAMPLES)
    assert all(earlier < later for earlier, later in pairwise(counted))
    assert epoch in counted


def test_the_final_policy_of_pretraining_is_the_last(tmp_path: Path) -> None:
    events, model = STAGES["pretrain"].run(tmp_path)
    final, _ = open_policy(tmp_path / "pretrain" / "final")
    assert all(torch.equal(a, b) for a, b in zip(final.parameters(), model.parameters(), strict=True))
    assert isinstance(events[-1], StageFinished)
    assert events[-1].metrics["pretrain/validation_loss"] == pytest.approx(mean_loss(model, VALIDATION, 0))


def test_the_final_sft_policy_has_the_lowest_held_out_loss(tmp_path: Path) -> None:
    events, _ = STAGES["sft"].run(tmp_path, steps=40, lr=0.05)
    losses = {e.step: e.metrics["sft/validation_loss"] for e in events if isinstance(e, EvalCompleted)}
    best = min(losses, key=losses.__getitem__)
    assert best < 40, "it must overfit, or the last would be the best"
    final, _ = open_policy(tmp_path / "sft" / "final")
    assert mean_loss(final, VALIDATION, 0) == pytest.approx(losses[best])
    assert read_json(tmp_path / "sft" / "final" / "slmctl.json")["step"] == best
    assert not (tmp_path / "sft" / "best").exists()


def test_stopped_and_resumed_equals_never_stopped(stage: Stage, tmp_path: Path) -> None:
    whole, model = stage.run(tmp_path / "whole")
    before, _ = stage.run(tmp_path / "cut", stop=stop_after(3))
    after, again = stage.run(tmp_path / "cut")
    assert len(metrics_of(before)) == 3 and isinstance(before[-1], CheckpointSaved)
    assert without_clock(metrics_of(before) + metrics_of(after)) == without_clock(metrics_of(whole))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_diverged_loss_is_one_sentence(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "pretrain" if stage.name == "pretrain" else "sft"
    monkeypatch.setattr(
        f"engine.train.{module}.token_losses", lambda model, batch: model.lm_head.weight.sum() * torch.nan
    )
    with pytest.raises(DivergedError, match="loss became nan at step 1"):
        stage.run(tmp_path)


@pytest.mark.parametrize("name", STAGES)
def test_every_setting_has_a_case(name: str) -> None:
    stage = STAGES[name]
    assert stage.other.keys() | stage.elsewhere == type(stage.config).model_fields.keys()


@pytest.mark.parametrize(("name", "setting"), [(name, setting) for name in STAGES for setting in STAGES[name].other])
def test_the_setting_changes_something(name: str, setting: str, tmp_path: Path) -> None:
    stage, outcomes = STAGES[name], []
    for folder, changes in (("usual", {}), ("other", {setting: STAGES[name].other[setting]})):
        events, model = stage.run(tmp_path / folder, **changes)
        said = [without_clock(to_row(event)) for event in events]
        outcomes.append(said if setting in SHOWN else [p.tolist() for p in model.parameters()])
    assert outcomes[0] != outcomes[1]
