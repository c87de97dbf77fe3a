"""Open a Hugging Face directory of the Llama family: a policy, or a reward model with a scalar head.

Whatever this engine does not implement is refused by name, so that no checkpoint runs with silently wrong numbers.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.checkpoint import put_weights, read_json, read_tensors
from engine.errors import CheckpointError
from engine.heads import ScalarModel
from engine.tokenizer import Tokenizer, load_tokenizer
from engine.transformer import Architecture, LanguageModel

FAMILIES = ("llama", "mistral", "qwen2")
HEAD = "score.weight"  # what a reward model has and a policy has not


def read_architecture(directory: Path) -> Architecture:
    """The architecture that `directory`/config.json describes.

    Raises: CheckpointError naming the file and the field if it is missing, malformed or not implemented here.
    """
    path = directory / "config.json"
    config = read_json(path)
    family = config.get("model_type")
    if family not in FAMILIES:
        raise CheckpointError(f"{path}: model_type is {family!r}; slmctl opens {', '.join(FAMILIES)}.")
    _refuse_unknown(path, config)
    bias = bool(config.get("attention_bias", False))
    try:
        heads = int(config["num_attention_heads"])
        return Architecture(
            vocab_size=int(config["vocab_size"]),
            width=int(config["hidden_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_width=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
            ffn=int(config["intermediate_size"]),
            context=int(config["max_position_embeddings"]),
            rope_theta=_rope_theta(config),
            norm_eps=float(config.get("rms_norm_eps", 1e-6)),
            tied=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=bias or family == "qwen2",
            output_bias=bias and family == "llama",
        )
    except KeyError as error:
        raise CheckpointError(f"{path}: the field {error} is missing.") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: a size is not a number ({error}).") from error


def _rope_theta(config: dict[str, Any]) -> float:
    """RoPE's base, from either of the two places where transformers has kept it."""
    parameters = config.get("rope_parameters") or {}
    return float(config.get("rope_theta") or parameters.get("rope_theta") or 10_000.0)


def _refuse_unknown(path: Path, config: dict[str, Any]) -> None:
    """Raise CheckpointError for a feature that would change the numbers."""
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    sliding = config.get("sliding_window") and config.get("use_sliding_window", True)
    refused = {
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "rope_scaling": kind != "default",
        "sliding_window": bool(sliding),
        "mlp_bias": bool(config.get("mlp_bias", False)),
    }
    for field, unknown in refused.items():
        if unknown:
            raise CheckpointError(f"{path}: {field} = {config.get(field)!r} is not supported.")


def open_policy(directory: Path, device: torch.device | str = "cpu") -> tuple[LanguageModel, Tokenizer]:
    """The language model and tokenizer in `directory`, float32, in evaluation mode.

    Raises: CheckpointError if a file is missing or does not fit.
    """
    tensors, architecture, tokenizer = _parts(directory)
    if HEAD in tensors:
        raise CheckpointError(f"{directory} is a reward model, and a policy is needed here.")
    model = LanguageModel(architecture)
    put_weights(directory / "model.safetensors", model, tensors)
    grow_vocabulary(model, tokenizer.size)
    return model.to(device).eval(), tokenizer


def open_scalar(directory: Path, device: torch.device | str = "cpu") -> tuple[ScalarModel, Tokenizer]:
    """The reward model (or value network) and tokenizer in `directory`; its bias comes from slmctl.json, if any."""
    tensors, architecture, tokenizer = _parts(directory)
    if HEAD not in tensors:
        raise CheckpointError(f"{directory} is a policy, and a reward model is needed here.")
    about = directory / "slmctl.json"
    model = ScalarModel(architecture, float(read_json(about).get("reward_bias", 0.0)) if about.exists() else 0.0)
    put_weights(directory / "model.safetensors", model, tensors)
    grow_vocabulary(model, tokenizer.size)
    return model.to(device).eval(), tokenizer


def _parts(directory: Path) -> tuple[dict[str, Tensor], Architecture, Tokenizer]:
    if not directory.is_dir():
        raise CheckpointError(f"{directory} is not a checkpoint directory.")
    architecture = read_architecture(directory)
    tensors = {name: tensor.float() for name, tensor in read_tensors(directory / "model.safetensors").items()}
    return tensors, architecture, load_tokenizer(directory)


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
