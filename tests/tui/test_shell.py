"""The playground's frame: modes, the bar, going back, help, commands, keys and theme of one's own."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.text import Text
from textual.message import Message
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static, TextArea

from slmctl.runs.overview import Overview, Standing
from slmctl.tui.app import Playground
from slmctl.tui.choices import Choices, choices_file, keep_theme, read_choices
from slmctl.tui.keymap import binding_ids, is_key
from slmctl.tui.messages import OpenChat, OpenLabel, OpenRuns
from slmctl.tui.palette import commands, found_at
from slmctl.tui.screens.form import FormScreen
from slmctl.tui.screens.help import HelpScreen
from slmctl.tui.start import MODES, Start
from slmctl.tui.widgets.mode_bar import ModeBar, ModeTab
from tests.tui.fakes import FakeSampler
from tests.tui.playing import PATIENCE_S, played, until

HEAVY = ("torch", "numpy", "datasets", "pyarrow", "transformers", "tokenizers", "safetensors")


def bar(app: Playground) -> str:
    return "".join(str(tab.render()) for tab in app.screen.query_one(ModeBar).query(ModeTab))


async def go(app: Playground, pilot: Pilot[None], key: str, mode: str) -> None:
    """Presses a key and waits for the mode that it opens."""
    await pilot.press(key)
    await until(pilot, lambda: app.current_mode == mode, f"the mode {mode}")


def test_each_mode_has_a_key_and_says_so_without_colour(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        for mode, key in zip(MODES, ("f2", "f3", "f5", "f6"), strict=True):
            await go(app, pilot, key, mode)
            assert f"[{key.upper()} {mode.title()}]" in bar(app)
            assert bar(app).count("[") == 1

    played(Playground(Start(tmp_path)), script)


def test_a_mode_is_opened_by_a_click_and_keeps_its_screen(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        first = app.screen
        await pilot.click(list(app.screen.query(ModeTab))[2])
        assert app.current_mode == "chat"
        await pilot.press("f2")
        assert app.screen is first
        assert len(app.screen.query(ModeBar)) == 1

    played(Playground(Start(tmp_path)), script)


def test_escape_goes_back_the_way_one_came_and_ends_at_the_runs(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        assert app.current_mode == "chat"
        await pilot.press("f3", "f6", "f3")
        seen = []
        for _ in range(4):
            await pilot.press("escape")
            seen.append(app.current_mode)
        assert seen == ["label", "chat", "runs", "runs"]

    played(Playground(Start(tmp_path, mode="chat")), script)


def test_help_names_the_mode_and_every_key_that_works_now(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("f3", "question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = str(app.screen.text)
        assert text.startswith("Train: ")
        for words in ("f2  Runs", "^q  Quit", "?, f1  Help", "^p  Commands", "Everywhere"):
            assert words in text
        await pilot.press("escape")
        assert app.current_mode == "train" and not isinstance(app.screen, HelpScreen)

    played(Playground(Start(tmp_path)), script)


def test_keys_of_ones_own_hold_and_stand_in_the_bar(tmp_path: Path) -> None:
    file = tmp_path / "playground.toml"
    file.write_text('theme = "nord"\n[keys]\n"mode.chat" = "f7,ctrl+y"\n')

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        assert app.theme == "nord"
        await pilot.press("f5")
        assert app.current_mode == "runs"
        assert "F7 Chat" in bar(app)
        await pilot.press("f7")
        assert app.current_mode == "chat"
        await pilot.press("f2", "ctrl+y")
        assert app.current_mode == "chat"

    played(Playground(Start(tmp_path), choices=file), script)


def test_a_damaged_file_of_choices_is_named_and_the_playground_opens(tmp_path: Path) -> None:
    file = tmp_path / "playground.toml"
    file.write_text("theme = [\x1b]0;x")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        notes = [note.message for note in app._notifications]
        assert len(notes) == 1 and "cannot be read" in notes[0] and str(file) in notes[0]
        assert "\x1b" not in notes[0]
        await pilot.press("f5")
        assert app.current_mode == "chat"

    played(Playground(Start(tmp_path), choices=file), script)
    assert file.read_text() == "theme = [\x1b]0;x"


def test_a_theme_that_is_chosen_stays(tmp_path: Path) -> None:
    file = tmp_path / "config" / "playground.toml"

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        app.theme = "gruvbox"
        await pilot.pause()

    played(Playground(Start(tmp_path), choices=file), script)
    assert file.read_text() == 'theme = "gruvbox"\n'


@pytest.mark.parametrize(
    ("text", "theme", "keys", "problem"),
    [
        ("", None, {}, ""),
        ('theme = "nord"', "nord", {}, ""),
        ('theme = "nrod"', None, {}, "there is no theme 'nrod'; did you mean 'nord'?"),
        ("theme = 3", None, {}, "there is no theme 3"),
        ('them = "nord"', None, {}, "there is no 'them'; did you mean 'theme'?"),
        ('[keys]\n"mode.chat" = "f7"', None, {"mode.chat": "f7"}, ""),
        ('[keys]\nmode.chat = "f7"', None, {"mode.chat": "f7"}, ""),
        ('[keys]\n"mode.caht" = "f7"', None, {}, "there is no binding 'mode.caht'; did you mean 'mode.chat'?"),
        ('[keys]\n"mode.chat" = "seven"', None, {}, "mode.chat is 'seven'; a key looks like"),
        ('[keys]\n"mode.chat" = 7', None, {}, "mode.chat is 7; a key looks like"),
        ("keys = 7", None, {}, "keys is a table"),
    ],
)
def test_what_a_file_of_choices_may_say(
    tmp_path: Path, text: str, theme: str | None, keys: dict[str, str], problem: str
) -> None:
    file = tmp_path / "playground.toml"
    file.write_text(text)
    choices = read_choices(file, ("nord", "gruvbox"), binding_ids, is_key)
    assert (choices.theme, choices.keys) == (theme, keys)
    assert len(choices.problems) == bool(problem)
    assert all(problem in found and str(file) in found for found in choices.problems)


def test_no_file_is_no_choice(tmp_path: Path) -> None:
    assert read_choices(tmp_path / "none.toml", (), binding_ids, is_key) == Choices()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'theme = "nord"\n'),
        ('# mine\ntheme = "x" # old\n[keys]\na = "b"\n', '# mine\ntheme = "nord"\n[keys]\na = "b"\n'),
        ('[keys]\ntheme = "b"\n', 'theme = "nord"\n[keys]\ntheme = "b"\n'),
    ],
)
def test_keeping_a_theme_leaves_the_rest_of_the_file(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "playground.toml"
    file.write_text(before)
    keep_theme(file, "nord")
    assert file.read_text() == after


def test_the_file_of_choices_lies_where_the_system_says(tmp_path: Path) -> None:
    assert choices_file({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "slmctl" / "playground.toml"
    assert choices_file({"XDG_CONFIG_HOME": "here"}) == choices_file({})
    assert choices_file({}).parts[-3:] == (".config", "slmctl", "playground.toml")


def test_keys_that_there_are() -> None:
    assert all(map(is_key, ("x", "?", "f7", "ctrl+r", "ctrl+shift+up", "question_mark", "space", "+", " x ")))
    assert not any(map(is_key, ("", "seven", "ctrl+", "f99x", "strg+r", "\x1b")))


def test_commands_are_found_by_words_in_any_order() -> None:
    assert found_at("ppo chat", "Chat with tiny:ppo") == [(15, 18), (0, 4)]
    assert found_at("x", "Chat") == []
    assert found_at("a" * 9, "a" * 8) == []


def test_the_playground_loads_no_torch_and_none_of_its_kin(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from slmctl.tui.app import Playground
from slmctl.tui.start import Start

async def main():
    app = Playground(Start(Path({str(tmp_path)!r})), choices=Path({str(tmp_path / "c.toml")!r}))
    async with app.run_test() as pilot:
        await pilot.press("n", "right", "escape", "question_mark", "escape", "ctrl+p")
        await pilot.pause()

asyncio.run(main())
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_mode_loads_no_torch(tmp_path: Path) -> None:
    code = f"""
