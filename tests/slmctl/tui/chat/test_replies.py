"""Other keys on replies: hints, copies, checkpoints, the editor."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.app import App

from slmctl.tui.chat.replies import CheckpointBar, visible_range
from slmctl.tui.editor import EditorError, edit_in_editor
from tests.support.chat_mode import MODELS, Talk, labels, make_run, talk
from tests.support.pilot import screen_text


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_run(tmp_path)
    return tmp_path


def test_the_key_hints_fit_the_screen(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        assert "enter: send" in chat.line("hint")
        await chat.press("tab")
        assert chat.line("hint").startswith("1 or 2: better, again: much better · backspace: withdraw")
        assert len(chat.line("hint")) <= 78
        footer = screen_text(chat.app).splitlines()[-1]
        assert "[ ] Steps" in footer and "Help" in footer and "Sa" not in footer
        await chat.press("ctrl+o")
        assert chat.over == "SamplingScreen"
        await chat.press("escape", "escape")
        assert "enter: send" in chat.line("hint")

    talk(home, script)


def test_copies_have_no_control_characters(home: Path) -> None:
    async def script(chat: Talk) -> None:
        chat.fake.say("tiny:sft", "Hi", "a\x1b]52;c;x\x07b")
        await chat.say("Hi")
        await chat.press("tab", "y")
        assert chat.app.clipboard == "a␛]52;c;x␇b"

    talk(home, script)


def test_checkpoints_of_a_run_reply_to_the_same_prompt_and_seed(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        assert str(chat.screen.query_one(CheckpointBar).render()).startswith(
            "checkpoints of tiny:ppo  sft ─ 10 ─ 20 ─ [ppo]"
        )
        await chat.press("tab", "tab", "left_square_bracket")
        assert chat.shown()[1].startswith(">2 tiny:ppo@20 instead of tiny:ppo\ntiny:ppo@20 answers Hi by draw 0.0.0")
        asked = [(draw.model, draw.step, draw.background) for draw in chat.fake.draws[2:]]
        assert asked == [("tiny:ppo@20", 0, False), ("tiny:ppo@10", 0, True)]
        await chat.press("left_square_bracket")
        await chat.press("left_square_bracket")
        assert chat.shown()[1].startswith(">2 tiny:sft instead of tiny:ppo")
        await chat.press("left_square_bracket")
        assert "tiny:sft is the first checkpoint of tiny:ppo" in chat.note()
        drawn = len(chat.fake.draws)
        await chat.press("right_square_bracket", "right_square_bracket", "right_square_bracket")
        assert chat.shown()[1].startswith(">2 tiny:ppo\n") and len(chat.fake.draws) == drawn
        bar = chat.screen.query_one(CheckpointBar)
        await chat.pilot.click(bar, offset=(str(bar.render()).index("10") + 1, 0))
        await chat.settled()
        assert chat.shown()[1].startswith(">2 tiny:ppo@10")
        await chat.press("2")
        (label,) = labels(home)
        assert [candidate.model for candidate in label.candidates] == ["tiny:sft", "tiny:ppo@10"]
        await chat.say("And?")
        assert "tiny:ppo answers Hi" in str(chat.fake.draws[-1].prompts)

    talk(home, script)


@pytest.mark.parametrize(
    ("at", "room", "seen"), [(0, 30, (0, 5)), (50, 30, (48, 52)), (99, 12, (98, 99)), (3, 1, (3, 3))]
)
def test_a_long_row_is_shown_around_the_selected_item(at: int, room: int, seen: tuple[int, int]) -> None:
    first, last = visible_range([5] * 100, at, room)
    assert first <= at <= last and (last - first + 1) * 5 <= max(room, 7)
    assert abs((last - first) - (seen[1] - seen[0])) <= 1


class Suspended(App[None]):
    """An app whose suspend does nothing."""

    @contextmanager
    def suspend(self) -> Iterator[None]:
        yield


def test_a_missing_or_failing_editor_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Suspended()
    with pytest.raises(EditorError, match="no editor is set"):
        edit_in_editor(app, "x", {})
    with pytest.raises(EditorError, match="which is not a command"):
        edit_in_editor(app, "x", {"EDITOR": "'"})
    with pytest.raises(EditorError, match="cannot be started: No such file"):
        edit_in_editor(app, "x", {"EDITOR": "/no/such/editor"})
    with pytest.raises(EditorError, match="false ended with exit code 1"):
        edit_in_editor(app, "x", {"EDITOR": "false"})
    assert edit_in_editor(app, "a\x00b", {"VISUAL": "true", "EDITOR": "false"}) == "a\x00b"
    assert edit_in_editor(app, "ab", {"EDITOR": "sed -i s/a/c/"}) == "cb"

    async def script(chat: Talk) -> None:
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setitem(os.environ, "EDITOR", "")
        await chat.press("f4")
        assert "no editor is set" in chat.note()

    talk(home, script, models=MODELS[:1])
