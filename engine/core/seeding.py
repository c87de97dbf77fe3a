"""Random seeds derived by counter: every random draw of a run follows from (seed, stream, step).

No random state has to be saved, and changing one part of a run does not affect another. model/sampling.py makes torch
generators from these seeds.
"""

import hashlib
import random


def derive_seed(seed: int, stream: str, step: int = 0) -> int:
    """The seed of one stream at one step, 0 <= seed < 2**63, the same on every machine and Python version."""
    text = f"{seed}\x00{stream}\x00{step}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def python_rng(seed: int, stream: str, step: int = 0) -> random.Random:
    """A standard-library generator for one stream at one step."""
    return random.Random(derive_seed(seed, stream, step))
