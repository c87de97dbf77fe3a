"""The settings of sampling that a person may turn on a screen: what they mean, and reading them from what was typed."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.core.errors import ConfigError, did_you_mean
from slmctl.worker.sampling_limits import LIMITS, WHOLE, checked_sampling

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Dial:
    """One setting; `usual` holds where nothing is typed."""

    name: str
    usual: float
    about: str

    def read(self, text: str) -> float:
        """The value that was typed. Raises: ConfigError where it is no number or out of range."""
        whole = self.name == "seed" or self.name in WHOLE
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            kind = "a whole number" if whole else "a number"
            raise ConfigError(f"{self.name} is {text.strip()[:40]!r}; it must be {kind}, {self.about}") from None
        if self.name in LIMITS:
            checked_sampling({self.name: value})
        elif not 0 <= value <= LARGEST_SEED:
            raise ConfigError(f"{self.name} is {value}; it must be 0 to {LARGEST_SEED}")
        return value


DIALS = {
    dial.name: dial
    for dial in (
        Dial("temperature", 1.0, "0 takes the likeliest token"),
        Dial("top_k", 0, "likeliest tokens to keep; 0 for all"),
        Dial("top_p", 1.0, "mass of likeliest tokens to keep"),
        Dial("max_new_tokens", 64, "the longest reply, in tokens"),
        Dial("seed", 0, "what every draw follows from"),
    )
}
SAMPLING = tuple(name for name in DIALS if name != "seed")


def dial_named(name: str) -> Dial:
    """A setting by its name, hyphens or underscores. Raises: ConfigError for any other name."""
    known = DIALS.get(name.strip().replace("-", "_"))
    if known is None:
        raise ConfigError(f"there is no setting {name!r}{did_you_mean(name, DIALS)} (settings: {', '.join(DIALS)})")
    return known


def with_usual(typed: Mapping[str, float]) -> dict[str, float]:
    """What was typed, and for the rest what is usual."""
    return {name: typed.get(name, DIALS[name].usual) for name in SAMPLING}


def in_words(sampling: Mapping[str, float]) -> str:
    """The settings in few words."""
    top_k, top_p = sampling.get("top_k", 0), sampling.get("top_p", 1)
    parts = [f"temperature {sampling.get('temperature', 1):g}"]
    parts += [f"top-k {top_k:g}"] if top_k else []
    parts += [f"top-p {top_p:g}"] if top_p < 1 else []
    return " · ".join([*parts, f"up to {sampling.get('max_new_tokens', 64):g} tokens"])
