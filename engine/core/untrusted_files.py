"""The text and JSON files of a checkpoint directory, which may be anybody's: plain files of a bounded size, in UTF-8.

What their fields mean is the business of who reads them.
"""

import json
from pathlib import Path
from typing import Any

from engine.core.errors import CheckpointError, one_line

LARGEST_BYTES = 200_000_000  # tokenizer.json files in use have up to 40 million


def read_text(path: Path) -> str:
    """The text in `path`.

    Raises: CheckpointError if it is missing, no plain file, too large or not UTF-8.
    """
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
    """The JSON object in `path`.

    Raises: CheckpointError if it is missing or no JSON object.
    """
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {one_line(error)}") from error
    except RecursionError as error:
        raise CheckpointError(f"{path} is not JSON of ours: it nests too deeply.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object.")
    return value
