"""run.toml: what a run was set up with, written once it is known and read back to resume.

The resolved configuration with the origin of each value, the inputs of each stage with their hashes, the parents and
the stages shared with them. Deciding what to run is planning.py's job.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from engine.core.config import Config
from engine.core.errors import FileError
from engine.core.settings import DEFAULT, SettingsLayer, all_settings, flatten
from engine.rundir.directory import RunDir, write_text

SCHEMA = 2
HASHED_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "slmctl.json",
    "comparisons.jsonl",
    "held_out.jsonl",
)


@dataclass(frozen=True)
class Input:
    """One input that a person passed to a stage, as it was when the stage was planned.

    `reference` opens it from any folder. `sha256` is the hash of a file, of a model directory, or of the rows of a
    dataset or label database; the world's scorers have none. `until` is the last row of a label database that counts,
    since a database grows. `fields` is the field map of the rows, `rows` their number where they were read.
    """

    kind: Literal["file", "dataset", "labels", "model", "function", "pocket"]
    reference: str
    sha256: str = ""
    until: int | None = None
    fields: str = ""
    rows: int | None = None

    @property
    def name(self) -> str:
        """What a person types for exactly this input: FILE.db@27 for a label database up to row 27."""
        return self.reference if self.until is None else f"{self.reference}@{self.until}"

    def same_content(self, other: "Input | None") -> bool:
        """Whether another input has the same content, whatever its path; functions must have the same name, too."""
        return other is not None and self._identity() == other._identity()

    def _identity(self) -> tuple[str, str, str]:
        function = self.reference.rpartition(":")[2] if self.kind == "function" else ""
        return self.sha256 or self.reference, function, self.fields

    def table(self) -> dict[str, Any]:
        """The fields that are set, for TOML and JSON."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


StageInputs = Mapping[str, Mapping[str, Input]]
"""The inputs of each stage, by stage and then by option (data, prompts, init, ref, reward, judge)."""


@dataclass(frozen=True)
class RunRecord:
    """The content of run.toml.

    `shared` maps a stage to {run, path, sha256}: its result is a parent's. `parents` maps a run to {path, sha256}.
    `day` is the ISO date on which the run began, which chat templates are given at every resume, too.
    """

    preset: str
    config: Config
    origins: dict[str, str]
    preset_file: str = ""
    inputs: dict[str, dict[str, Input]] = field(default_factory=dict)
    shared: dict[str, dict[str, str]] = field(default_factory=dict)
    parents: dict[str, dict[str, str]] = field(default_factory=dict)
    day: str = ""

    def input(self, stage: str, option: str) -> Input | None:
        """What a stage was given as `option`, if anything."""
        return self.inputs.get(stage, {}).get(option)

    def layer(self) -> SettingsLayer:
        """The recorded values as a layer; without those of a preset file, which is read again."""
        again = (DEFAULT, f"preset {self.preset}") if self.preset_file else ()
        values = {
            name: value
            for name, value in flatten(self.config).items()
            if value is not None and self.origins.get(name, DEFAULT) not in again
        }
        return SettingsLayer(values, self.origins)


def write_run_toml(rundir: RunDir, record: RunRecord) -> None:
    """Writes run.toml in one piece."""
    inputs = {
        stage: {option: given.table() for option, given in options.items()} for stage, options in record.inputs.items()
    }
    plain = {"schema": SCHEMA, "preset": record.preset, "preset_file": record.preset_file, "day": record.day}
    table = {name: value for name, value in plain.items() if value != ""} | {
        "config": record.config.model_dump(exclude_none=True),
        "origins": {name: origin for name, origin in record.origins.items() if origin != DEFAULT},
        "inputs": inputs,
        "shared": record.shared,
        "parents": record.parents,
    }
    write_text(rundir.run_toml, "# written by slmctl; settings missing from [origins] are defaults\n" + to_toml(table))


def read_run_toml(rundir: RunDir) -> RunRecord:
    """The record of a run.

    Raises: FileError where run.toml is missing, damaged or of a schema that this version does not read.
    """
    path = rundir.run_toml
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {path}: {error}") from error
    if (schema := table.pop("schema", None)) != SCHEMA:
        raise FileError(
            f"{path} was written by another version of slmctl (schema {schema}; this version reads schema {SCHEMA}): "
            "start a new run with --run NEW"
        )
    table = {"preset": "", "config": {}, "origins": {}, **table}
    try:
        record = RECORD.validate_python(table)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        if place.startswith("config"):
            raise FileError(f"{path} does not fit this version of slmctl at {place}") from error
        raise FileError(f"{path} is damaged at {place}: {error.errors()[0]['msg'].lower()}") from error
    record.origins.update({name: DEFAULT for name in all_settings() if name not in record.origins})
    if not all("path" in entry for entry in record.shared.values()):
        raise FileError(f"{path} is damaged: a stage in [shared] has no path")
    return record


RECORD = TypeAdapter(RunRecord)


def hash_path(path: Path) -> str:
    """SHA-256 of a file, or of the files of a checkpoint directory that define it, in hexadecimal.

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
    """A nested table of scalars and flat lists as TOML."""
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
