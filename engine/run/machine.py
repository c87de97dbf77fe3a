"""The machine as a run sees it: device, threads, memory, versions."""

import os
import platform
import resource
import sys
from importlib.metadata import version

import torch

from engine.core.config import Config
from engine.core.errors import ConfigError, EngineError

SMALLER = {
    "pretrain": "pretrain.batch_tokens, model.width or tokenizer.vocab_size",
    "sft": "sft.batch",
    "comparisons": "comparisons.batch",
    "rm": "rm.batch",
    "ppo": "ppo.microbatch or ppo.rollout_batch",
    "eval": "eval.batch",
}
"""What to lower where a stage runs out of memory."""
OUT_OF_MEMORY = "can't allocate memory"  # what torch says on a CPU, with no type of its own
BYTES_A_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def choose_device(name: str) -> torch.device:
    """The device that `name` means; "auto" is the fastest there is.

    Raises: ConfigError for a device that this machine does not have.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, there in found.items() if there))
    if not found.get(name, False):
        here = ", ".join(device for device, there in found.items() if there)
        raise ConfigError(f"device {name!r} is not available (available: {here}); use --device cpu")
    return torch.device(name)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, here or on a GPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or OUT_OF_MEMORY in str(error)


def memory_error(error: BaseException, stage: str) -> EngineError | None:
    """The sentence for memory that ran out in a stage, here or on a GPU, or None for any other error."""
    if not is_out_of_memory(error):
        return None
    lower = f": lower {SMALLER[stage]}" if stage in SMALLER else ""
    return EngineError(f"{stage or 'the run'} does not fit into memory{lower} (the last save is kept)")


def peak_rss_mb() -> float:
    """The most memory that this process has held so far, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_A_RSS_UNIT / 1e6


def versions(config: Config) -> dict[str, str]:
    """What a run's numbers may depend on beside its settings: software, device, and how threads wait for each other."""
    return {
        "device": choose_device(config.device).type,
        "waiting": os.environ.get("OMP_WAIT_POLICY", "default"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "slmctl": version("slmctl"),
    }
