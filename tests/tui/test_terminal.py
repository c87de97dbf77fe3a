"""The playground in real terminals, with real processes."""

import pytest

from tests.tui.conftest import Open


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_obeys_no_sequence_gets_help(terminal: Open, term: str) -> None:
    screen = terminal(TERM=term, columns=120, rows=60)
    assert screen.ended() == 0
    assert "slmctl run --preset tiny" in screen.screen()
    assert b"\x1b" not in screen.written()


@pytest.mark.parametrize("stream", ["<", ">", "2>"])
def test_where_one_stream_is_no_terminal_there_is_help(terminal: Open, stream: str) -> None:
    screen = terminal(columns=120, rows=60, redirect=f"{stream}file")
    assert screen.ended() == 0
    assert b"\x1b" not in screen.written()
    assert ("slmctl run --preset tiny" in screen.screen()) == (stream != ">")


def test_it_opens_and_is_left_again(terminal: Open) -> None:
    screen = terminal()
    screen.wait("[F2 Runs]", "F5 Chat")
    screen.press("F5")
    screen.wait("[F5 Chat]")
    screen.press("C-q")
    assert screen.ended() == 0
