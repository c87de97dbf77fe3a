"""Settings that are read where a stage is opened: each reaches the stage that it belongs to."""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.core.config import Config, Section
from engine.core.errors import DataError
from engine.core.settings import load_preset, resolve
from engine.data.readers import read_rankings
from engine.data.records import Ranking, TrainingRows
from engine.model.checkpoint import save_model, write_directory
from engine.model.heads import ScalarModel
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel, parameter_count
from engine.run import stages
from engine.run.inputs import InputReader
from engine.run.planning import Prepared
from engine.run.sources import rm_rankings
from engine.rundir.directory import RunDir
from engine.rundir.runtoml import Input, RunRecord
from engine.train.comparisons import write_comparisons
from engine.train.rm import RewardData
from engine.train.rollout import Actors
from engine.train.saver import StageLoop
from engine.train.scoring import JudgeScorer
from tests.engine.train import test_comparisons as test_comparing
from tests.engine.train import test_ppo_settings, test_rm
from tests.engine.train import test_pretrain_and_sft as test_likelihood_stages
from tests.support.tiny import language_model, never, scalar_model, word_tokenizer

SMALL: dict[str, Any] = {
    "world": {"name": "pocket"},
    "tokenizer": {"vocab_size": 320},
    "model": {"width": 16, "layers": 1, "heads": 4, "kv_heads": 2, "ffn": 8, "context": 64},
    "pretrain": {"documents": 60, "steps": 7},
    "sft": {"demonstrations": 60, "batch": 8},
    "comparisons": {"prompts": 20},
    "rm": {"batch": 4, "pretraining_pairs": 3, "pretraining_batch": 2},
    "ppo": {"steps": 5, "rollout_batch": 8, "minibatch": 8, "microbatch": 8, "max_new_tokens": 10},
}
OTHER: dict[str, list[tuple[str, Any]]] = {
    "pretrain": [
        ("seed", 1),
        ("dtype", "bfloat16"),
        ("max_steps", 3),
        ("tokenizer.vocab_size", 310),
        ("model.width", 32),
        ("model.layers", 2),
        ("model.heads", 2),
        ("model.kv_heads", 4),
        ("model.ffn", 12),
        ("model.context", 48),
        ("model.rope_theta", 500.0),
        ("model.norm_eps", 0.1),
        ("model.tied", False),
        ("model.attention_bias", True),
        ("pretrain.steps", 9),
        ("pretrain.documents", 70),
        ("pretrain.validation_share", 0.3),
    ],
    "sft": [
        ("seed", 1),
        ("template", "none"),
        ("dtype", "bfloat16"),
        ("max_steps", 3),
        ("sft.demonstrations", 70),
        ("sft.epochs", 0.5),
        ("sft.batch", 4),
        ("sft.validation_share", 0.4),
    ],
    "comparisons": [("seed", 1), ("comparisons.prompts", 30), ("rm.validation_share", 0.5)],
    "rm": [
        ("seed", 1),
        ("template", "none"),
        ("dtype", "bfloat16"),
        ("max_steps", 1),
        ("rm.epochs", 3.0),
        ("rm.batch", 2),
        ("rm.pretraining_pairs", 5),
        ("rm.pretraining_batch", 1),
    ],
    "ppo": [
        ("seed", 1),
        ("template", "none"),
        ("dtype", "bfloat16"),
        ("max_steps", 3),
        ("comparisons.persona", "concise"),
        ("ppo.steps", 6),
        ("ppo.rollout_batch", 16),
        ("ppo.max_new_tokens", 25),
    ],
}
TRAINERS = {
    "pretrain": "train_base",
    "sft": "train_sft",
    "comparisons": "draw_comparisons",
    "rm": "train_rm",
    "ppo": "train_ppo",
}
CASES = [(stage, name, value) for stage, changes in OTHER.items() for name, value in changes]


def config(changes: dict[str, Any]) -> Config:
    """SMALL with changes, by dotted names."""
    values: dict[str, Any] = {name: dict(v) if isinstance(v, dict) else v for name, v in SMALL.items()}
    for name, value in changes.items():
        section, _, field = name.rpartition(".")
        (values.setdefault(section, {}) if section else values)[field] = value
    return Config(**values)


