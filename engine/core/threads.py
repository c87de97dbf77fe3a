"""Thread and OpenMP settings, which take effect only before torch is imported.

Active waiting is faster for a training process that has the machine to itself; passive waiting is much faster if cores
are shared.
"""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from engine.core.errors import ConfigError

WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@dataclass(frozen=True)
class ThreadSettings:
    """The number of threads, how they wait ("active" or "passive"), and which variables the user has set."""

    threads: int
    waiting: str
    kept: tuple[str, ...]


def available_cores() -> int:
    """The number of cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def decide(threads: int | None, shared: bool, environ: Mapping[str, str]) -> ThreadSettings:
    """The settings for this process; changes nothing.

    The user's own wait policy takes precedence, and OMP_NUM_THREADS if `threads` is None.

    Raises: ConfigError if OMP_NUM_THREADS or `threads` is not a positive integer.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, got {threads}")
    kept = [name for name in WAIT_VARIABLES if name in environ]
    if threads is None and "OMP_NUM_THREADS" in environ:
        threads = _positive("OMP_NUM_THREADS", environ["OMP_NUM_THREADS"])
        kept.append("OMP_NUM_THREADS")
    waiting = "passive" if shared else "active"
    if "OMP_WAIT_POLICY" in environ:
        waiting = environ["OMP_WAIT_POLICY"].lower()
    return ThreadSettings(threads or available_cores(), waiting, tuple(kept))


def apply(threads: int | None, shared: bool = False, environ: MutableMapping[str, str] | None = None) -> int:
    """Sets the environment variables that torch reads on import; returns the number of threads.

    `shared` means that other processes use the cores, too.

    Raises: ConfigError, see `decide`.
    """
    environ = os.environ if environ is None else environ
    settings = decide(threads, shared, environ)
    count = str(settings.threads)
    environ["OMP_NUM_THREADS"] = environ["MKL_NUM_THREADS"] = count
    environ["TOKENIZERS_PARALLELISM"] = "false"
    if not any(name in settings.kept for name in WAIT_VARIABLES):
        environ.update(_waiting_variables(settings.waiting))
    return settings.threads


def _waiting_variables(waiting: str) -> dict[str, str]:
    if waiting == "passive":
        return {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
    return {"OMP_WAIT_POLICY": "active"}


def _positive(name: str, text: str) -> int:
    first = text.split(",")[0].strip()
    if not first.isdigit() or int(first) < 1:
        raise ConfigError(f"{name} must be a positive integer, got {text!r}")
    return int(first)
