"""Reads text and JSON files of untrusted checkpoint directories: regular UTF-8 files of limited size.

The callers check the fields.
"""

import json
from pathlib import Path
from typing import Any

from engine.core.errors import CheckpointError, one_line

LARGEST_BYTES = 200_000_000  # tokenizer.json files in use have up to 40 MB


def read_text(path: Path) -> str:
    """The text in `path`. Raises: CheckpointError if it is missing, not a regular file, too large or not UTF-8."""
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} cannot be read: it is not a file.")
        if path.stat().st_size > LARGEST_BYTES:
            raise CheckpointError(f"{path} cannot be read: it has more than {LARGEST_BYTES:,} bytes.")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8: {one_line(error)}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises: CheckpointError if it cannot be read or is not a JSON object."""
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {one_line(error)}") from error
    except RecursionError as error:
        raise CheckpointError(f"{path} is not valid JSON: it nests too deeply.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must be a JSON object.")
    return value
