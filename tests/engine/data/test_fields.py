"""Field maps: typed, recorded, applied."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.errors import ConfigError, DataError
from engine.data.files import FIELDS, apply_map, map_text, parse_map


@pytest.mark.parametrize(
    ("row", "fields", "expected"),
    [
        ({"q": "Hi"}, {"prompt": "q"}, {"prompt": "Hi"}),
        ({"q": {"text": ["a", "b"]}}, {"prompt": "q.text.1"}, {"prompt": "b"}),
        (
            {"q.text": "Hi", "q": {"text": "no"}},
            {"prompt": "q.text"},
            {"q": {"text": "no"}, "prompt": "Hi"},
        ),
        ({"messages": [], "q": "Hi"}, {"messages": "", "prompt": "q"}, {"prompt": "Hi"}),
        ({"prompt": "old", "q": None}, {"prompt": "q"}, {"prompt": None}),
        (
            {"chosen": "a", "rejected": "b"},
            {"chosen": "rejected", "rejected": "chosen"},
            {"chosen": "b", "rejected": "a"},
        ),
        ("a line of text", {"prompt": "q"}, "a line of text"),
    ],
)
def test_applied_maps_by_hand(row: Any, fields: dict[str, str], expected: Any) -> None:
    assert apply_map(row, fields) == expected


@pytest.mark.parametrize("path", ["r", "q.2", "q.x", "q.0.y", "q.-1"])
def test_a_missing_field_is_named(path: str) -> None:
    with pytest.raises(DataError, match=r"of --map prompt=.* is missing \(found: q\)$"):
        apply_map({"q": ["a", "b"]}, {"prompt": path})


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("prompt", "expected OURS=THEIRS"),
        ("promt=q", "unknown field 'promt'; did you mean 'prompt'"),
        ("", "expected OURS=THEIRS"),
        ("prompt=a,b", "--map 'b': expected"),
    ],
)
def test_a_malformed_map_is_refused(typed: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_map([typed])


@given(st.dictionaries(st.sampled_from(FIELDS), st.text("abc.=_0 é", max_size=6).map(str.strip)))
def test_a_recorded_map_parses_as_typed(fields: dict[str, str]) -> None:
    typed = [f"{ours}={theirs}" for ours, theirs in fields.items()]
    assert parse_map(typed) == fields
    assert not fields or parse_map([map_text(fields)]) == fields
