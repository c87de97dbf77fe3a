"""Field maps: which names in a person's rows stand for ours, as typed (`--map prompt=question`) and as recorded."""

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
"""Our names to theirs; a dot leads into what lies deeper, and an empty name means that the field is not used."""


def parse_map(typed: Iterable[str]) -> dict[str, str]:
    """The map that the typed pairs make. Raises: ConfigError for a pair of another form or a field that is not ours."""
    found = {}
    for pair in (part.strip() for text in typed for part in text.split(",")):
        ours, mark, theirs = pair.partition("=")
        if not mark:
            raise ConfigError(f"--map {pair!r}: write OURS=THEIRS, such as prompt=question")
        if ours not in FIELDS:
            raise ConfigError(
                f"--map {pair}: there is no field {ours!r}{did_you_mean(ours, FIELDS)} ({', '.join(FIELDS)})"
            )
        found[ours] = theirs
    return found


def map_text(fields: FieldMap) -> str:
    """The map as it is recorded; `parse_map` reads it."""
    return ",".join(f"{ours}={theirs}" for ours, theirs in fields.items())


def renamed(row: Any, fields: FieldMap) -> Any:
    """A row with our names for its values, in place of theirs; what is no table stays as it is.

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
            raise DataError(f"there is no field {path!r}, which --map names for {ours}; found the fields {names}")
    return value
