"""Nothing that a model or a file says is obeyed by the terminal."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from slmctl.console.safe import clean, one_line


def test_what_stays_and_what_changes() -> None:
    assert clean("a\nb\tc") == "a\nb    c"
    assert clean("\x1b]0;pwned\x07") == "␛]0;pwned␇"
    assert clean("a\rb\x00\x08") == "a␍b␀␈"
    assert clean("\x7f\x85\x9b31m\u202egnp\u2066\ud800") == "\ufffd\ufffd\ufffd31m\ufffdgnp\ufffd\ufffd"
    assert clean("Zürich 東京 👍 [bold]x[/]") == "Zürich 東京 👍 [bold]x[/]"


def test_one_line_is_short_and_has_no_breaks() -> None:
    assert one_line("a\n b\t c") == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("abcd", 4) == "abcd"


@given(st.text(st.characters(), max_size=50))
def test_no_control_character_gets_through(text: str) -> None:
    cleaned = clean(text)
    assert all(mark == "\n" or unicodedata.category(mark) not in ("Cc", "Cs") for mark in cleaned)
    assert not any(
        unicodedata.bidirectional(mark) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        for mark in cleaned
    )
    assert clean(cleaned) == cleaned
