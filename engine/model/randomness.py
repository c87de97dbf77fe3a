"""Torch's random streams: the generator of a named stream at a step. Nothing about randomness is ever saved."""

import torch

from engine.core.seeding import derive_seed


def generator(seed: int, stream: str, step: int = 0) -> torch.Generator:
    """A fresh CPU generator for `stream` at `step`; the same three always give the same numbers.

    Draws are made on the CPU and moved, so that a run does not depend on the device's own generator.
    """
    return torch.Generator().manual_seed(derive_seed(seed, stream, step))
