"""Thread and OpenMP settings, which count only before torch is loaded.

Torch-free on purpose: the command line decides here, then imports torch. Active waiting is faster for a training
process that has the machine to itself; passive waiting is far faster wherever cores are shared.
"""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from engine.core.errors import ConfigError

WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@dataclass(frozen=True)
class ThreadSettings:
    """What was decided: how many threads, how they wait ("active" or "passive"), which variables were the user's."""

    threads: int
    waiting: str
    kept: tuple[str, ...]


def available_cores() -> int:
    """The number of cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def decide(threads: int | None, shared: bool, environ: Mapping[str, str]) -> ThreadSettings:
    """The settings for this process, changing nothing.

    A user's own wait policy wins; so does OMP_NUM_THREADS where `threads` is None.

    Raises: ConfigError where OMP_NUM_THREADS is not a positive whole number or `threads` is below 1.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads is {threads}; it must be 1 or more")
    kept = [name for name in WAIT_VARIABLES if name in environ]
    if threads is None and "OMP_NUM_THREADS" in environ:
        threads = _positive("OMP_NUM_THREADS", environ["OMP_NUM_THREADS"])
        kept.append("OMP_NUM_THREADS")
    waiting = "passive" if shared else "active"
    if "OMP_WAIT_POLICY" in environ:
        waiting = environ["OMP_WAIT_POLICY"].lower()
    return ThreadSettings(threads or available_cores(), waiting, tuple(kept))


def apply(threads: int | None, shared: bool = False, environ: MutableMapping[str, str] | None = None) -> int:
    """Sets the environment that torch reads when it loads, and returns the number of threads.

    `shared` says that other processes need the cores too.

    Raises: ConfigError as `decide`.
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
        raise ConfigError(f"{name} is {text!r}; it must be a whole number, 1 or more")
    return int(first)
