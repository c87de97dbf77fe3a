"""What a person handed to a stage (data, prompts, map, init, ref, reward, judge): recorded by name and hash, and read
again.

Plain dictionaries as run.toml holds them: `data` is a path, `data_sha256` its hash. A label database grows while a run
works: it is recorded as it was, FILE.db@N with N its last row, and its hash is that of the rows that the stage reads of
it; they do not change any more. What follows from a change is planning.py's business.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.core.errors import ConfigError, FileError
from engine.core.hub import is_hub, pinned
from engine.data.datasets import absolute, dataset_hash, is_dataset, rows_hash
from engine.data.fields import map_text, parse_map
from engine.data.files import Source, is_labels, labels_named, read_rows
from engine.data.labels.store import read_database
from engine.run.pipeline import INPUTS, READS
from engine.rundir.references import is_function, is_pocket, resolve_policy, resolve_reference, resolve_scorer
from engine.rundir.runtoml import hash_path

HASH = "_sha256"
FILES = ("data", "prompts")
SCORERS = ("reward", "judge")
NONE = "none"  # typed in place of a value: what was handed over before counts no more


def handed(
    stage: str, typed: Mapping[str, str], inputs: Mapping[str, dict[str, str]], home: Path
) -> dict[str, dict[str, str]]:
    """All recorded `inputs` with what was `typed` for `stage` now. A field map goes with the rows it was typed for.

    Raises: ConfigError for an option that the stage does not take; FileError as `input_entry`.
    """
    entries = dict(inputs.get(stage, {}))
    if "map" in typed and not any(name in typed or name in entries for name in FILES):
        options = " or ".join(f"--{name}" for name in FILES if name in INPUTS.get(stage, ()))
        raise ConfigError(f"--map renames the fields of {options}, and there is none")
    if any(name in FILES for name in typed):
        entries.pop("map", None)
    for name, value in typed.items():
        if name not in INPUTS.get(stage, ()):
            raise ConfigError(f"slmctl {stage} takes no --{name}")
        for recorded in (name, name + HASH):
            entries.pop(recorded, None)
        entries |= input_entry(stage, name, value, home)
    return {**inputs, stage: entries} if entries or stage in inputs else dict(inputs)


def input_entry(stage: str, name: str, value: str, home: Path) -> dict[str, str]:
    """One input of a stage as it is recorded: a file by its absolute path and hash, a dataset or label database by its
    name and its rows' hash, a model by its reference and hash, a function by its file's path and hash; nothing for
    "none".

    Raises: FileError for a file or model that is not there; ConfigError for a reference that is not understood.
    """
    if value == NONE:
        return {}
    if name == "map":
        return {name: map_text(parse_map([value]))}
    if name in FILES and is_dataset(value):
        return {name: absolute(value), name + HASH: dataset_hash(value)}
    if name in FILES and is_labels(value):
        return _labels_entry(stage, name, value)
    path = Path(value).expanduser().resolve()
    if name in FILES:
        if not path.is_file():
            raise FileError(f"--{name}: there is no file {value}")
        return {name: str(path), name + HASH: hash_path(path)}
    if name in SCORERS and is_pocket(value):
        return {name: value}
    if name in SCORERS and is_function(value):
        file, _, function = value.rpartition(":")
        path = Path(file).expanduser().resolve()
        return {name: f"{path}:{function}", name + HASH: hash_path(path)}
    value = pinned(value) if is_hub(value) else value
    resolve = resolve_scorer if name in SCORERS else resolve_reference if stage == "rm" else resolve_policy
    directory = resolve(value, home)
    return {name: str(path) if path.is_dir() else value, name + HASH: hash_path(directory)}


def _labels_entry(stage: str, name: str, value: str) -> dict[str, str]:
    path, until = labels_named(value)
    recorded = f"{path.resolve()}@{read_database(path, until).newest}"
    rows = read_rows(Source(recorded), READS[stage][1])
    return {name: recorded, name + HASH: rows_hash(row.value for row in rows)}


def read_again(
    stage: str, given: Mapping[str, str], names: Iterable[str], home: Path, *, newest: bool = False
) -> dict[str, str]:
    """The same inputs of a stage, those of these `names` with the hashes that they have now; with `newest` labels that
    have come since count too.

    Raises: as `input_entry`.
    """
    entries = dict(given)
    for name in names:
        value = given[name]
        grown = newest and name in FILES and is_labels(value)
        entries |= input_entry(stage, name, str(labels_named(value)[0]) if grown else value, home)
    return entries


def input_names(given: Mapping[str, str]) -> list[str]:
    """The options that were handed over, without their hashes."""
    return [name for name in given if not name.endswith(HASH)]


def is_same_input(name: str, given: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether an input is what was given before: by its content where it has a hash, and a function by its name too."""
    return _identity(name, given) == _identity(name, now)


def _identity(name: str, entries: Mapping[str, str]) -> tuple[str | None, str]:
    value = entries.get(name)
    function = value.rpartition(":")[2] if value is not None and is_function(value) else ""
    return entries.get(name + HASH, value), function
