"""Open a Hugging Face directory of the Llama family: a policy, or a reward model with a scalar head.

Whatever this engine does not implement is refused by name, so that no checkpoint runs with silently wrong numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
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
HEAD = "score.weight"  # what a reward model has and a policy has not
LARGEST = 2**24  # of any size
LONGEST_CONTEXT = 2**18  # with the widest head, RoPE's tables take half a gigabyte
WIDEST_HEAD = 256
BIGGEST = 1e30  # of a number that becomes a float32
MAX_ADDED_ROWS = 64  # rows that the embedding is grown by for added tokens


def read_architecture(directory: Path) -> Architecture:
    """The architecture that `directory`/config.json describes.

    Raises: CheckpointError naming the file and the field if it is missing, malformed or not implemented here.
    """
    path = directory / "config.json"
    config = read_json(path)
    family = config.get("model_type")
    if family not in FAMILIES:
        raise CheckpointError(f"{path}: model_type is {shown(family)}; slmctl opens {', '.join(FAMILIES)}.")
    _refuse_unknown(path, config)
    bias = _switch(path, config, "attention_bias")
    width, heads = _size(path, config, "hidden_size"), _size(path, config, "num_attention_heads")
    rope = {"rope_theta": _rope(path, config).get("rope_theta")}
    theta = rope if config.get("rope_theta") is None else config
    architecture = Architecture(
        vocab_size=_size(path, config, "vocab_size"),
        width=width,
        layers=_size(path, config, "num_hidden_layers"),
        heads=heads,
        kv_heads=_size(path, config, "num_key_value_heads", heads),
        head_width=_size(path, config, "head_dim", width // heads, most=WIDEST_HEAD),
        ffn=_size(path, config, "intermediate_size"),
        context=_size(path, config, "max_position_embeddings", most=LONGEST_CONTEXT),
        rope_theta=_number(path, theta, "rope_theta", 10_000.0, least=1.0, most=1e12),
        norm_eps=_number(path, config, "rms_norm_eps", 1e-6, least=0.0, most=1.0),
        tied=_switch(path, config, "tie_word_embeddings"),
        qkv_bias=bias or family == "qwen2",
        output_bias=bias and family == "llama",
    )
    if architecture.head_width % 2:
        raise CheckpointError(f"{path}: head_dim = {architecture.head_width} is odd; RoPE turns pairs.")
    if heads % architecture.kv_heads:
        raise CheckpointError(
            f"{path}: num_key_value_heads = {architecture.kv_heads} does not divide num_attention_heads = {heads}."
        )
    return architecture


def _size(path: Path, config: Mapping[str, Any], field: str, default: int | None = None, most: int = LARGEST) -> int:
    """A whole number from 1 to `most`; `default`, where there is one, stands for a field that is missing or null."""
    value = config.get(field)
    value = default if value is None else value
    if value is None:
        raise CheckpointError(f"{path}: the field {field!r} is missing.")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise CheckpointError(f"{path}: {field} = {shown(value)} is not a whole number from 1 to {most}.")
    return value


def _number(
    path: Path, config: Mapping[str, Any], field: str, default: float, least: float = -BIGGEST, most: float = BIGGEST
) -> float:
    """A number from `least` to `most`; `default` stands for a field that is missing or null."""
    value = config.get(field)
    value = default if value is None else value
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise CheckpointError(f"{path}: {field} = {shown(value)} is not a number from {least:g} to {most:g}.")
    return float(value)


def _switch(path: Path, config: Mapping[str, Any], field: str) -> bool:
    value = config.get(field)
    if value is not None and not isinstance(value, bool):
        raise CheckpointError(f"{path}: {field} = {shown(value)} is neither true nor false.")
    return bool(value)


def _rope(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """What says how RoPE turns, from either of the two places where transformers has kept it."""
    field = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    parameters = config.get(field) or {}
    if not isinstance(parameters, dict):
        raise CheckpointError(f"{path}: {field} = {shown(parameters)} is not an object.")
    return parameters


def _refuse_unknown(path: Path, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError for a feature that would change the numbers."""
    rope = _rope(path, config)
    sliding = config.get("sliding_window") and config.get("use_sliding_window", True)
    refused = {
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "rope_scaling": rope.get("rope_type", rope.get("type", "default")) != "default",
        "sliding_window": bool(sliding),
        "mlp_bias": _switch(path, config, "mlp_bias"),
        "quantization_config": bool(config.get("quantization_config")),
    }
    for field, unknown in refused.items():
        if unknown:
            value = config.get(field) if field in config else rope
            raise CheckpointError(f"{path}: {field} = {shown(value)} is not supported.")


