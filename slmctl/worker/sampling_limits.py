"""The sampling settings that a person may ask for, the same for commands, screens and the sampler child. Torch-free."""

from collections.abc import Mapping
from typing import Any

from engine.core.errors import ConfigError

LIMITS: dict[str, tuple[float, float]] = {
    "temperature": (0, 100),
    "top_k": (0, 10**9),
    "top_p": (1e-9, 1),
    "max_new_tokens": (1, 10**6),
}
WHOLE = ("top_k", "max_new_tokens")


def checked_sampling(given: Mapping[str, float], typed_as_options: bool = False) -> dict[str, Any]:
    """The sampling settings given, by name, counts as whole numbers.

    Raises: ConfigError for an unknown name or a value out of range, named as on the command line if it was typed there.
    """
    checked: dict[str, Any] = {}
    for name, value in given.items():
        shown = f"--{name.replace('_', '-')}" if typed_as_options else name
        if name not in LIMITS:
            raise ConfigError(f"there is no sampling setting {shown} (settings: {', '.join(LIMITS)})")
        low, high = LIMITS[name]
        if not low <= value <= high or (name in WHOLE and value != int(value)):
            whole = "a whole number, " if name in WHOLE else ""
            raise ConfigError(f"{shown} is {value}; it must be {whole}{low} to {high}")
        checked[name] = int(value) if name in WHOLE else float(value)
    return checked
