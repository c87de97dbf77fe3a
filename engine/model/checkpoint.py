"""Checkpoints: Hugging Face directories written completely or not at all, and the training state beside them.

A directory is written under a temporary name, flushed to disk, then renamed, so a crash leaves the previous one intact.
No pickle: tensors are safetensors, everything else is JSON. pretrained.py reads the directories of others.
"""

import errno
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from engine.core.errors import CheckpointError, one_line
from engine.core.untrusted_files import read_json
from engine.model.heads import ScalarModel
from engine.model.tokenizer import Tokenizer, save_tokenizer
from engine.model.transformer import Architecture, LanguageModel
from engine.model.weights import read_tensors
from engine.rundir.directory import flush


def write_directory(target: Path, fill: Callable[[Path], None]) -> None:
    """Creates `target` with what `fill` writes, atomically; an older `target` is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    recover(target)
    temporary = target.with_name(f".{target.name}.writing")
    replaced = target.with_name(f".{target.name}.replaced")
    for leftover in (temporary, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir()
    try:
        fill(temporary)
        # a rename can reach the disk before the data does, and then a power cut leaves empty files under the final name
        for path in (*temporary.rglob("*"), temporary):
            flush(path)
    except OSError:  # a full disk: free the space
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    # a directory cannot be replaced in one step; a crash between these two renames is repaired by recover()
    if target.exists():
        target.rename(replaced)
    temporary.rename(target)
    flush(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def recover(target: Path) -> None:
    """Restores the name of `target` if a crash came just after it was moved away to be replaced."""
    replaced = target.with_name(f".{target.name}.replaced")
    if replaced.exists() and not target.exists():
        replaced.rename(target)


def hf_config(architecture: Architecture, tokenizer: Tokenizer, kind: str) -> dict[str, Any]:
    """The config.json of a checkpoint; `kind` is "CausalLM" or "SequenceClassification"."""
    a = architecture
    # Qwen2 is the family whose attention has input biases alone; everything else here fits Llama
    family = "Qwen2" if a.qkv_bias and not a.output_bias else "Llama"
    config: dict[str, Any] = {
        "architectures": [f"{family}For{kind}"],
        "model_type": family.lower(),
        "vocab_size": a.vocab_size,
        "hidden_size": a.width,
        "intermediate_size": a.ffn,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.kv_heads,
        "head_dim": a.head_width,
        "max_position_embeddings": a.context,
        "rope_theta": a.rope_theta,
        "rms_norm_eps": a.norm_eps,
        "hidden_act": "silu",
        "tie_word_embeddings": a.tied,
        **tokenizer.special_ids(),
        "torch_dtype": "float32",
    }
    if family == "Llama":
        config |= {"attention_bias": a.qkv_bias, "mlp_bias": False}
    if kind == "SequenceClassification":
        config |= {"num_labels": 1, "id2label": {"0": "score"}, "label2id": {"score": 0}}
    return config


def hf_tensors(model: LanguageModel | ScalarModel) -> dict[str, Tensor]:
    """Parameters under their Hugging Face names, on the CPU, without a tied unembedding."""
    tensors = {name: p.detach().cpu().contiguous() for name, p in model.state_dict().items()}
    if isinstance(model, LanguageModel) and model.architecture.tied:
        del tensors["lm_head.weight"]
    return tensors


def save_model(
    directory: Path,
    model: LanguageModel | ScalarModel,
    tokenizer: Tokenizer,
    about: Mapping[str, Any],
    value: ScalarModel | None = None,
    state: "TrainingState | None" = None,
) -> None:
    """Writes a checkpoint that transformers opens: a policy or, from a ScalarModel, a reward model.

    `about` goes into slmctl.json beside the reward's bias: stage, parents and their hashes, configuration, metrics.
    A value network is a checkpoint of its own in value/; with `state`, training can resume from here.
    """

    def fill(folder: Path) -> None:
        _fill(folder, model, tokenizer, about)
        if value is not None:
            (folder / "value").mkdir()
            _fill(folder / "value", value, tokenizer, about)
        if state is not None:
            write_state(folder, state)

    write_directory(directory, fill)


def _fill(folder: Path, model: LanguageModel | ScalarModel, tokenizer: Tokenizer, about: Mapping[str, Any]) -> None:
    kind = "SequenceClassification" if isinstance(model, ScalarModel) else "CausalLM"
    save_tensors(folder / "model.safetensors", hf_tensors(model))
    save_tokenizer(tokenizer, folder)
    write_json(folder / "config.json", hf_config(model.architecture, tokenizer, kind))
    slmctl = dict(about)
    if isinstance(model, ScalarModel):
        slmctl["reward_bias"] = float(model.bias)
    else:
        sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0}  # transformers' default would be top_k 50
        write_json(folder / "generation_config.json", {**tokenizer.special_ids(), **sampling})
    write_json(folder / "slmctl.json", slmctl)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file. Raises: OSError if it cannot, for example on a full disk."""
    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:
        full = str(error).endswith("(os error 28)")
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error), str(path)) from error


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes `value` as JSON with its keys in their order."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def match_parameters(
    path: Path, model: LanguageModel | ScalarModel, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """The parameters of `model`, which may be on the meta device, that the tensors of these `shapes` belong to.

    Raises: CheckpointError naming a tensor of the file at `path` that is missing, unknown or of another shape.
    """
    # some old Llama checkpoints have RoPE's frequencies, which follow from the configuration
    ignored = {name for name in shapes if name.endswith("rotary_emb.inv_freq")}
    if isinstance(model, LanguageModel) and model.architecture.tied:
        ignored.add("lm_head.weight")
    wanted = {name: p for name, p in model.state_dict().items() if name not in ignored}
    given = {name: shape for name, shape in shapes.items() if name not in ignored}
    for name in sorted(wanted.keys() | given.keys()):
        if name not in given:
            raise CheckpointError(f"{path}: the tensor {name} is missing.")
        if name not in wanted:
            raise CheckpointError(f"{path}: the tensor {one_line(name)[:-1]} does not belong to this architecture.")
        if tuple(wanted[name].shape) != given[name]:
            shape = tuple(wanted[name].shape)
            raise CheckpointError(f"{path}: {name} is {given[name]}, but the architecture needs {shape}.")
    return wanted


