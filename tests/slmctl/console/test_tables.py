"""Tables and facts: drawn on a terminal, aligned plain lines elsewhere."""

import io
import re
import sys

import pytest

from slmctl.console.printing import print_facts, print_table

ROWS = [("tiny", "9", "running"), ("a-longer-name", "10", "[red]dead[/red]")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        """What was printed, without its styles."""
        return re.sub("\x1b\\[[0-9;]*m", "", self.getvalue())


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(sys, "stdout", stream := Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    return stream


def test_a_table_off_a_terminal_is_aligned_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("run", "seed", "state"), ROWS, right=(1,))
    assert capsys.readouterr().out.splitlines() == [
        "run            seed  state",
        "tiny              9  running",
        "a-longer-name    10  [red]dead[/red]",
    ]


def test_a_table_on_a_terminal_fits_it_and_shows_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    print_table(("run", "seed", "meaning"), [("tiny", "9", "word " * 30), *ROWS])
    text = screen.text()
    assert max(map(len, text.splitlines())) <= 60 and "─" in text
    assert "[red]dead[/red]" in text and text.count("word") == 30


def test_facts_on_a_terminal_wrap_beside_their_label(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    print_facts([("name", "word " * 30)], 6)
    first, *others = screen.text().splitlines()
    assert first.startswith("name") and all(line.startswith("      ") for line in others)


def test_facts_off_a_terminal_do_not_cut_words(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("name", "one two three"), ("", "a-word-longer-than-the-line")], 6, 16)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name  one two", "      three", "      a-word-longer-than-the-line"]