import sys
import threading
from slmctl.tui.keymap import binding_ids
import slmctl.playing, slmctl.runs.launch, slmctl.tui.app
assert "mode.chat" in binding_ids()
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_sampler_is_made_once_and_ended_with_the_playground(tmp_path: Path) -> None:
    sampler = FakeSampler()

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        assert app.sampler is sampler

    played(Playground(Start(tmp_path), sampler), script)
    assert sampler.closed


def test_an_error_inside_is_kept_for_whoever_opened_the_playground(tmp_path: Path) -> None:
    app = Playground(Start(tmp_path))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        app.call_later(lambda: 1 / 0)
        await pilot.pause()

    with pytest.raises(ZeroDivisionError):
        played(app, script)
    assert isinstance(app.fault, ZeroDivisionError)


@pytest.mark.parametrize(
    ("opened", "mode", "note"),
    [
        ("open_train", "train", OpenRuns(("a", "b"))),
        ("open_chat", "chat", OpenChat(("a", "b"))),
        ("open_label", "label", OpenLabel(("a", "b"))),
    ],
)
def test_what_one_mode_hands_to_another_reaches_its_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: str, mode: str, note: Message
) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        heard: list[Message] = []
        post = Screen.post_message

        def noted(screen: Screen[None], message: Message) -> bool:
            heard.extend([message] if isinstance(message, type(note)) else [])
            return post(screen, message)

        monkeypatch.setattr(Screen, "post_message", noted)
        await {"open_train": app.open_train, "open_chat": app.open_chat, "open_label": app.open_label}[opened](
            ["a", "b"]
        )
        assert app.current_mode == mode and heard == [note]

    played(Playground(Start(tmp_path)), script)


