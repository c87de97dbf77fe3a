"""The sampling settings: their defaults and limits, the same for commands, screens and the sampler. Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.core.errors import ConfigError, did_you_mean

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class SamplingSetting:
    """A setting that can be changed on a screen: the sampling settings and the seed."""

    name: str
    default: float
    low: float
    high: float
    help: str
    whole: bool = False

    def parse(self, text: str) -> float:
        """The value typed as `text`. Raises: ConfigError if it is not a number or out of range."""
        try:
            value = int(text) if self.whole else float(text)
        except ValueError:
            kind = "a whole number" if self.whole else "a number"
            raise ConfigError(f"{self.name} is {text.strip()[:40]!r}; it must be {kind} ({self.help})") from None
        return self.check(value, self.name)

    def check(self, value: float, shown_as: str) -> float:
        """The value, of type int for a whole number. Raises: ConfigError if it is out of range."""
        if not self.low <= value <= self.high or (self.whole and value != int(value)):
            whole = "a whole number, " if self.whole else ""
            allowed = f"more than 0, at most {self.high}" if 0 < self.low < 1 else f"{self.low} to {self.high}"
            raise ConfigError(f"{shown_as} is {value}; it must be {whole}{allowed}")
        return int(value) if self.whole else float(value)


SETTINGS = {
    setting.name: setting
    for setting in (
        SamplingSetting("temperature", 1.0, 0, 100, "0 for greedy decoding"),
        SamplingSetting("top_k", 0, 0, 10**9, "number of likeliest tokens; 0 for all", whole=True),
        SamplingSetting("top_p", 1.0, 1e-9, 1, "probability mass to sample from"),
        SamplingSetting("max_new_tokens", 64, 1, 10**6, "maximum tokens per response", whole=True),
        SamplingSetting("seed", 0, 0, LARGEST_SEED, "random seed", whole=True),
    )
}
OF_SAMPLING = tuple(name for name in SETTINGS if name != "seed")


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
    return {name: sampling.get(name, SETTINGS[name].default) for name in OF_SAMPLING}


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
        if name not in OF_SAMPLING:
            raise ConfigError(f"there is no sampling setting {shown} (settings: {', '.join(OF_SAMPLING)})")
        checked[name] = SETTINGS[name].check(value, shown)
    return checked
