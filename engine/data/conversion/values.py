"""Fields of one JSON object, checked by type, for formats that are converted.

A complaint names the field, such as prompt.replies[0].text; whoever knows file and line puts them before it.
"""

from collections.abc import Mapping
from typing import Any

from engine.core.errors import DataError

WORDS = {str: "text", bool: "true or false", int: "a whole number", list: "a list", dict: "an object"}


def object_of(value: Any, place: object) -> Mapping[str, Any]:
    """The object itself. Raises: DataError where it is none."""
    if not isinstance(value, dict):
        raise DataError(f"{place} must be an object with named fields and is {shown(value)}")
    return value


def value_of(table: Mapping[str, Any], name: str, kind: type, place: object = "") -> Any:
    """The value of a field, None where it is missing or null. Raises: DataError where it is of another type."""
    value = table.get(name)
    if value is not None and type(value) is not kind:
        raise DataError(f"{_at(place, name)} must be {WORDS[kind]} and is {shown(value)}")
    return value


def text_of(table: Mapping[str, Any], name: str, place: object = "") -> str:
    """The text in a field that must be there. Raises: DataError."""
    value = value_of(table, name, str, place)
    if value is None:
        raise DataError(f"{_at(place, name)} must be text and is {'null' if name in table else 'missing'}")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{_at(place, name)} holds half of a surrogate pair, which is not text") from None
    return text


def shown(value: Any) -> str:
    """A JSON value as an error names it; of lists and objects the type alone, since they may be of any depth."""
    if isinstance(value, list | dict):
        return WORDS[type(value)]
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _at(place: object, name: str) -> str:
    return f"{place}.{name}".removeprefix(".")
