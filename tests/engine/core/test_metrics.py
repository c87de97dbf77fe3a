"""The registry of metrics: every reported metric, with its meaning."""

import re
from pathlib import Path

import pytest

import engine
from engine.core.config import Config
from engine.core.errors import ConfigError
from engine.core.metrics import REGISTRY, charts, describe, describe_any, headline

STAGE_FILES = ("pretrain", "sft", "rm", "ppo", "comparisons")


def test_every_metric_has_a_meaning() -> None:
    assert all(metric.meaning and metric.name == name for name, metric in REGISTRY.items())
    assert all(metric.better in ("up", "down", "none") for metric in REGISTRY.values())


def test_names_are_stage_and_quantity() -> None:
    sections = set(Config.model_fields)
    assert all(name.split("/")[0] in sections and name.count("/") == 1 for name in REGISTRY)


def test_units_are_in_the_names_that_have_one() -> None:
    assert all(metric.unit == "s" for name, metric in REGISTRY.items() if re.search(r"(?<!per)_s$", name))
    assert all("nats" in metric.unit for name, metric in REGISTRY.items() if name.endswith("_nats"))


def test_an_unknown_metric_is_refused() -> None:
    assert describe("ppo/kl_nats").name == "ppo/kl_nats"
    with pytest.raises(ConfigError, match="kl_furlongs"):
        describe("ppo/kl_furlongs")
    assert describe_any("ppo/kl_furlongs").title == "kl furlongs"


def test_the_n_of_best_of_n_is_a_setting() -> None:
    assert describe("eval/best_of_4_win_rate").name == "eval/best_of_n_win_rate"
    assert describe("eval/utility_best_of_16").name == "eval/utility_best_of_n"
    with pytest.raises(ConfigError):
        describe("eval/best_of_win_rate")


@pytest.mark.parametrize("stage", STAGE_FILES)
def test_every_reported_metric_is_registered(stage: str) -> None:
    source = (Path(engine.__file__).parent / "train" / f"{stage}.py").read_text(encoding="utf-8")
    keys = re.findall(r'"((?:pretrain|sft|comparisons|rm|ppo)/\w+)"\s*:', source)
    assert [describe(key).name for key in keys] == keys


def test_a_shared_chart_is_that_of_a_metric_with_its_own() -> None:
    for stage in Config.model_fields:
        for main, *others in charts(stage):
            assert describe(main).chart == "own" and {describe(name).chart for name in others} <= {main.split("/")[1]}
            assert len({describe(name).unit for name in (main, *others)}) == 1, "one axis has one unit"
    assert charts("sft")[0] == ("sft/loss", "sft/validation_loss")
    assert [metric.headline for metric in headline("ppo")] == ["reward", "KL", "tokens"]
