"""Rows of .parquet files and of datasets: a folder that `datasets` can load, or a dataset of the Hugging Face hub.

Rows are plain dictionaries; files.py adds their places. pyarrow and datasets are imported when needed.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from engine.core.errors import ConfigError, DataError, FileError
from engine.core.hub import first_line, is_hub, why_unreachable

REFERENCE = re.compile(r"hf:(?P<path>\w[\w.-]*(/\w[\w.-]*)?)(:(?P<config>[\w.-]+))?(@(?P<split>[\w.-]+))?")
DEFAULT_SPLIT = "train"
FORMATS = {"JSON": (".json", ".jsonl"), "CSV": (".csv", ".tsv"), "Parquet": (".parquet",), "text": (".txt",)}
SAVED = ("dataset_dict.json", "state.json")  # files that Dataset.save_to_disk writes


def is_dataset(name: str) -> bool:
    """Whether a name is a dataset, not a file: hf:..., or a folder, optionally with @SPLIT."""
    return is_hub(name) or Path(_folder(name)[0]).expanduser().is_dir()


def parquet_rows(file: Path | IO[bytes], name: str) -> Iterator[dict[str, Any]]:
    """The rows of a .parquet file, given as a path or an open file; `name` is its name in messages.

    Raises: DataError if it is not a valid Parquet file.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(file).iter_batches():
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name} is not a valid Parquet file: {first_line(error)}") from error


def dataset_rows(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a dataset. Raises: ConfigError for a malformed name; FileError if it cannot be loaded."""
    return iter(_load(name))


def dataset_hash(name: str) -> str:
    """The hash of the rows of a dataset. Raises: see `dataset_rows`."""
    return rows_hash(dataset_rows(name))


def rows_hash(rows: Iterable[object]) -> str:
    """The hexadecimal SHA-256 of rows in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=repr).encode() + b"\n")
    return digest.hexdigest()


def absolute(name: str) -> str:
    """A dataset name that is valid in any working directory."""
    if is_hub(name):
        return name
    folder, split = _folder(name)
    return f"{Path(folder).expanduser().resolve()}" + (f"@{split}" if split else "")


def _load(name: str) -> Any:
    """One split of a dataset. No code of the dataset runs: `datasets` 4 and newer do not support it."""
    import datasets

    datasets.disable_progress_bars()
    path, config, split = _parts(name)
    try:
        if any((Path(path) / marker).is_file() for marker in SAVED):
            loaded = datasets.load_from_disk(path)
        elif is_hub(name):
            datasets.config.HF_HUB_OFFLINE = why_unreachable(path, None, "dataset") is not None
            return datasets.load_dataset(path, config, split=split)
        else:
            _check_one_format(path)
            loaded = datasets.load_dataset(path)
        if not isinstance(loaded, dict):
            return loaded
        if split not in loaded:
            raise ConfigError(f"{name} has no split {split!r} (splits: {', '.join(loaded)}); use FOLDER@SPLIT")
        return loaded[split]
    except ConfigError:
        raise
    except Exception as error:  # errors of the hub, its files and the network have many types
        raise FileError(f"cannot load dataset {name}: {first_line(error)}") from error


def _check_one_format(folder: str) -> None:
    """Raises ConfigError for a folder with files of several formats: `datasets` would silently read only one."""
    if (Path(folder) / "README.md").is_file():  # may declare which files to use
        return
    names = {suffix: kind for kind, suffixes in FORMATS.items() for suffix in suffixes}
    kinds = {names[path.suffix] for path in Path(folder).rglob("*") if path.suffix in names}
    if len(kinds) > 1:
        formats = " and ".join(sorted(kinds))
        raise ConfigError(f"the folder {folder} has {formats} files; pass one file, or separate the formats")


def _parts(name: str) -> tuple[str, str | None, str]:
    """The path, configuration and split of a dataset."""
    if not is_hub(name):
        folder, split = _folder(name)
        return str(Path(folder).expanduser()), None, split or DEFAULT_SPLIT
    match = REFERENCE.fullmatch(name)
    if match is None:
        raise ConfigError(f"invalid hub dataset {name!r}; use hf:ORG/NAME or hf:ORG/NAME:CONFIG@SPLIT")
    if Path(match["path"]).exists():
        raise ConfigError(f"{name} is ambiguous: there is also a local folder {match['path']}; to use that, omit hf:")
    return match["path"], match["config"], match["split"] or DEFAULT_SPLIT


def _folder(name: str) -> tuple[str, str | None]:
    """A folder, and the split after its @."""
    folder, at, split = name.rpartition("@")
    return (folder, split) if at and not Path(name).expanduser().is_dir() else (name, None)
