"""Few comparisons: the recommended epochs and settings, and the warning about too few epochs."""

from typing import Any

import pytest

from engine.core.config import RmConfig
from engine.core.few_comparisons import few_epochs_warning, recommended_epochs, recommended_settings

TINY = RmConfig(lr=1e-3, muon_lr=0.005)


@pytest.mark.parametrize(("comparisons", "times"), [(10, 10.0), (60, 10.0), (200, 3.0), (600, 1.0), (5000, 1.0)])
def test_few_comparisons_are_seen_more_often(comparisons: int, times: float) -> None:
    assert recommended_epochs(comparisons) == times


def test_a_pretrained_reward_model_takes_smaller_steps() -> None:
    new = {"rm.epochs": 6.0, "rm.muon_lr": 0.0, "rm.warmup_steps": 2}
    assert recommended_settings(TINY, 100, warm=False) == new
    assert recommended_settings(TINY, 100, warm=True) == new | {"rm.lr": 3e-4}


def warning(config: RmConfig = TINY, comparisons: int = 60, **changes: Any) -> str:
    """The warning for this many comparisons in a run `mine`."""
    options: dict[str, Any] = {"typed": (), "start": "", "warm": False} | changes
    return few_epochs_warning("mine", config, comparisons, 4, **options)


def test_the_warning_names_the_steps_and_the_command() -> None:
    text = warning(start="tiny:rm")
    assert text.startswith("60 comparisons at rm.epochs 1 are 4 steps, too few to learn from")
    options = "--init tiny:rm --set rm.epochs=10 --set rm.lr=0.0003 --set rm.muon_lr=0 --set rm.warmup_steps=2"
    assert text.endswith(f"to train longer: slmctl rm --run mine --fresh {options}")
    assert "--init" not in warning(warm=True) and "rm.lr" in warning(warm=True)
    assert "rm.lr" not in warning(), "only a pretrained reward model needs smaller steps"


def test_typed_settings_are_kept_except_epochs() -> None:
    text = warning(typed=["rm.epochs", "rm.lr", "rm.muon_lr"], warm=True)
    assert text.endswith("--fresh --set rm.epochs=10 --set rm.warmup_steps=2")


@pytest.mark.parametrize(("comparisons", "epochs"), [(60, 5.0), (100, 3.0), (300, 1.0), (5000, 0.5)])
def test_half_the_recommended_epochs_need_no_warning(comparisons: int, epochs: float) -> None:
    assert warning(RmConfig(epochs=epochs), comparisons) == ""
    assert warning(RmConfig(epochs=epochs * 0.9), comparisons)
