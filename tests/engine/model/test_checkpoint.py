"""Directories written completely or not at all, training state restored bit for bit, and all refusals."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.core.config import OptimizerConfig
from engine.core.errors import CheckpointError
from engine.core.events import CheckpointSaved
from engine.core.untrusted_files import read_json
from engine.model.checkpoint import (
    TrainingState,
    hf_config,
    load_state,
    save_model,
    write_directory,
    write_state,
)
from engine.model.pretrained import open_policy, open_scalar, read_architecture
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.model.weights import read_tensors
from engine.train.optimizer import apply_gradients, optimizers_for
from engine.train.saver import Trained
from engine.train.scoring import RewardModelScorer
from tests.support.tiny import ARCHITECTURE, language_model, saver, scalar_model, untied, word_tokenizer

MEAN_TOLERANCE = 1e-6


def entries(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir() if path.is_file()}


def write(name: str, text: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / name).write_text(text)

    return fill


def fill_and_fail(folder: Path) -> None:
    (folder / "new").write_text("half")
    raise OSError("the disk is full")


# atomic directories


def test_a_directory_replaces_an_older_one_and_leaves_no_trace(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "final"
    write_directory(target, write("old", "1"))
    write_directory(target, write("new", "2"))
    assert entries(target) == {"new": "2"}
    assert [path.name for path in target.parent.iterdir()] == ["final"]


def test_a_fill_that_raises_leaves_the_old_directory_whole(tmp_path: Path) -> None:
    target = tmp_path / "final"
    write_directory(target, write("old", "1"))
    with pytest.raises(OSError, match="disk is full"):
        write_directory(target, fill_and_fail)
    assert entries(target) == {"old": "1"}
    write_directory(target, write("new", "2"))  # a half-written directory does no harm
    assert entries(target) == {"new": "2"} and len(list(tmp_path.iterdir())) == 1


def test_a_fill_that_raises_makes_no_directory(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk is full"):
        write_directory(tmp_path / "final", fill_and_fail)
    assert not (tmp_path / "final").exists()


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "best"
    write_directory(target, write("old", "1"))
    rename = Path.rename

    def crash(self: Path, other: Path) -> Path:
        if other == target:
            raise KeyboardInterrupt
        return rename(self, other)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            write_directory(target, write("new", "2"))
    with pytest.raises(OSError, match="disk is full"):
        write_directory(target, fill_and_fail)
    assert entries(target) == {"old": "1"}


def test_everything_is_flushed_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = list[str]()
    monkeypatch.setattr("engine.model.checkpoint.flush", lambda path: steps.append(f"flush {path.name}"))
    rename = Path.rename

    def recorded(self: Path, to: Path) -> Path:
        steps.append(f"rename {to.name}")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", recorded)
    write_directory(tmp_path / "final", write("weights", "1"))
    assert steps == ["flush weights", "flush .final.writing", "rename final", f"flush {tmp_path.name}"]


# training state


def stepped(model: LanguageModel, config: OptimizerConfig, steps: int) -> dict[str, torch.optim.Optimizer]:
    optimizers = optimizers_for(model, config)
    for step in range(steps):
        descend(model, optimizers, step)
    return optimizers


def descend(model: LanguageModel, optimizers: dict[str, torch.optim.Optimizer], step: int) -> None:
    tokens = torch.randint(3, 12, (2, 6), generator=torch.Generator().manual_seed(step))
    model.logits(model(tokens)).logsumexp(-1).sum().backward()
    apply_gradients(optimizers, model.parameters(), 0.5, 1.0, step)


@pytest.mark.parametrize("architecture", [ARCHITECTURE, untied()])
@pytest.mark.parametrize("muon_lr", [0.0, 0.02])
def test_training_state_comes_back_bit_for_bit(architecture: Any, muon_lr: float, tmp_path: Path) -> None:
    config = OptimizerConfig(lr=1e-2, muon_lr=muon_lr)
    model, value = language_model(architecture), scalar_model()
    optimizers = stepped(model, config, 3)
    numbers = {"kl": {"coef": 0.1 + 0.2}, "list": [1, None, "é"], "big": 2**60}
    save_model(tmp_path / "step", model, word_tokenizer(), {}, value, TrainingState(optimizers, numbers))
    other, other_value = language_model(architecture, seed=9), scalar_model(seed=9)
    others = optimizers_for(other, config)
    assert load_state(tmp_path / "step", {"": other, "value": other_value}, others) == numbers
    for _ in range(2):  # as loaded, and after another step of each
        pairs = zip([*model.parameters()], [*other.parameters()], strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        for name in optimizers:
            states = [o[name].state_dict()["state"] for o in (optimizers, others)]
            assert states[0].keys() == states[1].keys()
            assert all(torch.equal(states[0][i][m], states[1][i][m]) for i in states[0] for m in states[0][i])
        descend(model, optimizers, 7)
        descend(other, others, 7)
    pairs = zip([*value.parameters()], [*other_value.parameters()], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_saver_keeps_two_steps_and_resumes_from_the_newest(tmp_path: Path) -> None:
    keeper, numbers, model = saver(tmp_path, "sft", every=2), dict[str, Any](), language_model()
    assert keeper.resume(Trained(model, word_tokenizer()), numbers, 6) == keeper.latest() == 0
    for step in (2, 4, 6):
        numbers["n"] = step
        assert [*keeper.save(step)] == [CheckpointSaved("sft", step, f"sft/step-{step:06d}")]
        assert [*keeper.save(step)] == []
    assert sorted(path.name for path in (tmp_path / "sft").iterdir()) == ["step-000004", "step-000006"]
    (tmp_path / "sft" / ".step-000008.writing").mkdir()
    again, read = language_model(seed=3), dict[str, Any]()
    assert (saver(tmp_path, "sft").resume(Trained(again, word_tokenizer()), read, 6), read) == (6, {"n": 6})
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)


def test_a_save_is_due_every_so_often(tmp_path: Path) -> None:
    keeper = saver(tmp_path, "sft", every=3)
    assert [step for step in range(1, 8) if keeper.due(step)] == [3, 6]


def test_the_best_is_the_lowest_held_out_loss(tmp_path: Path) -> None:
    keeper, numbers = saver(tmp_path, "sft"), dict[str, Any]()
    for step, loss in enumerate((3.0, 2.0, float("nan"), 2.5), start=1):
        keeper.resume(Trained(language_model(seed=step), word_tokenizer()), numbers, 4)
        keeper.offer(step, loss, {"sft/validation_loss": loss})
    assert len(list(keeper.finish_best())) == 2
    about = read_json(tmp_path / "sft" / "final" / "slmctl.json")
    assert (about["step"], about["metrics"]) == (2, {"sft/validation_loss": 2.0})
    kept = open_policy(tmp_path / "sft" / "final")[0]
    assert torch.equal(kept.lm_head.weight, language_model(seed=2).lm_head.weight)


# refusals


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    save_model(tmp_path / "policy", language_model(untied()), word_tokenizer(), {})
    return tmp_path / "policy"


def set_config(directory: Path, **changes: Any) -> None:
    config = {**read_json(directory / "config.json"), **changes}
    kept = {name: value for name, value in config.items() if value != "missing"}
    (directory / "config.json").write_text(json.dumps(kept))


def set_tensors(directory: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")


def refusal(directory: Path) -> str:
    """The error message for a directory."""
    with pytest.raises(CheckpointError) as refused:
        open_policy(directory)
    assert "\n" not in str(refused.value) and str(directory) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(policy: Path, name: str) -> None:
    (policy / name).unlink()
    assert name in refusal(policy)


@pytest.mark.parametrize("keep", [0, 4, 300, -1])
def test_truncated_weights_are_refused(policy: Path, keep: int) -> None:
    path = policy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "model.safetensors cannot be read as safetensors" in refusal(policy)


def test_corrupt_weights_are_refused(policy: Path) -> None:
    (policy / "model.safetensors").write_bytes(b"\xff" * 1000)
    assert "cannot be read as safetensors" in refusal(policy)


def test_a_wrong_shape_is_named_with_both(policy: Path) -> None:
    set_tensors(policy, lambda tensors: tensors.update({"model.norm.weight": torch.ones(7)}))
    assert "model.norm.weight is (7,), but the architecture needs (16,)" in refusal(policy)


def test_a_missing_and_an_unknown_tensor_are_named(policy: Path) -> None:
    set_tensors(policy, lambda tensors: tensors.update(extra=tensors.pop("lm_head.weight")))
    assert "the tensor extra does not belong" in refusal(policy)
    set_tensors(policy, lambda tensors: tensors.__delitem__("extra"))
    assert "the tensor lm_head.weight is missing" in refusal(policy)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'; slmctl opens llama, mistral, qwen2."),
        ({"hidden_size": "missing"}, "the field 'hidden_size' is missing"),
        ({"hidden_size": "wide"}, "hidden_size = 'wide' is not a whole number from 1 to"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu' is not supported"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "rope_scaling = .* is not supported"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_scaling = .* is not supported"),
        ({"sliding_window": 16}, "sliding_window = 16 is not supported"),
        ({"mlp_bias": True}, "mlp_bias = True is not supported"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(policy: Path, changes: dict[str, Any], expected: str) -> None:
    set_config(policy, **changes)
    with pytest.raises(CheckpointError, match=expected):
        open_policy(policy)
    refusal(policy)


def test_malformed_json_is_refused(policy: Path) -> None:
    (policy / "config.json").write_text("{")
    assert "config.json is not valid JSON" in refusal(policy)
    (policy / "config.json").write_text("[]")
    assert "must be a JSON object" in refusal(policy)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    assert "is not a checkpoint directory" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "model.safetensors"])
def test_a_saved_step_with_a_file_cut_short_is_refused(name: str, tmp_path: Path) -> None:
    model = language_model()
    optimizers = stepped(model, OptimizerConfig(), 1)
    save_model(tmp_path / "step", model, word_tokenizer(), {}, None, TrainingState(optimizers, {"n": 1}))
    path = tmp_path / "step" / name
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=name):
        load_state(tmp_path / "step", {"": model}, optimizers)


def test_a_saved_step_of_other_sizes_is_refused(tmp_path: Path) -> None:
    model = language_model()
    save_model(tmp_path / "step", model, word_tokenizer(), {}, None, TrainingState({}, {}))
    with pytest.raises(CheckpointError, match=r"model\.embed_tokens\.weight is \(12, 16\)"):
        load_state(tmp_path / "step", {"": language_model(replace(ARCHITECTURE, vocab_size=13))}, {})


def test_an_empty_state_round_trips(tmp_path: Path) -> None:
    write_state(tmp_path, TrainingState({}, {"responses": []}))
    assert read_tensors(tmp_path / "state.safetensors") == {}
    assert load_state(tmp_path, {}, {}) == {"responses": []}


# vocabularies that must grow


def larger_tokenizer() -> Tokenizer:
    tokenizer = word_tokenizer()
    tokenizer.encoder.add_special_tokens(["<new>"])
    return Tokenizer(tokenizer.encoder, eos_id=1, pad_id=ARCHITECTURE.vocab_size)


@pytest.mark.parametrize("architecture", [ARCHITECTURE, untied()])
def test_a_tokenizer_with_more_ids_grows_the_policy(architecture: Any, tmp_path: Path) -> None:
    model = language_model(architecture)
    save_model(tmp_path / "policy", model, larger_tokenizer(), {})
    grown, tokenizer = open_policy(tmp_path / "policy")
    rows = grown.model.embed_tokens.weight
    assert grown.architecture.vocab_size == tokenizer.size == ARCHITECTURE.vocab_size + 1 == len(rows)
    torch.testing.assert_close(rows[-1], rows[:-1].mean(0), rtol=0, atol=MEAN_TOLERANCE)
    assert torch.equal(rows[:-1], model.model.embed_tokens.weight)
    assert (grown.lm_head.weight is rows) is architecture.tied and len(grown.lm_head.weight) == len(rows)
    save_model(tmp_path / "again", grown, tokenizer, {})
    assert read_architecture(tmp_path / "again") == grown.architecture


def test_a_tokenizer_with_more_ids_grows_the_reward_model(tmp_path: Path) -> None:
    model = scalar_model()
    save_model(tmp_path / "rm", model, larger_tokenizer(), {})
    scorer = RewardModelScorer(*open_scalar(tmp_path / "rm"))
    prompts, responses = ["red", "red"], ["one", "one two three"]
    assert scorer.tokenizer.pad_id == ARCHITECTURE.vocab_size
    assert scorer.score(prompts, responses) == RewardModelScorer(model, word_tokenizer()).score(prompts, responses)


def test_the_family_follows_from_the_biases() -> None:
    def family(**switches: bool) -> str:
        return str(hf_config(replace(ARCHITECTURE, **switches), word_tokenizer(), "CausalLM")["architectures"][0])

    assert family() == "LlamaForCausalLM"
    assert family(qkv_bias=True, output_bias=True) == "LlamaForCausalLM"
    assert family(qkv_bias=True) == "Qwen2ForCausalLM"