def test_commands_of_a_run_with_a_hostile_name_are_shown_as_they_are(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        run = Standing("[@click=app.quit()]x[/]\x1b[2J", "finished", models={"sft": "", "ppo": ""})
        texts = [command.text for command in commands(app, [run])]
        assert "Chat with [@click=app.quit()]x[/]␛[2J:ppo" in texts
        assert any(text.startswith("Chat with [@click=app.quit()]x[/]␛[2J:sft beside [@click") for text in texts)
        assert not any("\x1b" in text for text in texts)

    played(Playground(Start(tmp_path)), script)


def test_the_readme_names_bindings_that_there_are() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    named = set(re.findall(r"[`\"]([a-z]+\.[a-z_]+)[`\"]", text[text.index("[keys]") :][:1500])) - {"playground.toml"}
    assert len(named) >= 2 and named <= binding_ids()


def test_the_keys_of_modes_are_not_lost_in_a_text_field_and_rest_below_a_modal(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        field = TextArea()
        await app.screen.mount(field)
        app.screen.set_focus(field)
        await go(app, pilot, "f6", "label")
        await pilot.press("f1", "f5", "f2")
        assert isinstance(app.screen, HelpScreen) and app.current_mode == "label"
        await pilot.press("escape", "ctrl+p", "f5", "escape")
        assert app.current_mode == "label"

    played(Playground(Start(tmp_path)), script)


def test_commands_do_what_they_say(tmp_path: Path) -> None:
    file = tmp_path / "playground.toml"

    async def ask(app: Playground, pilot: Pilot[None], *words: str) -> None:
        await pilot.press("ctrl+p")
        for typed in words:
            await until(pilot, lambda: isinstance(app.focused, Input), "the line to type in")
            assert isinstance(app.focused, Input)
            app.focused.value = typed
            await until(pilot, lambda: app.screen.query_one(OptionList).highlighted is not None, "a command")
            await pilot.press("enter")
            await pilot.pause()

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await ask(app, pilot, "go chat")
        await until(pilot, lambda: app.current_mode == "chat", "Chat")
        await ask(app, pilot, "reward model start")
        await until(pilot, lambda: isinstance(app.screen, FormScreen), "the form")
        assert app.current_mode == "runs"
        await ask(app, pilot, "theme", "gruvbox")
        await until(pilot, lambda: app.theme == "gruvbox", "the theme")
        await ask(app, pilot, "quit")
        await until(pilot, lambda: not app.is_running, "the end")

    played(Playground(Start(tmp_path), choices=file), script)
    assert file.read_text() == 'theme = "gruvbox"\n'


def test_without_colour_every_word_stands_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await app.screen.mount(Static(Text("dead", "red")), Static(Text("live", "green")))
        await pilot.pause()
        found = {}
        for line in app.screen._compositor.render_strips():
            for text, style, _ in line:
                if style and style.color and style.color.triplet and style.bgcolor and style.bgcolor.triplet:
                    found[text.strip()] = style.color.triplet.red, style.bgcolor.triplet.red, set(style.color.triplet)
        assert {"dead", "live"} <= found.keys()
        assert all(
            abs(ink - paper) >= 96 and len(grey) == 1 for word, (ink, paper, grey) in found.items() if word.isalnum()
        )

    played(Playground(Start(tmp_path)), script)


def test_typing_before_the_runs_are_known_loses_no_command(tmp_path: Path) -> None:
    known = threading.Event()

    class Slow(Overview):
        """An overview of a folder that takes its time."""

        def rows(self, now: float) -> list[Standing]:
            assert known.wait(PATIENCE_S)
            return super().rows(now)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        app.overview = Slow(tmp_path)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.focused, Input), "the line to type in")
        for letter in "quit":
            await pilot.press(letter)
            await pilot.pause(0.15)
        known.set()
        await until(pilot, lambda: app.screen.query_one(OptionList).highlighted is not None, "a command")

    played(Playground(Start(tmp_path, "train")), script)
