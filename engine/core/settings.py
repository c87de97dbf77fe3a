"""Resolves options, environment, preset and defaults to one Config, with the origin of every value.

Precedence: options and --set > SLMCTL_* variables > preset > default. The recorded values of an existing run replace
the preset. config.py defines the fields; rundir/runtoml.py reads and writes run.toml.
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
from engine.core.errors import ConfigError, FileError, did_you_mean

ENVIRONMENT_PREFIX = "SLMCTL_"
RESERVED_VARIABLES = ("SLMCTL_RUNS",)
DEFAULT = "default"
TYPED = "--set"  # the origin of typed values


@dataclass(frozen=True)
class Preset:
    """A named set of values: `values` maps dotted names to TOML values, `file` is the path of a user's own preset."""

    name: str
    description: str
    values: dict[str, Any]
    file: Path | None = None


@dataclass(frozen=True)
class Resolved:
    """A configuration and the origin of each value by dotted name."""

    config: Config
    origins: dict[str, str]


@dataclass(frozen=True)
class SettingsLayer:
    """Values by dotted name, with their origins for `presets show`, run.toml and errors."""

    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)
    origin: str = DEFAULT

    def origin_of(self, name: str) -> str:
        """The origin of a value of this layer."""
        return self.origins.get(name, self.origin)


def resolve(
    preset: Preset | None = None,
    overrides: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    base: SettingsLayer | None = None,
) -> Resolved:
    """The configuration resolved from all layers.

    `flags` maps dotted names to values, `overrides` (--set) to text; `base` has the recorded values of an existing run.

    Raises: ConfigError for an unknown name or a value that is not allowed.
    """
    layers = [] if preset is None else [SettingsLayer(preset.values, origin=f"preset {preset.name}")]
    layers += [] if base is None else [base]
    layers.append(environment_layer(environ or {}))
    layers.append(SettingsLayer({name: parse_value(text) for name, text in (overrides or {}).items()}, origin=TYPED))
    options = {name: value for name, value in (flags or {}).items() if value is not None}
    layers.append(SettingsLayer(options, {name: "--" + name.rsplit(".", 1)[-1].replace("_", "-") for name in options}))
    values: dict[str, Any] = {}
    origins = dict.fromkeys(all_settings(), DEFAULT)
    for layer in layers:
        for name, value in layer.values.items():
            check_setting(name, layer.origin_of(name))
            values[name], origins[name] = value, layer.origin_of(name)
    return Resolved(_build(values, origins), origins)


def all_settings() -> dict[str, FieldInfo]:
    """Every setting by dotted name, in the order of Config."""
    return dict(_walk(Config, ""))


def flatten(config: BaseModel) -> dict[str, Any]:
    """Every value of a configuration by dotted name."""
    return flatten_table(config.model_dump())


def check_setting(name: str, origin: str) -> None:
    """Checks that a setting exists. Raises: ConfigError."""
    if name not in all_settings():
        raise ConfigError(f"unknown setting {name!r} (from {origin}){did_you_mean(name, all_settings())}")


def environment_layer(environ: Mapping[str, str]) -> SettingsLayer:
    """The settings given as environment variables such as SLMCTL_SEED and SLMCTL_PPO_KL_COEF.

    Raises: ConfigError for a variable with the prefix that matches no setting.
    """
    variables = {ENVIRONMENT_PREFIX + name.replace(".", "_").upper(): name for name in all_settings()}
    values, origins = {}, {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in RESERVED_VARIABLES:
            continue
        if variable not in variables:
            raise ConfigError(f"unknown environment variable {variable}{did_you_mean(variable, variables)}")
        values[variables[variable]] = parse_value(text)
        origins[variables[variable]] = variable
    return SettingsLayer(values, origins)


def parse_assignments(items: Iterable[str]) -> dict[str, str]:
    """`name=value` items as a dictionary of text. Raises: ConfigError for an item without a name or '='."""
    pairs = {}
    for item in items:
        name, mark, text = item.partition("=")
        if not mark or not name.strip():
            raise ConfigError(f"--set expects name=value, such as ppo.kl_coef=0.05, got {item!r}")
        pairs[name.strip()] = text.strip()
    return pairs


def parse_value(text: str) -> Any:
    """The text parsed as a TOML value, or the text itself if it is not TOML."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def load_preset(name_or_path: str) -> Preset:
    """A built-in preset by name, or a user's own by path.

    Raises: ConfigError for an unknown name or a file that is not TOML; FileError for a missing or unreadable file.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise FileError(f"preset file {path} not found")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"cannot read preset {path}: {error}") from error
        return _parse_preset(path.stem, text, path.resolve())
    names = [preset.name for preset in list_presets()]
    if name_or_path not in names:
        raise ConfigError(
            f"unknown preset {name_or_path!r}{did_you_mean(name_or_path, names)} (presets: {', '.join(names)}; "
            "a preset file of your own must end in .toml)"
        )
    return _parse_preset(name_or_path, _shipped(name_or_path), None)


def list_presets() -> list[Preset]:
    """The built-in presets, by name."""
    entries = importlib.resources.files("presets").iterdir()
    names = sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))
    return [_parse_preset(name, _shipped(name), None) for name in names]


def _shipped(name: str) -> str:
    return (importlib.resources.files("presets") / f"{name}.toml").read_text(encoding="utf-8")


def _parse_preset(name: str, text: str, file: Path | None) -> Preset:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"preset {file or name} is not valid TOML: {error}") from error
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
        section, _, leaf = name.rpartition(".")
        (table.setdefault(section, {}) if section else table)[leaf] = value
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
    subject, _, rule = message.partition(" should ")
    message = f"must {rule}" if rule else f"is invalid: {subject}"
    return f"{name} (from {origins[name]}) {message}, got {first['input']!r}"
