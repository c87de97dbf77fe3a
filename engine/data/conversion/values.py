"""Type-checked fields of JSON objects, for formats that are converted.

Errors name the field, such as prompt.replies[0].text; callers add file and line.
"""

from collections.abc import Mapping
from typing import Any

from engine.core.errors import DataError

WORDS = {str: "a string", bool: "true or false", int: "an integer", list: "a list", dict: "an object"}


def object_of(value: Any, place: object) -> Mapping[str, Any]:
    """The value. Raises: DataError if it is not an object."""
    if not isinstance(value, dict):
        raise DataError(f"{place} must be an object with named fields, got {shown(value)}")
    return value


def value_of(table: Mapping[str, Any], name: str, kind: type, place: object = "") -> Any:
    """The value of a field, None if it is missing or null. Raises: DataError for a value of another type."""
    value = table.get(name)
    if value is not None and type(value) is not kind:
        raise DataError(f"{_at(place, name)} must be {WORDS[kind]}, got {shown(value)}")
    return value


def text_of(table: Mapping[str, Any], name: str, place: object = "") -> str:
    """The string in a required field. Raises: DataError."""
    value = value_of(table, name, str, place)
    if value is None:
        state = "must be a string, got null" if name in table else "is missing"
        raise DataError(f'field "{_at(place, name)}" {state}')
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{_at(place, name)} is not valid Unicode: it has half of a surrogate pair") from None
    return text


def shown(value: Any) -> str:
    """A JSON value for error messages; only the type of lists and objects, which may be deep."""
    if isinstance(value, list | dict):
        return WORDS[type(value)]
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _at(place: object, name: str) -> str:
    return f"{place}.{name}".removeprefix(".")