@pytest.fixture(scope="module")
def run_of_parents(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run whose parents' final directories hold tiny models and a few comparisons."""
    run = RunDir(tmp_path_factory.mktemp("runs") / "small")
    tokenizer = Tokenizer(word_tokenizer().encoder, eos_id=1, pad_id=0, chat_template="{{ messages[0].content }} why")
    for stage in ("pretrain", "sft"):
        save_model(run.final(stage), language_model(), tokenizer, {})
    save_model(run.final("rm"), scalar_model(), tokenizer, {})
    rows = [
        {"prompt": f"p{i}", "responses": ["a", "b"], "ranking": [1, 2], "utilities": [0.6, 0.4], "held_out": i > 10}
        for i in range(14)
    ]
    write_directory(run.final("comparisons"), lambda folder: write_comparisons(folder, rows, {}))
    return run


def given_to(
    stage: str,
    changes: dict[str, Any],
    run: RunDir,
    monkeypatch: pytest.MonkeyPatch,
    inputs: dict[str, dict[str, Input]] | None = None,
) -> list[Any]:
    """What `stage` is called with under these settings and inputs, in plain values."""
    calls = list[Any]()

    def trainer(*arguments: Any, **options: Any) -> Iterator[Any]:
        calls.append([plain(each) for each in (*arguments, *options.items())])
        return iter(())

    monkeypatch.setattr(stages, TRAINERS[stage], trainer)
    record = RunRecord("small", config(changes), {}, inputs=inputs or {})
    prepared = Prepared(run, record, InputReader(run.path.parent), stage, (stage,))
    list(stages.open_stage(stage, prepared, never, lambda row: None)[0])
    (call,) = calls
    return list(call)


@pytest.mark.parametrize("given", ["rm", "sft"])
def test_a_reward_model_keeps_its_head_unlike_a_policy(
    given: str, run_of_parents: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"rm": {"init": Input("model", str(run_of_parents.final(given)))}}
    theirs = plain(scalar_model())
    ours = given_to("rm", {}, run_of_parents, monkeypatch, inputs)[0]
    assert (ours == theirs) == (given == "rm")
    assert ours[2][:-1] == plain(scalar_model() if given == "rm" else language_model())[2][: len(ours[2]) - 1]


def plain(value: Any) -> Any:
    """A value that can be compared; a configuration itself is no effect of a setting, nor is a loop's seed."""
    if isinstance(value, StageLoop):
        return value.steps
    if isinstance(value, Section):
        return None
    if isinstance(value, Tokenizer):
        return value.encoder.to_str(), value.chat_template
    if isinstance(value, (LanguageModel, ScalarModel)):
        weights = [parameter.tolist() for parameter in value.parameters()]
        return [asdict(value.architecture), str(value.model.compute_dtype), weights]
    if isinstance(value, (TrainingRows, RewardData, Actors)):
        return [plain(getattr(value, item.name)) for item in fields(value)]
    return value if isinstance(value, (list, tuple, dict, int, float, str, JudgeScorer)) else None


@pytest.mark.parametrize(("stage", "name", "value"), CASES)
def test_the_setting_reaches_its_stage(
    stage: str, name: str, value: Any, run_of_parents: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = given_to(stage, {}, run_of_parents, monkeypatch)
    assert given_to(stage, {}, run_of_parents, monkeypatch) == usual, "the same settings give the same stage"
    assert given_to(stage, {name: value}, run_of_parents, monkeypatch) != usual


def test_every_stage_setting_used_elsewhere_has_a_case() -> None:
    here = {name for _, name, _ in CASES}
    elsewhere = {f"ppo.{name}" for name in test_ppo_settings.ELSEWHERE} | {f"rm.{name}" for name in test_rm.ELSEWHERE}
    elsewhere |= {f"comparisons.{name}" for name in test_comparing.ELSEWHERE}
    for stage in test_likelihood_stages.STAGES.values():
        elsewhere |= {f"{stage.name}.{name}" for name in stage.elsewhere}
    assert elsewhere <= here
    assert {f"model.{name}" for name in type(Config().model).model_fields} <= here


def test_the_embedding_table_is_as_large_as_the_tokenizer(
    run_of_parents: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = given_to("pretrain", {"tokenizer.vocab_size": 32_000}, run_of_parents, monkeypatch)
    (architecture, _, weights), (encoder, _) = given[:2]
    held = json.loads(encoder)["model"]["vocab"]
    assert architecture["vocab_size"] == len(weights[0]) == len(held) < 2_000, "sixty documents are no more tokens"


def test_slm_25m_is_the_architecture_of_slm_v03() -> None:
    config = resolve(load_preset("slm-25m")).config
    assert (config.tokenizer.vocab_size, config.model.context, config.world.name) == (32_000, 512, "")
    with torch.device("meta"):
        model = LanguageModel(stages.architecture_of(config.model, 32_000))
    assert parameter_count(model) == 25_269_120


def test_a_persons_comparisons_are_split_by_prompt(tmp_path: Path) -> None:
    lines = [f'{{"prompt": "p{i // 2}", "chosen": "a{i}", "rejected": "b"}}' for i in range(40)]
    file = tmp_path / "labels.jsonl"
    file.write_text("\n".join(lines) + "\n")
    for share, held in ((0.1, 4), (0.5, 20)):
        data = persons_comparisons(file, {"rm.validation_share": share})
        assert (len(data.train), len(data.validation)) == (40 - held, held)
        assert not {one.prompt for one in data.train} & {one.prompt for one in data.validation}


def test_comparisons_that_teach_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"prompt": word, "chosen": "red", "rejected": "blue"} for word in ("one", "two", "one", "two")]
    rows += [
        {"prompt": "one", "chosen": "two", "rejected": "two"},  # a tie
        {"prompt": "one", "chosen": "two", "rejected": " "},  # an empty response
        {"prompt": "why", "chosen": "two", "rejected": "red " * 3},  # 5 tokens with EOS
        {"prompt": "why", "chosen": "blue", "rejected": "red red"},  # just fits
    ]
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = persons_comparisons(file, {}, context=4)
    assert data.left_out == {"empty": 1, "tied": 1, "too long": 1}
    assert len(data.train) + len(data.validation) == 5
    with pytest.raises(DataError, match=r"two different prompts .*0 is left \(left out: 1 empty, 1 tied, 6 too long"):
        persons_comparisons(file, {}, context=2)


def persons_comparisons(file: Path, settings: dict[str, Any], context: int = 32) -> TrainingRows[Ranking]:
    return rm_rankings(config(settings), read_rankings(file), None, word_tokenizer(), context)
