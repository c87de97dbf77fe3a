"""Few comparisons: how often they are seen, and the sentence for a person who has them seen too few times."""

from typing import Any

import pytest

from engine.core.config import RmConfig
from engine.core.few_comparisons import passes, settings_for_few, too_few

TINY = RmConfig(lr=1e-3, muon_lr=0.005)


@pytest.mark.parametrize(("comparisons", "times"), [(10, 10.0), (60, 10.0), (200, 3.0), (600, 1.0), (5000, 1.0)])
def test_few_comparisons_are_seen_more_often(comparisons: int, times: float) -> None:
    assert passes(comparisons) == times


def test_a_pretrained_reward_model_takes_smaller_steps() -> None:
    new = {"rm.epochs": 6.0, "rm.muon_lr": 0.0, "rm.warmup_steps": 2}
    assert settings_for_few(TINY, 100, warm=False) == new
    assert settings_for_few(TINY, 100, warm=True) == new | {"rm.lr": 3e-4}


def said(config: RmConfig = TINY, comparisons: int = 60, **changes: Any) -> str:
    """The sentence for so many comparisons in a run `mine`."""
    options: dict[str, Any] = {"typed": (), "start": "", "warm": False} | changes
    return too_few("mine", config, comparisons, 4, **options)


def test_the_sentence_names_what_was_seen_and_what_to_type() -> None:
    told = said(start="tiny:rm")
    assert told.startswith("60 comparisons at rm.epochs 1 are 4 steps, which teach next to nothing")
    options = "--init tiny:rm --set rm.epochs=10 --set rm.lr=0.0003 --set rm.muon_lr=0 --set rm.warmup_steps=2"
    assert told.endswith(f"type: slmctl rm --run mine --fresh {options}")
    assert "--init" not in said(warm=True) and "rm.lr" in said(warm=True)
    assert "rm.lr" not in said(), "a new reward model has learnt nothing yet that a large step could spoil"


def test_typed_settings_are_kept_except_epochs() -> None:
    told = said(typed=["rm.epochs", "rm.lr", "rm.muon_lr"], warm=True)
    assert told.endswith("--fresh --set rm.epochs=10 --set rm.warmup_steps=2")


@pytest.mark.parametrize(("comparisons", "epochs"), [(60, 5.0), (100, 3.0), (300, 1.0), (5000, 0.5)])
def test_half_the_fitting_passes_need_no_word(comparisons: int, epochs: float) -> None:
    assert said(RmConfig(epochs=epochs), comparisons) == ""
    assert said(RmConfig(epochs=epochs * 0.9), comparisons)
