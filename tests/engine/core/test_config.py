"""The typed configuration: every field described, ranges and cross-checks kept."""

import pytest
from pydantic import ValidationError

from engine.core.config import Config, ModelConfig, PpoConfig
from engine.core.settings import all_settings, flatten


def test_every_field_is_described() -> None:
    assert [name for name, info in all_settings().items() if not info.description] == []


def test_the_defaults_are_valid_and_frozen() -> None:
    config = Config()
    assert Config.model_validate(config.model_dump()) == config
    with pytest.raises(ValidationError):
        config.seed = 3


def test_derived_sizes_are_properties() -> None:
    assert ModelConfig(width=96, heads=3, kv_heads=1).head_width == 32
    assert PpoConfig(rollout_batch=96, minibatch=32, microbatch=16, steps=50).horizon == 480


@pytest.mark.parametrize(
    ("section", "values", "sentence"),
    [
        ("model", {"width": 130}, "must be an even integer"),
        ("model", {"heads": 4, "kv_heads": 3}, "kv_heads 3 must divide heads 4"),
        ("ppo", {"minibatch": 50}, "minibatch 50 must divide rollout_batch 128"),
        ("ppo", {"microbatch": 48}, "microbatch 48 must divide minibatch 64"),
        ("ppo", {"alert_kl_nats": 40.0}, "is greater than stop_kl_nats"),
        ("comparisons", {"responses_min": 5, "responses_max": 4}, "is greater than responses_max"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(section: str, values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Config.model_validate({section: values})


@pytest.mark.parametrize(
    "values",
    [
        {"ppo": {"clip": 0.2}},
        {"ppo": {"lr": float("nan")}},
        {"ppo": {"lr": float("inf")}},
        {"ppo": {"steps": True}},
        {"ppo": {"steps": 2.5}},
        {"ppo": {"gamma": 1.5}},
        {"sft": {"betas": [0.9, 1.0]}},
        {"seed": -1},
        {"threads": 0},
        {"world": {"name": "mars"}},
    ],
)
def test_unknown_and_out_of_range_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(values)


def test_flat_names_cover_every_leaf() -> None:
    assert list(flatten(Config())) == list(all_settings())
