"""The tensors of a checkpoint directory of unknown origin: first the headers, then the tensors themselves.

Names and shapes come from the headers alone, so that a model is allocated only if they fit it. The safetensors library
checks that a header lies inside its file and that the tensors fill the rest of it exactly. Pickles are never opened.
pretrained.py decides what the tensors are for.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from engine.core.errors import CheckpointError, one_line
from engine.core.untrusted_files import read_json

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
# what a float32 model can be filled with without knowing how the numbers were packed
FLOATS = ("F64", "F32", "F16", "BF16")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
Header = dict[str, tuple[tuple[int, ...], str]]  # shape and number format by name


@dataclass(frozen=True)
class Weights:
    """The shape of each tensor of a directory and the file that it is in. `path` is the file that errors name."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    files: dict[str, Path]


def find_weights(directory: Path) -> Weights:
    """The tensors of model.safetensors, or of the files that its index names, by their headers.

    Raises: CheckpointError if there are none, they are damaged, or one is not floating point.
    """
    whole, index = directory / WHOLE, directory / INDEX
    if whole.exists() or not index.exists():
        _refuse_pickles(directory, whole)
        headers, path = {whole: read_header(whole)}, whole
    else:
        headers, path = _sharded(index), index
    for file, header in headers.items():
        for name, (_, kind) in header.items():
            if kind not in FLOATS:
                raise CheckpointError(
                    f"{file}: the tensor {name} is {kind}, and slmctl opens {', '.join(FLOATS)} (no quantized models)."
                )
    shapes = {name: shape for header in headers.values() for name, (shape, _) in header.items()}
    return Weights(path, shapes, {name: file for file, header in headers.items() for name in header})


def read_header(path: Path) -> Header:
    """Shape and number format of each tensor in a safetensors file, whose data is not read.

    Raises: CheckpointError if it is missing, truncated or malformed.
    """
    _refuse_other_than_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            slices = {name: file.get_slice(name) for name in names}
            header = {name: (tuple(piece.get_shape()), str(piece.get_dtype())) for name, piece in slices.items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {one_line(error)}") from error
    return header


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises: CheckpointError if it is missing, truncated or malformed.
    """
    read_header(path)
    return load_file(path)


@torch.no_grad()
def copy_weights(weights: Weights, into: dict[str, Tensor]) -> None:
    """Copies tensors into the parameters `into` of the same names, one at a time, converted to their number format.

    Raises: CheckpointError if one contains NaN or infinity.
    """
    for path in sorted(set(weights.files.values())):
        with safe_open(path, framework="pt") as file:
            for name in sorted(into.keys() & {name for name, its in weights.files.items() if its == path}):
                tensor = file.get_tensor(name)
                # one NaN would spread over a whole forward pass, and show up as a strange loss much later
                if not torch.isfinite(tensor).all():
                    raise CheckpointError(f"{path}: the tensor {name} contains NaN or infinity; the file is damaged.")
                into[name].copy_(tensor)  # every bfloat16 and float16 number is exact in float32


def _sharded(index: Path) -> dict[Path, Header]:
    """The headers of the files beside `index` that it names."""
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise CheckpointError(f"{index}: weight_map must be an object that maps each tensor to its file.")
    for name in placed.values():
        # an index may not lead out of the directory, to a file that the user did not mean to open
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise CheckpointError(
                f"{index}: {one_line(repr(name))[:-1]} is not the name of a safetensors file beside it."
            )
    headers = {index.parent / name: read_header(index.parent / name) for name in sorted(set(placed.values()))}
    found = [(name, file.name) for file, header in headers.items() for name in header]
    wrong = sorted(set(found) ^ set(placed.items()))
    if wrong:
        raise CheckpointError(f"{index}: weight_map and the files disagree about the tensor {one_line(wrong[0][0])}")
    return headers


def _refuse_pickles(directory: Path, wanted: Path) -> None:
    pickles = sorted(entry.name for entry in directory.iterdir() if entry.suffix in PICKLES)
    if pickles and not wanted.exists():
        raise CheckpointError(
            f"{directory} has no {wanted.name}, and {pickles[0]} is a pickle, which can run code when it is opened, so "
            "slmctl does not open it. If you trust it, convert it with transformers: "
            "from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)."
        )


def _refuse_other_than_file(path: Path) -> None:
    """Raises CheckpointError for a directory, a pipe or a device, from which reading may never return."""
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} cannot be read as safetensors: it is not a file.")
