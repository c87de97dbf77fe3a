"""Typing in a chat: settings, slash commands, completion, recalled prompts, errors."""

from pathlib import Path

import pytest
from textual.widgets import Static

from slmctl.tui.chat.prompt_box import COMMANDS
from slmctl.tui.chat.slash_commands import CommandInterpreter
from tests.support.chat_mode import Talk, make_run, talk


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_run(tmp_path)
    return tmp_path


def test_wrong_settings_are_reported(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.pilot.press("ctrl+o")
        await chat.pilot.press("9", "9", "9", "enter")
        assert chat.over == "SamplingScreen"
        note = chat.app.screen.query_one("#chat-sampling-note", Static)
        assert str(note.render()) == "! temperature is 999.0; it must be 0 to 100"
        await chat.pilot.press("backspace", "backspace", "down", "5", "enter")
        assert chat.over == "ChatScreen"
        assert chat.screen.chat.session.sampling["top_k"] == 5
        for typed, sentence in [
            ("/set temprature=1", "did you mean 'temperature'"),
            ("/set temperature", "type /set temperature=VALUE"),
            ("/set top_k=1.5", "top_k is '1.5'; it must be a whole number"),
            ("/set seed=-1", "seed is -1; it must be a whole number, 0 to"),
            ("/set temperature=nan", "temperature is nan; it must be 0 to 100"),
        ]:
            await chat.say(typed)
            assert sentence in chat.note(), chat.note()
            assert chat.screen.box.text == typed

    talk(home, script)


MISTAKES = [
    ("/regn", "did you mean 'regen'"),
    ("/regen", "no turn to regenerate"),
    ("/regen 3", "/regen takes no argument, but '3' was given"),
    ("/xyzzy", "/help lists all commands"),
    ("/save", "type /save and a name"),
    ("/save ../x", "not a valid session name"),
    ("/load nothing", "there is no session 'nothing'"),
    ("/model", "models: tiny:ppo, tiny:sft, tiny:base"),
    ("/model a b c d e", "5 models are too many"),
    ("/model a a", "a is named twice"),
    ("/score broken", "it is broken"),
    ("/follow 1", "no reply to follow"),
    ("/vote 1", "there is no reply yet"),
    ("/vote both", "type /vote 1"),
    ("/edit x", "type /edit and the number"),
    ("/lens red", "type /lens and one of kl, logprob, value, off"),
    (" ", "type a prompt first"),
]


def test_wrong_commands_are_reported_and_stay_in_the_box(home: Path) -> None:
    async def script(chat: Talk) -> None:
        chat.fake.fail("broken")
        for typed, sentence in MISTAKES:
            await chat.say(typed)
            assert sentence in chat.note()
            assert (chat.screen.box.text, chat.screen.chat.turns) == (typed, ())

    talk(home, script)


def test_ctrl_u_clears_the_box_and_ctrl_z_undoes_that(home: Path) -> None:
    async def script(chat: Talk) -> None:
        chat.screen.box.fill("a long\npaste\nof lines")
        await chat.press("ctrl+u")
        assert chat.screen.box.text == ""
        await chat.press("ctrl+z")
        assert chat.screen.box.text == "a long\npaste\nof lines"

    talk(home, script)


def test_two_slashes_start_a_prompt_with_one(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("//etc is a folder")
        assert chat.fake.draws[0].prompts == ["/etc is a folder"]

    talk(home, script)


def test_the_prompt_of_an_undone_turn_can_be_edited(home: Path) -> None:
    async def script(chat: Talk) -> None:
        box = chat.screen.box
        for typed, then, text in [
            ("//etc", "x", "x"),
            ("One", "/", "/"),
            ("Two", "left", "Two"),
            ("Three", "up", "/undo"),
        ]:
            await chat.say(typed)
            await chat.say("/undo")
            assert (box.text, box.selected_text, chat.screen.chat.turns) == (typed, typed, ())
            assert "press Enter to send its prompt again, type to replace it" in chat.note()
            await chat.pilot.press(then)
            assert (box.text, box.selected_text) == (text, "")
        await chat.say("Four")
        await chat.say("/undo")
        await chat.press("enter")
        assert chat.fake.draws[-1].prompts == ["Four"]
        await chat.say("/undo")
        await chat.press("slash", *"regen", "enter")
        assert "no turn to regenerate" in chat.note()

    talk(home, script, models=("tiny:ppo",))


def test_tab_completes_commands_else_selects_replies(home: Path) -> None:
    async def script(chat: Talk) -> None:
        box = chat.screen.box
        box.insert("/mo")
        await chat.press("tab")
        assert box.text == "/model "
        box.insert("tiny:s")
        await chat.pilot.pause()
        assert "/model A [B C D]" in chat.line("hint")
        await chat.press("tab")
        assert box.text == "/model tiny:sft"
        box.fill("/s")
        await chat.pilot.pause()
        assert chat.line("hint") == "tab: /system /set /save /score"
        seen = []
        for _ in range(5):
            await chat.press("tab")
            seen.append(box.text)
        assert seen == ["/system", "/set", "/save", "/score", "/system"]
        box.fill("")
        await chat.say("Hi")
        await chat.press("tab")
        assert chat.screen.focused_pane is chat.panes()[0]

    talk(home, script)


def test_up_recalls_prompts_and_ctrl_j_starts_a_line(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("One")
        await chat.say("Two")
        box = chat.screen.box
        await chat.pilot.press("d", "ctrl+j", "e")
        assert box.text == "d\ne"
        await chat.pilot.press("up", "up")
        assert box.text == "Two"
        await chat.pilot.press("up", "up", "up")
        assert box.text == "One"
        await chat.pilot.press("down", "down")
        assert box.text == "d\ne"

    talk(home, script)


def test_every_command_has_its_method(home: Path) -> None:
    assert all(callable(getattr(CommandInterpreter, f"do_{name}")) for name in COMMANDS)

    async def script(chat: Talk) -> None:
        await chat.say("/help")
        assert chat.over == "HelpScreen"

    talk(home, script)
