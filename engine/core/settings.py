"""From what a person typed, the environment, a preset and the defaults to one Config, with the origin of every value.

Order: typed (options and --set) > SLMCTL_* variables > preset > default. An existing run's own values stand in for the
preset's. What the fields mean is config.py's job; run.toml is runtoml.py's.
"""

import importlib.resources
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from engine.core.config import Config
from engine.core.errors import ConfigError, FileError, nearest

ENVIRONMENT_PREFIX = "SLMCTL_"
RESERVED_VARIABLES = ("SLMCTL_RUNS",)
DEFAULT = "default"
TYPED = "--set"  # the origin of what a person typed


@dataclass(frozen=True)
class Preset:
    """A named set of values; `values` maps dotted names to raw TOML values, `file` is set where a person brought it."""

    name: str
    description: str
    values: dict[str, Any]
    file: Path | None = None


@dataclass(frozen=True)
class Resolved:
    """A configuration and, for each dotted name, where its value came from."""

    config: Config
    origins: dict[str, str]


@dataclass(frozen=True)
class Layer:
    """Values by dotted name with the origin that is named in `presets show`, in run.toml and in errors."""

    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)
    origin: str = DEFAULT

    def origin_of(self, name: str) -> str:
        """Where this layer says that a value came from."""
        return self.origins.get(name, self.origin)


def resolve(
    preset: Preset | None = None,
    overrides: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    base: Layer | None = None,
) -> Resolved:
    """The configuration that follows from every layer.

    `flags` maps dotted names to typed values, `overrides` (--set) to text; `base` is what an existing run recorded.

    Raises: ConfigError for an unknown name (with the nearest one) or a value that is not allowed.
    """
    layers = [] if preset is None else [Layer(preset.values, origin=f"preset {preset.name}")]
    layers += [] if base is None else [base]
    layers.append(environment_layer(environ or {}))
    layers.append(Layer({name: parse_value(text) for name, text in (overrides or {}).items()}, origin=TYPED))
    options = {name: value for name, value in (flags or {}).items() if value is not None}
    layers.append(Layer(options, {name: "--" + name.rsplit(".", 1)[-1].replace("_", "-") for name in options}))
    values: dict[str, Any] = {}
    origins = dict.fromkeys(leaves(), DEFAULT)
    for layer in layers:
        for name, value in layer.values.items():
            check_setting(name, layer.origin_of(name))
            values[name], origins[name] = value, layer.origin_of(name)
    return Resolved(_build(values, origins), origins)


def leaves() -> dict[str, FieldInfo]:
    """Every setting by dotted name, in the order of the Config."""
    return dict(_walk(Config, ""))


def flatten(config: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Every value of a configuration by dotted name."""
    flat: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        flat.update(flatten(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {prefix + name: value})
    return flat


def check_setting(name: str, origin: str) -> None:
    """Nothing where the setting exists.

    Raises: ConfigError with the nearest name where it does not.
    """
    if name not in leaves():
        raise ConfigError(f"there is no setting {name!r} (from {origin}){nearest(name, leaves())}")


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """The settings given as SLMCTL_SEED, SLMCTL_PPO_KL_COEF and so on.

    Raises: ConfigError for a variable with the prefix that names no setting.
    """
    variables = {ENVIRONMENT_PREFIX + name.replace(".", "_").upper(): name for name in leaves()}
    values, origins = {}, {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in RESERVED_VARIABLES:
            continue
        if variable not in variables:
            raise ConfigError(f"the variable {variable} names no setting{nearest(variable, variables)}")
        values[variables[variable]] = parse_value(text)
        origins[variables[variable]] = variable
    return Layer(values, origins)


def parse_assignments(items: Iterable[str]) -> dict[str, str]:
    """`name=value` items as a dictionary of text.

    Raises: ConfigError where an item has no '='.
    """
    pairs = {}
    for item in items:
        name, mark, text = item.partition("=")
        if not mark or not name.strip():
            raise ConfigError(f"--set takes name=value, such as ppo.kl_coef=0.05, and got {item!r}")
        pairs[name.strip()] = text.strip()
    return pairs


def parse_value(text: str) -> Any:
    """The value that a TOML file would hold for this text; what is not TOML is the text itself."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def load_preset(name_or_path: str) -> Preset:
    """A shipped preset by name, or a person's own by path.

    Raises: ConfigError for a name that is not shipped or a file that is not TOML; FileError for a file that is missing
    or cannot be read.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise FileError(f"there is no preset file {path}")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"cannot read the preset {path}: {error}") from error
        return _parse_preset(path.stem, text, path.resolve())
    names = [preset.name for preset in list_presets()]
    if name_or_path not in names:
        raise ConfigError(
            f"there is no preset {name_or_path!r}{nearest(name_or_path, names)} (presets: {', '.join(names)}; "
            "a file of your own ends in .toml)"
        )
    return _parse_preset(name_or_path, _shipped(name_or_path), None)


def list_presets() -> list[Preset]:
    """The presets that come with slmctl, by name."""
    entries = importlib.resources.files("presets").iterdir()
    names = sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))
    return [_parse_preset(name, _shipped(name), None) for name in names]


def _shipped(name: str) -> str:
    return (importlib.resources.files("presets") / f"{name}.toml").read_text(encoding="utf-8")


def _parse_preset(name: str, text: str, file: Path | None) -> Preset:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"preset {file or name} is not TOML: {error}") from error
    description = str(table.pop("description", ""))
    return Preset(name, description, flatten_table(table), file)


def flatten_table(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested TOML tables as dotted names."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat.update(flatten_table(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as nested tables."""
    table: dict[str, Any] = {}
    for name, value in values.items():
        section, dot, leaf = name.partition(".")
        if dot:
            table.setdefault(section, {})[leaf] = value
        else:
            table[name] = value
    return table


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _walk(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, info


def _build(values: Mapping[str, Any], origins: Mapping[str, str]) -> Config:
    try:
        return Config.model_validate(nest(values))
    except ValidationError as error:
        raise ConfigError(_sentence(error, origins)) from None


def _sentence(error: ValidationError, origins: Mapping[str, str]) -> str:
    first = error.errors()[0]
    places = [str(part) for part in first["loc"] if not isinstance(part, int)]
    name = ".".join(places[:2])
    message = first["msg"].removeprefix("Value error, ")
    if name not in origins:
        return f"{name}: {message}" if name else message
    message = message[:1].lower() + message[1:].replace("Input should", "it should")
    message = message.replace("input should", "it should")
    return f"{name} (from {origins[name]}) is {first['input']!r}; {message}"
