"""Opens a Hugging Face directory of the Llama family: a policy, or a reward model with a scalar head.

Anything that this engine does not implement is refused by name, so that no checkpoint runs with silently wrong numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as shown
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from engine.core.errors import CheckpointError
from engine.core.untrusted_files import read_json
from engine.model.checkpoint import match_parameters
from engine.model.heads import ScalarModel
from engine.model.tokenizer import Tokenizer, load_tokenizer
from engine.model.transformer import Architecture, LanguageModel
from engine.model.weights import Weights, copy_weights, find_weights

M = TypeVar("M", LanguageModel, ScalarModel)

FAMILIES = ("llama", "mistral", "qwen2")
HEAD = "score.weight"  # the tensor that a reward model has and a policy does not
MAX_SIZE = 2**24
MAX_CONTEXT = 2**18  # with the widest head, RoPE's tables take half a gigabyte
MAX_HEAD_WIDTH = 256
MAX_NUMBER = 1e30  # of a number that becomes a float32
MAX_ADDED_ROWS = 64  # embedding rows that are added for a tokenizer's added tokens


@dataclass(frozen=True)
class UntrustedFields:
    """The fields of a JSON file of unknown origin. A field that is null counts as missing."""

    path: Path
    values: Mapping[str, Any]

    def size(self, field: str, default: int | None = None, most: int = MAX_SIZE) -> int:
        """An integer from 1 to `most`. Raises: CheckpointError if it is not, or is missing and has no default."""
        value = default if self.values.get(field) is None else self.values[field]
        if value is None:
            raise CheckpointError(f"{self.path}: the field {field!r} is missing.")
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise CheckpointError(f"{self.path}: {field} = {shown(value)} is not a whole number from 1 to {most}.")
        return value

    def number(self, field: str, default: float, least: float = -MAX_NUMBER, most: float = MAX_NUMBER) -> float:
        """A number from `least` to `most`. Raises: CheckpointError if it is not."""
        value = default if self.values.get(field) is None else self.values[field]
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise CheckpointError(f"{self.path}: {field} = {shown(value)} is not a number from {least:g} to {most:g}.")
        return float(value)

    def switch(self, field: str) -> bool:
        """A bool, False if it is missing. Raises: CheckpointError if it is something else."""
        value = self.values.get(field)
        if value is not None and not isinstance(value, bool):
            raise CheckpointError(f"{self.path}: {field} = {shown(value)} is neither true nor false.")
        return bool(value)

    def rope(self) -> dict[str, Any]:
        """RoPE's parameters, from either of the two fields that transformers uses."""
        field = "rope_parameters" if self.values.get("rope_parameters") else "rope_scaling"
        parameters = self.values.get(field) or {}
        if not isinstance(parameters, dict):
            raise CheckpointError(f"{self.path}: {field} = {shown(parameters)} is not an object.")
        return parameters


