"""The machine as a run sees it: device, threads, memory, versions."""

import os
import platform
import resource
import sys
from importlib.metadata import version

import torch

from engine.config import Config
from engine.errors import ConfigError

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
        raise ConfigError(f"there is no device {name!r} here (devices: {here}); use --device cpu")
    return torch.device(name)


def prepare_machine(config: Config) -> torch.device:
    """The device of a run, with torch set to its number of threads."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    return choose_device(config.device)


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
