"""Every screen on random texts, in a real terminal: nothing of them is obeyed, whatever reaches it."""

import re
import sys
from pathlib import Path

import pytest

from tests.slmctl.tui.conftest import Open
from tests.support.noise import MARK

OURS = re.compile(
    "\x1b\\[[0-9;:?=<>]*[ $'\"]?[A-Za-z]"  # cursor, colours, modes
    "|\x1b\\]22;\\w+(\x07|\x1b\\\\)"  # the pointer's shape
    "|\x1b[=>78]"
)
"""The sequences that Textual writes."""
WRITTEN = ("\n", "\r")


@pytest.mark.parametrize(("seed", "columns", "rows"), [(0, 80, 24), (1, 140, 45), (2, 47, 13)])
def test_nothing_of_random_texts_is_obeyed(terminal: Open, tmp_path: Path, seed: int, columns: int, rows: int) -> None:
    home = tmp_path / "noise"
    screen = terminal(
        program=(sys.executable, "-m", "tests.support.noise", str(home), f"{seed}"), columns=columns, rows=rows
    )
    title = screen.title()
    screen.wait("[F2 Runs]", "noise")
    screen.press("F3")
    screen.wait("v Samples")
    screen.press("Tab", "Tab", "[", "]", "z")
    screen.until(lambda shown: "v Samples" not in shown, "the zoom")
    screen.press("Escape")
    screen.wait("v Samples")
    screen.press("F5")
    screen.wait("enter: send" if columns > 60 else "noise")
    screen.type("hello")
    screen.press("Enter")
    screen.wait("reward" if columns > 60 else "␛")
    screen.press("Tab", "t", "t", "Right", "F6")
    screen.wait("␛[35")
    screen.press("1", "s", "Escape", "n", "x", "Escape", "h", "Escape", "C-p")
    screen.press("Escape", "C-q")
    assert screen.ended() == 0
    assert screen.title() == title
    written = screen.written().decode(errors="surrogateescape")
    assert MARK not in written
    rest = OURS.sub("", written)
    assert sorted({mark for mark in rest if ord(mark) < 0x20 or 0x7F <= ord(mark) < 0xA0} - set(WRITTEN)) == []
    assert not set(rest) & set("\u202e\u2066")
    assert "␛" in rest