def open_policy(directory: Path, device: torch.device | str = "cpu", day: str = "") -> tuple[LanguageModel, Tokenizer]:
    """The language model and tokenizer in `directory`, float32, in evaluation mode.

    Raises: CheckpointError if a file is missing or does not fit.
    """
    weights, architecture, tokenizer = _parts(directory, day)
    if HEAD in weights.shapes:
        raise CheckpointError(f"{directory} is a reward model, and a policy is needed here.")
    model = _filled(weights, lambda: LanguageModel(architecture))
    grow_vocabulary(model, tokenizer.size)
    return model.to(device).eval(), tokenizer


def open_scalar(directory: Path, device: torch.device | str = "cpu", day: str = "") -> tuple[ScalarModel, Tokenizer]:
    """The reward model (or value network) and tokenizer in `directory`; its bias comes from slmctl.json, if any.

    Raises: CheckpointError if a file is missing or does not fit.
    """
    weights, architecture, tokenizer = _parts(directory, day)
    if HEAD not in weights.shapes:
        raise CheckpointError(f"{directory} is a policy, and a reward model is needed here.")
    about = directory / "slmctl.json"
    bias = _number(about, read_json(about), "reward_bias", 0.0) if about.exists() else 0.0
    model = _filled(weights, lambda: ScalarModel(architecture, bias))
    grow_vocabulary(model, tokenizer.size)
    return model.to(device).eval(), tokenizer


def is_reward_model(directory: Path) -> bool:
    """Whether `directory` holds a reward model rather than a policy. Raises: CheckpointError where it holds neither."""
    return HEAD in find_weights(directory).shapes


def _parts(directory: Path, day: str) -> tuple[Weights, Architecture, Tokenizer]:
    """What a directory says of itself, checked against itself before anything is allocated."""
    if not directory.is_dir():
        raise CheckpointError(f"{directory} is not a checkpoint directory.")
    architecture = read_architecture(directory)
    weights = find_weights(directory)
    check_sizes(directory / "config.json", architecture, weights)
    tokenizer = load_tokenizer(directory, day)
    check_ids(directory / "tokenizer.json", tokenizer, architecture.vocab_size)
    return weights, architecture, tokenizer


def _filled(weights: Weights, build: Callable[[], M]) -> M:
    """The model that `build` makes, filled with `weights`; it is made in earnest once every shape fits."""
    with torch.device("meta"):
        match_parameters(weights.path, build(), weights.shapes)
    model = build()
    copy_weights(weights, match_parameters(weights.path, model, weights.shapes))
    return model


def check_sizes(config: Path, architecture: Architecture, weights: Weights) -> None:
    """Nothing where the sizes in `config`, a config.json, are those of the weights.

    Raises: CheckpointError naming the field, its value and what the weights say.
    """
    a, layer = architecture, "model.layers.0."
    count = len({name.split(".")[2] for name in weights.shapes if name.startswith("model.layers.")})
    if a.layers != count:
        raise CheckpointError(f"{config}: num_hidden_layers = {a.layers}, but {weights.path.name} holds {count}.")
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


def check_ids(path: Path, tokenizer: Tokenizer, rows: int) -> None:
    """Nothing where the ids of `tokenizer`, read from `path`, fit an embedding of so many `rows`.

    A smaller tokenizer fits: spare rows are common. Ids past the rows may only be added tokens, such as our own PAD or
    a few chat markers, for which the model is grown; a vocabulary past them is another model's.

    Raises: CheckpointError with both numbers.
    """
    added = len([i for i in tokenizer.encoder.get_added_tokens_decoder() if i >= rows])
    if tokenizer.size > rows + min(added, MAX_ADDED_ROWS):
        raise CheckpointError(
            f"{path} has ids up to {tokenizer.size - 1}, but the model has {rows} rows: it is another's tokenizer."
        )


def grow_vocabulary(model: LanguageModel | ScalarModel, size: int) -> None:
    """Add rows, the mean of the old ones, until the embedding holds `size` ids; in place."""
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
    return nn.Parameter(torch.cat((weight, weight.mean(0, keepdim=True).expand(rows, -1))))