def read_architecture(directory: Path) -> Architecture:
    """The architecture that `directory`/config.json describes.

    Raises: CheckpointError naming the file and the field if it is missing, malformed or not implemented here.
    """
    config = UntrustedFields(directory / "config.json", read_json(directory / "config.json"))
    family = config.values.get("model_type")
    if family not in FAMILIES:
        raise CheckpointError(f"{config.path}: model_type is {shown(family)}; slmctl opens {', '.join(FAMILIES)}.")
    _refuse_unsupported(config)
    bias = config.switch("attention_bias")
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    rope = config if config.values.get("rope_theta") is not None else UntrustedFields(config.path, config.rope())
    architecture = Architecture(
        vocab_size=config.size("vocab_size"),
        width=width,
        layers=config.size("num_hidden_layers"),
        heads=heads,
        kv_heads=config.size("num_key_value_heads", heads),
        head_width=config.size("head_dim", width // heads, most=MAX_HEAD_WIDTH),
        ffn=config.size("intermediate_size"),
        context=config.size("max_position_embeddings", most=MAX_CONTEXT),
        rope_theta=rope.number("rope_theta", 10_000.0, least=1.0, most=1e12),
        norm_eps=config.number("rms_norm_eps", 1e-6, least=0.0, most=1.0),
        tied=config.switch("tie_word_embeddings"),
        # Llama's attention_bias covers the output projection too; Qwen2 always has input biases and has no such field
        qkv_bias=bias or family == "qwen2",
        output_bias=bias and family == "llama",
    )
    if architecture.head_width % 2:
        raise CheckpointError(f"{config.path}: head_dim = {architecture.head_width} is odd; RoPE rotates pairs.")
    if heads % (kv_heads := architecture.kv_heads):
        raise CheckpointError(
            f"{config.path}: num_key_value_heads = {kv_heads} does not divide num_attention_heads = {heads}."
        )
    return architecture


def _refuse_unsupported(config: UntrustedFields) -> None:
    """Raises CheckpointError for a feature that would change the numbers."""
    values, rope = config.values, config.rope()
    refused = {
        "hidden_act": values.get("hidden_act", "silu") != "silu",
        "rope_scaling": rope.get("rope_type", rope.get("type", "default")) != "default",
        "sliding_window": bool(values.get("sliding_window") and values.get("use_sliding_window", True)),
        "mlp_bias": config.switch("mlp_bias"),
        "quantization_config": bool(values.get("quantization_config")),
    }
    for field, unsupported in refused.items():
        if unsupported:
            raise CheckpointError(f"{config.path}: {field} = {shown(values.get(field, rope))} is not supported.")


def open_policy(directory: Path, device: torch.device | str = "cpu", day: str = "") -> tuple[LanguageModel, Tokenizer]:
    """The language model and tokenizer in `directory`, float32, in evaluation mode; `day` as for `load_tokenizer`.

    Raises: CheckpointError if a file is missing or does not fit.
    """
    weights, architecture, tokenizer = _open(directory, day)
    if HEAD in weights.shapes:
        raise CheckpointError(f"{directory} is a reward model; pass a policy, which can generate responses.")
    model = _loaded(weights, lambda: LanguageModel(architecture))
    grow_vocabulary(model, tokenizer.size)
    return model.to(device).eval(), tokenizer


def open_scalar(directory: Path, device: torch.device | str = "cpu", day: str = "") -> tuple[ScalarModel, Tokenizer]:
    """The reward model or value network and the tokenizer in `directory`, as `open_policy`; slmctl.json has its bias.

    Raises: CheckpointError if a file is missing or does not fit.
    """
    weights, architecture, tokenizer = _open(directory, day)
    if HEAD not in weights.shapes:
        raise CheckpointError(f"{directory} is a policy; pass a reward model, which can score responses.")
    about = directory / "slmctl.json"
    bias = UntrustedFields(about, read_json(about)).number("reward_bias", 0.0) if about.exists() else 0.0
    model = _loaded(weights, lambda: ScalarModel(architecture, bias))
    grow_vocabulary(model, tokenizer.size)
    return model.to(device).eval(), tokenizer


def is_reward_model(directory: Path) -> bool:
    """Whether `directory` has a reward model rather than a policy. Raises: CheckpointError if it has neither."""
    return HEAD in find_weights(directory).shapes


def _open(directory: Path, day: str) -> tuple[Weights, Architecture, Tokenizer]:
    """The parts of a checkpoint, checked against each other before anything is allocated."""
    if not directory.is_dir():
        raise CheckpointError(f"{directory} is not a checkpoint directory.")
    architecture = read_architecture(directory)
    weights = find_weights(directory)
    check_sizes(directory / "config.json", architecture, weights)
    tokenizer = load_tokenizer(directory, day)
    check_vocabulary(directory / "tokenizer.json", tokenizer, architecture.vocab_size)
    return weights, architecture, tokenizer


def _loaded(weights: Weights, build: Callable[[], M]) -> M:
    """The model that `build` makes, with `weights`. Memory is allocated after all shapes are known to fit."""
    with torch.device("meta"):  # tensors with shapes and no memory
        match_parameters(weights.path, build(), weights.shapes)
    model = build()
    copy_weights(weights, match_parameters(weights.path, model, weights.shapes))
    return model


def check_sizes(config: Path, architecture: Architecture, weights: Weights) -> None:
    """Checks that the sizes in `config`, a config.json, are those of the weights.

    Raises: CheckpointError naming the field, its value and the shape of the weights.
    """
    # match_parameters would find these too, as shapes that differ; naming the field shows what to correct
    a, layer = architecture, "model.layers.0."
    count = len({name.split(".")[2] for name in weights.shapes if name.startswith("model.layers.")})
    if a.layers != count:
        raise CheckpointError(f"{config}: num_hidden_layers = {a.layers}, but {weights.path.name} has {count}.")
    for field, size, name, axis in (
        ("vocab_size", a.vocab_size, "model.embed_tokens.weight", 0),
        ("hidden_size", a.width, "model.embed_tokens.weight", 1),
        ("intermediate_size", a.ffn, f"{layer}mlp.gate_proj.weight", 0),
        ("num_attention_heads * head_dim", a.heads * a.head_width, f"{layer}self_attn.q_proj.weight", 0),
        ("num_key_value_heads * head_dim", a.kv_heads * a.head_width, f"{layer}self_attn.k_proj.weight", 0),
    ):
        shape = weights.shapes.get(name)
        if shape is None:
            raise CheckpointError(f"{weights.path}: the tensor {name} is missing.")
        if len(shape) != 2 or shape[axis] != size:
            raise CheckpointError(f"{config}: {field} = {size}, but in {weights.path.name} {name} is {shape}.")


def check_vocabulary(path: Path, tokenizer: Tokenizer, rows: int) -> None:
    """Checks that the ids of `tokenizer`, loaded from `path`, fit an embedding with so many `rows`.

    Fewer ids than rows are common. Ids beyond the rows may only be added tokens, such as our PAD or a few chat markers,
    for which the model grows; ordinary tokens beyond them mean that the tokenizer belongs to another model.

    Raises: CheckpointError with both numbers.
    """
    added = len([i for i in tokenizer.encoder.get_added_tokens_decoder() if i >= rows])
    if tokenizer.size > rows + min(added, MAX_ADDED_ROWS):
        raise CheckpointError(
            f"{path} has ids up to {tokenizer.size - 1}, but the model has {rows} rows: the tokenizer of another model."
        )


def grow_vocabulary(model: LanguageModel | ScalarModel, size: int) -> None:
    """Adds rows to the embedding until it has `size`, in place."""
    missing = size - model.architecture.vocab_size
    if missing <= 0:
        return
    model.architecture = replace(model.architecture, vocab_size=size)
    model.model.architecture = model.architecture
    with torch.no_grad():
        model.model.embed_tokens.weight = _grown(model.model.embed_tokens.weight, missing)
        if isinstance(model, LanguageModel):
            tied = model.architecture.tied
            model.lm_head.weight = model.model.embed_tokens.weight if tied else _grown(model.lm_head.weight, missing)


def _grown(weight: Tensor, rows: int) -> nn.Parameter:
    """`weight` (V,C) with `rows` more rows, each the mean of the old ones."""
    # so a new token is as likely as an average one; a row of zeros would have logit 0, which may be above all others
    return nn.Parameter(torch.cat((weight, weight.mean(0, keepdim=True).expand(rows, -1))))
