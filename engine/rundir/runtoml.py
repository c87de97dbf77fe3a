"""run.toml: what a run was set up with, written once it is known and read back to go on.

The resolved configuration with the origin of each value, the files given to each stage with their hashes, the parents
and the stages taken from them. Deciding what to run is planning.py's job.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.core.config import Config
from engine.core.errors import FileError
from engine.core.settings import DEFAULT, Layer, flatten, leaves
from engine.rundir.directory import RunDir, write_text

SCHEMA = 1
TABLES = ("inputs", "shared", "parents")
HASHED_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "slmctl.json",
    "comparisons.jsonl",
    "held_out.jsonl",
)


@dataclass(frozen=True)
class RunRecord:
    """The content of run.toml.

    `inputs` maps a stage to what it was given (data, init, ref, reward, prompts) and `<name>_sha256` of each file.
    `shared` maps a stage to {run, path, sha256}: its result is a parent's. `parents` maps a run to {path, sha256}.
    """

    preset: str
    config: Config
    origins: dict[str, str]
    preset_file: str = ""
    inputs: dict[str, dict[str, str]] = field(default_factory=dict)
    shared: dict[str, dict[str, str]] = field(default_factory=dict)
    parents: dict[str, dict[str, str]] = field(default_factory=dict)

    def layer(self) -> Layer:
        """The recorded values as a layer; without those of a preset file, which is read anew."""
        values = {name: value for name, value in flatten(self.config).items() if value is not None}
        if self.preset_file:
            values = {name: value for name, value in values.items() if not self._follows_preset(name)}
        return Layer(values, self.origins)

    def _follows_preset(self, name: str) -> bool:
        return self.origins.get(name, DEFAULT) in (DEFAULT, f"preset {self.preset}")


def write_run_toml(rundir: RunDir, record: RunRecord) -> None:
    """Writes run.toml in one piece."""
    values = {name: value for name, value in record.config.model_dump().items() if value is not None}
    table: dict[str, Any] = {"schema": SCHEMA, "preset": record.preset}
    if record.preset_file:
        table["preset_file"] = record.preset_file
    table["config"] = values
    table["origins"] = {name: origin for name, origin in record.origins.items() if origin != DEFAULT}
    table.update(inputs=record.inputs, shared=record.shared, parents=record.parents)
    write_text(
        rundir.run_toml, "# written by slmctl; settings that [origins] leaves out are defaults\n" + to_toml(table)
    )


def read_run_toml(rundir: RunDir) -> RunRecord:
    """The record of a run.

    Raises: FileError where run.toml is missing, damaged or of a schema that this version does not read.
    """
    try:
        table = tomllib.loads(rundir.run_toml.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {rundir.run_toml}: {error}") from error
    if table.get("schema") != SCHEMA:
        raise FileError(f"{rundir.run_toml} has schema {table.get('schema')}; this slmctl reads schema {SCHEMA}")
    try:
        config = Config.model_validate(table.get("config", {}))
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise FileError(f"{rundir.run_toml} does not fit this version of slmctl at config.{place}") from error
    origins, kept = table.get("origins", {}), {name: table.get(name, {}) for name in TABLES}
    entries = {name: _entries(kept[name]) for name in TABLES}
    whole = all(_is_text(entry) for entry in (origins, *chain(*entries.values())))
    if not whole or not all("path" in entry for entry in entries["shared"]):
        raise FileError(f"{rundir.run_toml} is damaged: its tables origins, {', '.join(TABLES)} are not as written")
    origins = {**dict.fromkeys(leaves(), DEFAULT), **origins}
    return RunRecord(str(table.get("preset", "")), config, origins, str(table.get("preset_file", "")), **kept)


def _entries(table: Any) -> list[Any]:
    """The tables in a table; of anything else itself."""
    return list(table.values()) if isinstance(table, dict) else [table]


def _is_text(table: Any) -> bool:
    return isinstance(table, dict) and all(isinstance(value, str) for value in table.values())


def hash_path(path: Path) -> str:
    """SHA-256 of a file, or of what makes a checkpoint directory what it is; hexadecimal.

    Raises: FileError where it cannot be read.
    """
    try:
        if not path.is_dir():
            return _hash_file(path)
        shards = sorted(entry.name for entry in path.glob("*.safetensors*") if entry.name not in HASHED_FILES)
        names = [name for name in (*HASHED_FILES, *shards) if (path / name).is_file()]
        names = names or sorted(entry.name for entry in path.iterdir() if entry.is_file())
        lines = "".join(f"{name} {_hash_file(path / name)}\n" for name in names)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    return hashlib.sha256(lines.encode()).hexdigest()


def to_toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """A nested table of scalars and flat lists as TOML text."""
    plain = [f"{_key(name)} = {_value(value)}\n" for name, value in table.items() if not isinstance(value, Mapping)]
    text = "".join(plain)
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            inner = f"{prefix}{_key(name)}"
            body = to_toml(value, inner + ".")
            text += body if all(isinstance(item, Mapping) for item in value.values()) else f"\n[{inner}]\n{body}"
    return text


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _key(name: str) -> str:
    bare = name.replace("-", "").replace("_", "")
    return name if bare.isascii() and bare.isalnum() else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    assert isinstance(value, (int, float)), f"{value!r} has no TOML form"
    return repr(value)
