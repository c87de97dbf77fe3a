"""Sentences on a terminal: broken between words alone, a command to copy never."""

import os
import pty

import pytest

from slmctl.console.printing import say, wrap_sentence

LONG = "the label database /a/folder/with-a-name/labels.db cannot be used: nothing can be written there"


@pytest.mark.parametrize("columns", [1, 20, 40, 80])
def test_a_line_ends_between_words(columns: int) -> None:
    lines = wrap_sentence(LONG, columns).split("\n")
    assert " ".join(lines) == LONG
    assert all(len(line) <= columns or " " not in line for line in lines)


def test_without_a_width_nothing_changes() -> None:
    assert wrap_sentence(LONG, 0) == LONG


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("there is none yet; type: slmctl sft --run x", "there is none yet; type:\nslmctl sft --run x"),
        ("there is none; type: slmctl sft", "there is none; type: slmctl sft"),
        ("none; type: slmctl rm --run x --set rm.lr=3e-4", "none; type:\nslmctl rm --run x --set rm.lr=3e-4"),
        ("\nstopped by ctrl+c: nothing is kept of it", "\nstopped by ctrl+c: nothing is\nkept of it"),
    ],
)  # fmt: skip
def test_a_command_is_not_broken(text: str, shown: str) -> None:
    assert wrap_sentence(text, 32) == shown


def test_a_terminal_of_unknown_width_gets_the_whole_line() -> None:
    control, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        say(LONG, stream)
        assert os.read(control, 1000).decode().strip() == LONG
    os.close(control)
