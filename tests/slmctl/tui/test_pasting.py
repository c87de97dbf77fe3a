"""Pastes that hold escape sequences: one text, and the keys after them are heard."""

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.drivers import linux_driver

from slmctl.chat.conversation import Turn
from slmctl.chat.sessions import Session, SessionFiles
from slmctl.tui.pasting import END, START, PasteParser, guard_pastes
from tests.slmctl.tui.conftest import Open

TEXTS = st.text(st.sampled_from("ab\x1b[201~m;\r\n"), max_size=30).filter(lambda text: END not in text)


def heard(*chunks: str) -> list[str | tuple[str]]:
    """What a parser makes of input that comes in these chunks: keys by name, pastes in a tuple."""
    parser = PasteParser()
    found: list[str | tuple[str]] = []
    for event in (event for chunk in chunks for event in parser.feed(chunk)):
        if isinstance(event, events.Paste):
            found.append((event.text,))
        elif isinstance(event, events.Key):
            found.append(event.key)
    return found


@given(TEXTS, st.lists(st.integers(0, 60), max_size=4))
def test_a_paste_is_one_text_however_it_comes(text: str, cuts: list[int]) -> None:
    whole = f"x{START}{text}{END}y"
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    shown = text.replace("\x1b", "\u241b")
    assert heard(*(whole[a:b] for a, b in pairwise(places) if a < b)) == ["x", (shown,), "y"]


def test_keys_and_pastes_in_turn() -> None:
    coloured = "\x1b[31mred\x1b[0m"
    assert heard("\x1b[A", f"{START}{coloured}{END}\r{START}b{END}\x1b[B") == [
        "up", ("\u241b[31mred\u241b[0m",), "enter", ("b",), "down",
    ]  # fmt: skip


def test_the_terminal_is_read_by_that_parser() -> None:
    guard_pastes()
    assert vars(linux_driver)["XTermParser"] is PasteParser


def test_a_colored_paste_arrives_and_keys_still_work(terminal: Open, home: Path) -> None:
    SessionFiles(home).save(Session("talk", ("a",), turns=(Turn("Hi", ("a",)),)))
    screen = terminal("chat", "--session", "talk")
    screen.wait("enter: send")
    screen.send(f"{START}some \x1b[31mred\x1b[0m text{END}")
    screen.wait("some ␛[31mred␛[0m text")
    screen.press("C-u")
    screen.type("heard")
    assert "some" not in screen.wait("heard")
