"""Rows of .parquet files and of datasets: a folder that `datasets` understands, or a dataset of the Hugging Face hub.

Plain dictionaries come out; naming the place of a row is rows.py's job. pyarrow and datasets are loaded when needed.
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
SAVED = ("dataset_dict.json", "state.json")  # what Dataset.save_to_disk leaves in a folder


def is_dataset(name: str) -> bool:
    """Whether a name means a dataset rather than a file: of the hub, or a folder, whose split may follow as @SPLIT."""
    return is_hub(name) or Path(_folder(name)[0]).expanduser().is_dir()


def parquet_rows(file: Path | IO[bytes], name: str) -> Iterator[dict[str, Any]]:
    """The rows of a .parquet file, given as a path or as an open file; `name` is what messages call it.

    Raises: DataError where it is no Parquet file or is damaged.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(file).iter_batches():
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{name}: this is not a Parquet file that can be read: {first_line(error)}") from error


def dataset_rows(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a dataset. Raises: ConfigError for a name of another form; FileError where it cannot be loaded."""
    return iter(_load(name))


def dataset_hash(name: str) -> str:
    """The hash of a dataset's rows: a hub dataset may change under its name. Raises: as `dataset_rows`."""
    return rows_hash(dataset_rows(name))


def rows_hash(rows: Iterable[object]) -> str:
    """SHA-256 of rows in their order, hexadecimal."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=repr).encode() + b"\n")
    return digest.hexdigest()


def absolute(name: str) -> str:
    """A dataset's name that means the same from any folder."""
    if is_hub(name):
        return name
    folder, split = _folder(name)
    return f"{Path(folder).expanduser().resolve()}" + (f"@{split}" if split else "")


def _load(name: str) -> Any:
    """The dataset of a name, one split of it. Its own code is never run: `datasets` 4 and newer have no such thing."""
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
            _refuse_mixed(path)
            loaded = datasets.load_dataset(path)
        if not isinstance(loaded, dict):
            return loaded
        if split not in loaded:
            raise ConfigError(f"{name} has no split {split!r}; it has {', '.join(loaded)}: write FOLDER@SPLIT")
        return loaded[split]
    except ConfigError:
        raise
    except Exception as error:  # the hub, its files and a network in between: whatever fails there is said
        raise FileError(f"the dataset {name} cannot be loaded: {first_line(error)}") from error


def _refuse_mixed(folder: str) -> None:
    """Raise ConfigError for a folder of files of several formats, of which `datasets` would read one without a word."""
    if (Path(folder) / "README.md").is_file():  # may say which file is what
        return
    names = {suffix: kind for kind, suffixes in FORMATS.items() for suffix in suffixes}
    kinds = {names[path.suffix] for path in Path(folder).rglob("*") if path.suffix in names}
    if len(kinds) > 1:
        raise ConfigError(f"the folder {folder} holds {' and '.join(sorted(kinds))} files; name one file, or part them")


def _parts(name: str) -> tuple[str, str | None, str]:
    """Where a dataset lies, its configuration and its split."""
    if not is_hub(name):
        folder, split = _folder(name)
        return str(Path(folder).expanduser()), None, split or DEFAULT_SPLIT
    match = REFERENCE.fullmatch(name)
    if match is None:
        raise ConfigError(f"{name!r} is no name of a hub dataset; write hf:ORG/NAME or hf:ORG/NAME:CONFIG@SPLIT")
    if Path(match["path"]).exists():
        raise ConfigError(f"{name}: there is a folder {match['path']} here too; for that one leave hf: away")
    return match["path"], match["config"], match["split"] or DEFAULT_SPLIT


def _folder(name: str) -> tuple[str, str | None]:
    """A folder and the split named behind it."""
    folder, at, split = name.rpartition("@")
    return (folder, split) if at and not Path(name).expanduser().is_dir() else (name, None)
