"""Field maps: the names of fields in a user's rows, as typed (`--map prompt=question`) and as recorded."""

from collections.abc import Iterable, Mapping
from typing import Any

from engine.core.errors import ConfigError, DataError, did_you_mean

FIELDS = (
    "prompt",
    "completion",
    "messages",
    "instruction",
    "input",
    "output",
    "chosen",
    "rejected",
    "responses",
    "ranking",
    "margin",
    "text",
)
FieldMap = Mapping[str, str]
"""Our names to theirs; dots separate nested names, and an empty name ignores the field."""


def parse_map(typed: Iterable[str]) -> dict[str, str]:
    """The map of typed pairs. Raises: ConfigError for a malformed pair or an unknown field."""
    found = {}
    for pair in (part.strip() for text in typed for part in text.split(",")):
        ours, mark, theirs = pair.partition("=")
        if not mark:
            raise ConfigError(f"--map {pair!r}: expected OURS=THEIRS, such as prompt=question")
        if ours not in FIELDS:
            raise ConfigError(f"--map {pair}: unknown field {ours!r}{did_you_mean(ours, FIELDS)} ({', '.join(FIELDS)})")
        found[ours] = theirs
    return found


def map_text(fields: FieldMap) -> str:
    """The map as text, which `parse_map` reads."""
    return ",".join(f"{ours}={theirs}" for ours, theirs in fields.items())


def apply_map(row: Any, fields: FieldMap) -> Any:
    """A row with our field names in place of theirs; other values are unchanged.

    Raises: DataError for a field that the row does not have.
    """
    if not isinstance(row, dict):
        return row
    theirs = {path if path in row else path.split(".")[0] for path in fields.values()}
    table = {name: value for name, value in row.items() if name not in fields and name not in theirs}
    return table | {ours: _value_at(row, ours, path) for ours, path in fields.items() if path}


def _value_at(row: Mapping[str, Any], ours: str, path: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            names = ", ".join(sorted(map(str, row)))
            raise DataError(f'field "{path}" of --map {ours}={path} is missing (found: {names})')
    return value