@dataclass(frozen=True)
class TrainingState:
    """What training needs besides the weights: optimizers by name, and plain numbers (JSON values)."""

    optimizers: Mapping[str, torch.optim.Optimizer]
    numbers: Mapping[str, Any]


def write_state(folder: Path, state: TrainingState) -> None:
    """Writes the optimizers' moments and the numbers into `folder`."""
    tensors = {
        f"{name}/{index}/{moment}": tensor.cpu()
        for name, optimizer in state.optimizers.items()
        for index, moments in optimizer.state_dict()["state"].items()
        for moment, tensor in moments.items()
    }
    save_tensors(folder / "state.safetensors", tensors)
    write_json(folder / "state.json", state.numbers)


def load_state(
    folder: Path,
    modules: Mapping[str, LanguageModel | ScalarModel],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> dict[str, Any]:
    """Loads a saved step into `modules` (by subdirectory, "" is the main one) and `optimizers`; returns its numbers.

    Raises: CheckpointError if a file is missing, malformed or of another architecture.
    """
    for subdirectory, module in modules.items():
        path = folder / subdirectory / "model.safetensors"
        tensors = read_tensors(path)
        wanted = match_parameters(path, module, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        module.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
    moments: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in optimizers}
    for key, tensor in read_tensors(folder / "state.safetensors").items():
        name, index, moment = key.split("/")
        moments[name].setdefault(int(index), {})[moment] = tensor
    for name, optimizer in optimizers.items():  # learning rates and the like come from the configuration
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments[name], "param_groups": groups})
    return read_json(folder / "state.json")
