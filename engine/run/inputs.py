"""What a person passed to a stage (data, prompts, init, ref, reward, judge), read once into a typed record.

An `Input` is made here, stored in run.toml, compared by its content and passed on to the stage that uses it. A label
database grows while a run works: its input counts the rows up to the last one at the time of planning, and its hash is
that of the rows that the stage reads. What follows from a change is checks.py's job.
"""

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.core.errors import ConfigError, FileError, did_you_mean
from engine.core.hub import is_hub, pinned
from engine.data.datasets import absolute, dataset_hash, is_dataset
from engine.data.files import RawRow, Source, is_labels, labels_named, map_text, parse_map, read_hashed
from engine.data.labels.store import read_database
from engine.data.readers import LoadedRecords, parse_rows, parser_of
from engine.pocket.labelers import pocket_scorer_name
from engine.run.pipeline import INPUTS, READS
from engine.rundir.references import is_function, is_pocket, resolve_policy, resolve_reference, resolve_scorer
from engine.rundir.runtoml import Input, StageInputs, hash_path

ROWS = ("data", "prompts")
SCORERS = ("reward", "judge")
NONE = "none"  # typed in place of a value: the input given before is dropped


class InputReader:
    """Reads the inputs of one command, each file once.

    With `keep_rows` the rows that were hashed are kept and parsed for the stage that trains on them in this process.
    """

    def __init__(self, home: Path, keep_rows: bool = False) -> None:
        self.home, self.keep_rows = home, keep_rows
        self._inputs: dict[tuple[str, str, str, str], Input] = {}
        self._rows: dict[tuple[Input, str], list[RawRow]] = {}
        self._records: dict[tuple[Input, str], LoadedRecords[Any]] = {}

    def read(self, stage: str, option: str, value: str, fields: str = "") -> Input:
        """The input that a person means by `value`, as it is now.

        Raises: FileError for a missing file or model; ConfigError for a reference of no known form.
        """
        key = (stage, option, value, fields)
        if key not in self._inputs:
            rows = option in ROWS
            self._inputs[key] = self._read_rows(stage, option, value, fields) if rows else self._read_model(*key[:3])
        return self._inputs[key]

    def records(self, stage: str, given: Input, last: bool = False) -> LoadedRecords[Any]:
        """The records of an input that holds rows, parsed at the first call and freed at the `last` one.

        Raises: FileError, DataError.
        """
        kind = READS[stage][1]
        key = (given, kind)
        if key not in self._records:
            source = source_of(given)
            rows = self._rows.pop(key) if key in self._rows else read_hashed(source, kind)[0]
            self._records[key] = parse_rows(rows, str(source), kind, parser_of(kind))
        return self._records.pop(key) if last else self._records[key]

    def _read_rows(self, stage: str, option: str, value: str, fields: str) -> Input:
        kind = READS[stage][1]
        if is_dataset(value):
            given = Input("dataset", absolute(value), fields=fields)
        elif is_labels(value):
            path, until = labels_named(value)
            given = Input("labels", str(path.resolve()), until=read_database(path, until).newest, fields=fields)
        else:
            path = Path(value).expanduser().resolve()
            if not path.is_file():
                raise FileError(f"--{option}: file {value} not found")
            given = Input("file", str(path), fields=fields)
        if not self.keep_rows and given.kind != "labels":
            dataset = given.kind == "dataset"
            return replace(given, sha256=dataset_hash(value) if dataset else hash_path(Path(given.reference)))
        rows, digest = read_hashed(source_of(given), kind)
        given = replace(given, sha256=digest, rows=len(rows))
        if self.keep_rows:
            self._rows[given, kind] = rows
        return given

    def _read_model(self, stage: str, option: str, value: str) -> Input:
        scorer = option in SCORERS
        if scorer and is_pocket(value):
            return Input("pocket", value)
        if scorer and is_function(value):
            file, _, function = value.rpartition(":")
            path = Path(file).expanduser().resolve()
            return Input("function", f"{path}:{function}", hash_path(path))
        value = pinned(value) if is_hub(value) else value
        resolve = resolve_scorer if scorer else resolve_reference if stage == "rm" else resolve_policy
        directory, path = resolve(value, self.home), Path(value).expanduser().resolve()
        return Input("model", str(path) if path.is_dir() else value, hash_path(directory))


def source_of(given: Input) -> Source:
    """Where the rows of an input are read from."""
    return Source(given.name, parse_map([given.fields]) if given.fields else {})


def with_typed(
    stage: str, typed: Mapping[str, str], inputs: StageInputs, reader: InputReader
) -> dict[str, dict[str, Input]]:
    """All recorded `inputs` with what was `typed` for `stage` now. A field map belongs to the rows it was typed with.

    Raises: ConfigError for an option that the stage does not take, or a map without rows; FileError.
    """
    for name in typed:
        if name not in INPUTS.get(stage, ()):
            raise ConfigError(f"slmctl {stage} takes no --{name}")
    given = dict(inputs.get(stage, {}))
    for option, value in typed.items():
        if option != "map":
            given.pop(option, None)
            if value != NONE:
                given[option] = reader.read(stage, option, value)
    if "map" in typed:
        option = READS[stage][0]
        if option not in given:
            raise ConfigError(f"--map renames the fields of --{option}, and there is none")
        fields = "" if typed["map"] == NONE else map_text(parse_map([typed["map"]]))
        given[option] = reader.read(stage, option, given[option].name, fields)
    changed = {stage: given} if given or stage in inputs else {}
    return {name: dict(own) for name, own in inputs.items()} | changed


def check_scorer(option: str, given: Input, typed: bool) -> None:
    """Checks that an input can score, as far as that is known before it is opened.

    A function's file is read as Python, not run. Raises: ConfigError for a scorer that the world does not have, code
    that was not `typed` in this command, or a file that does not define the function; FileError where it is not Python.
    """
    if given.kind == "pocket":
        pocket_scorer_name(given.reference)
    if given.kind != "function":
        return
    if not typed:
        raise ConfigError(f"code is never loaded from a run directory; pass --{option} {given.reference} again")
    file, _, name = given.reference.rpartition(":")
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"), Path(file).name)
    except (OSError, ValueError, SyntaxError) as error:
        raise FileError(f"cannot read {file} of --{option} as Python: {error}") from error
    defined: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.append(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            defined += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.Assign):
            defined += [target.id for target in node.targets if isinstance(target, ast.Name)]
    if name not in defined:
        raise ConfigError(f"{file} has no function {name!r}{did_you_mean(name, defined)}")
