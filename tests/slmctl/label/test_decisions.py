"""Orders of responses as they are typed: what they mean, and what is said of those that cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.errors import ConfigError
from slmctl.label.decisions import parse_ranking, ranking_text

WEAK = st.lists(st.integers(0, 8), min_size=2, max_size=9).map(
    lambda ranks: tuple(sorted(set(ranks)).index(rank) for rank in ranks)
)


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("2>1=3", (1, 0, 1)),
        ("213", (1, 0, 2)),
        (" 3 , 1 2 ", (1, 2, 0)),
        ("1=2=3", (0, 0, 0)),
        ("1 = 3 > 2", (0, 1, 0)),
    ],
)
def test_rankings_are_parsed(text: str, ranks: tuple[int, ...]) -> None:
    assert parse_ranking(text, 3) == ranks


@given(WEAK, st.sampled_from([">", " > ", ",", " "]), st.sampled_from(["=", " = "]))
def test_any_ranking_survives_a_round_trip(ranks: tuple[int, ...], better: str, tie: str) -> None:
    text = ranking_text(ranks).replace("=", "\0").replace(">", better).replace("\0", tie)
    assert parse_ranking(text, len(ranks)) == ranks


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a number is missing"),
        ("1>>2", "a number is missing"),
        ("=1>2>3", "a number is missing"),
        ("1>2>", "a number is missing"),
        ("1>2", "3 missing; list every response, such as 2>1=3"),
        ("1>2>3>4", "no response 4; the responses are 1 to 3"),
        ("0>1>2", "no response 0"),
        ("1>2=1", "response 1 is listed twice"),
        ("3<2<1", "'<' is not allowed in a ranking; the best comes first"),
        ("a>b", "'a' is not allowed in a ranking; use numbers"),
        ("١>2>3", "is not allowed in a ranking"),
        ("1\x1b[2J2", "is not allowed in a ranking"),
    ],
)
def test_invalid_rankings_are_explained(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("[", r"\[").replace("(", r"\(")):
        parse_ranking(text, 3)


@given(st.text(max_size=12), st.integers(2, 9))
def test_any_text_is_a_full_ranking_or_an_error(text: str, count: int) -> None:
    try:
        ranks = parse_ranking(text, count)
    except ConfigError:
        return
    assert len(ranks) == count
    assert sorted(set(ranks)) == list(range(max(ranks) + 1))
