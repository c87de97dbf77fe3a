"""Layers of settings: options over the environment, over the preset, over the default."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.errors import ConfigError, FileError
from engine.core.settings import (
    Preset,
    SettingsLayer,
    list_presets,
    load_preset,
    nest,
    parse_assignments,
    parse_value,
    resolve,
)

PRESET = Preset("mine", "", {"seed": 1, "ppo.kl_coef": 0.1, "ppo.steps": 5})


def test_the_order_of_the_layers() -> None:
    environ = {"SLMCTL_SEED": "2", "SLMCTL_PPO_KL_COEF": "0.2", "HOME": "/root"}
    resolved = resolve(PRESET, {"seed": "3"}, {}, environ)
    assert (resolved.config.seed, resolved.origins["seed"]) == (3, "--set")
    assert (resolved.config.ppo.kl_coef, resolved.origins["ppo.kl_coef"]) == (0.2, "SLMCTL_PPO_KL_COEF")
    assert (resolved.config.ppo.steps, resolved.origins["ppo.steps"]) == (5, "preset mine")
    assert (resolved.config.ppo.epochs, resolved.origins["ppo.epochs"]) == (2, "default")


def test_an_option_wins_over_set_and_none_means_not_given() -> None:
    resolved = resolve(PRESET, {"seed": "3"}, {"seed": 4, "max_steps": None})
    assert (resolved.config.seed, resolved.origins["seed"]) == (4, "--seed")
    assert resolved.origins["max_steps"] == "default"
    assert resolve(None, {}, {"max_steps": 7}).origins["max_steps"] == "--max-steps"


def test_recorded_values_replace_the_preset() -> None:
    base = SettingsLayer({"ppo.kl_coef": 0.3}, {"ppo.kl_coef": "--set"})
    resolved = resolve(PRESET, base=base)
    assert (resolved.config.ppo.kl_coef, resolved.origins["ppo.kl_coef"]) == (0.3, "--set")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"ppo.klcoef": "1"}, "unknown setting 'ppo.klcoef' (from --set); did you mean 'ppo.kl_coef'?"),
        ({"ppo": "1"}, "unknown setting 'ppo' (from --set)"),
        ({"ppo.kl_coef": "-1"}, "ppo.kl_coef (from --set) must be greater than or equal to 0, got -1"),
        ({"ppo.steps": "few"}, "ppo.steps (from --set) must be a valid integer, got 'few'"),
        ({"ppo.minibatch": "50"}, "ppo: minibatch 50 must divide rollout_batch 128"),
        ({"device": "tpu"}, "device (from --set) must be 'auto', 'cpu', 'cuda' or 'mps', got 'tpu'"),
    ],
)
def test_an_invalid_setting_is_one_sentence(overrides: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(None, overrides)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_variable_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match="unknown environment variable SLMCTL_PPO_KLCOEF; did you mean 'SLMCTL_PPO_KL_COEF'"
    ):
        resolve(None, environ={"SLMCTL_PPO_KLCOEF": "1"})
    assert resolve(None, environ={"SLMCTL_RUNS": "/tmp"}).config.seed == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("[0.8, 0.9]", [0.8, 0.9]),
        ("warm", "warm"),
        ('"3"', "3"),
        ("1\nx=2", "1\nx=2"),
    ],
)
def test_values_are_read_as_toml(text: str, value: object) -> None:
    assert parse_value(text) == value


@given(st.text(max_size=30))
def test_any_text_is_a_value(text: str) -> None:
    parse_value(text)


def test_lists_become_pairs() -> None:
    assert resolve(None, {"sft.betas": "[0.8, 0.9]"}).config.sft.betas == (0.8, 0.9)


def test_assignments_need_an_equals_sign() -> None:
    assert parse_assignments(["a.b=1=2", " c = d "]) == {"a.b": "1=2", "c": "d"}
    with pytest.raises(ConfigError, match=r"--set expects name=value.*'ppo.steps'"):
        parse_assignments(["ppo.steps"])


def test_shipped_presets_are_valid_and_described() -> None:
    presets = list_presets()
    assert "tiny" in [preset.name for preset in presets]
    for preset in presets:
        assert preset.description
        resolve(preset)


def test_tiny_lives_in_the_pocket_world() -> None:
    assert resolve(load_preset("tiny")).config.world.name == "pocket"


def test_unknown_presets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        load_preset("tinny")
    with pytest.raises(FileError, match=r"preset file .*none\.toml not found"):
        load_preset(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("seed = = 1")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_preset(str(tmp_path / "bad.toml"))


def test_a_presets_unknown_key_names_the_preset(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[ppo]\nkl_coeff = 1")
    with pytest.raises(ConfigError, match=r"'ppo.kl_coeff' \(from preset own\); did you mean 'ppo.kl_coef'"):
        resolve(load_preset(str(tmp_path / "own.toml")))


def test_nesting_undoes_dotted_names() -> None:
    assert nest({"seed": 1, "ppo.lr": 2}) == {"seed": 1, "ppo": {"lr": 2}}
