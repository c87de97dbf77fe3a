"""The sampling settings: their defaults and limits, the same for commands, screens and the sampler. Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.core.errors import ConfigError, did_you_mean

LIMITS: dict[str, tuple[float, float]] = {
    "temperature": (0, 100),
    "top_k": (0, 10**9),
    "top_p": (1e-9, 1),
    "max_new_tokens": (1, 10**6),
}
WHOLE = ("top_k", "max_new_tokens")
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class SamplingSetting:
    """A setting that can be changed on a screen: the sampling settings and the seed."""

    name: str
    default: float
    help: str

    def parse(self, text: str) -> float:
        """The value typed as `text`. Raises: ConfigError if it is not a number or out of range."""
        whole = self.name == "seed" or self.name in WHOLE
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            kind = "a whole number" if whole else "a number"
            raise ConfigError(f"{self.name} is {text.strip()[:40]!r}; it must be {kind} ({self.help})") from None
        if self.name in LIMITS:
            checked_sampling({self.name: value})
        elif not 0 <= value <= LARGEST_SEED:
            raise ConfigError(f"{self.name} is {value}; it must be 0 to {LARGEST_SEED}")
        return value


SETTINGS = {
    setting.name: setting
    for setting in (
        SamplingSetting("temperature", 1.0, "0 for greedy decoding"),
        SamplingSetting("top_k", 0, "number of likeliest tokens; 0 for all"),
        SamplingSetting("top_p", 1.0, "probability mass to sample from"),
        SamplingSetting("max_new_tokens", 64, "maximum tokens per response"),
        SamplingSetting("seed", 0, "random seed"),
    )
}


def setting_named(name: str) -> SamplingSetting:
    """A setting by its name, with hyphens or underscores. Raises: ConfigError that suggests the nearest name."""
    known = SETTINGS.get(name.strip().replace("-", "_"))
    if known is None:
        raise ConfigError(
            f"there is no setting {name!r}{did_you_mean(name, SETTINGS)} (settings: {', '.join(SETTINGS)})"
        )
    return known


def with_defaults(sampling: Mapping[str, float]) -> dict[str, float]:
    """All sampling settings, the missing ones at their defaults."""
    return {name: sampling.get(name, SETTINGS[name].default) for name in LIMITS}


def describe_sampling(sampling: Mapping[str, float]) -> str:
    """The settings on one line, those without effect left out."""
    values = with_defaults(sampling)
    parts = [f"temperature {values['temperature']:g}"]
    parts += [f"top-k {values['top_k']:g}"] if values["top_k"] else []
    parts += [f"top-p {values['top_p']:g}"] if values["top_p"] < 1 else []
    return " · ".join([*parts, f"up to {values['max_new_tokens']:g} tokens"])


def checked_sampling(given: Mapping[str, float], typed_as_options: bool = False) -> dict[str, Any]:
    """The sampling settings by name, counts converted to int.

    Raises: ConfigError for an unknown name or a value out of range; with `typed_as_options` it names the option.
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
