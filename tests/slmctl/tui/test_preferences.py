"""Keys and theme of one's own: what the file may say, what is kept in it, what becomes of mistakes."""

import re
from pathlib import Path

import pytest
from textual.keys import Keys, _character_to_key
from textual.pilot import Pilot

from slmctl.guide.pages import page
from slmctl.tui.app import Playground
from slmctl.tui.keymap import binding_ids, key_name
from slmctl.tui.playground import Start
from slmctl.tui.preferences import Preferences, preferences_file, read_preferences, save_theme
from slmctl.tui.runs.form import FormScreen
from tests.support.pilot import bar, played


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

    played(Playground(Start(tmp_path), preferences=file), script)


def test_a_damaged_preferences_file_is_named_and_ignored(tmp_path: Path) -> None:
    file = tmp_path / "playground.toml"
    file.write_text("theme = [\x1b]0;x")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        notes = [note.message for note in app._notifications]
        assert len(notes) == 1 and "cannot be read" in notes[0] and str(file) in notes[0]
        assert "\x1b" not in notes[0]
        await pilot.press("f5")
        assert app.current_mode == "chat"

    played(Playground(Start(tmp_path), preferences=file), script)
    assert file.read_text() == "theme = [\x1b]0;x"


def test_a_theme_that_is_chosen_stays(tmp_path: Path) -> None:
    file = tmp_path / "config" / "playground.toml"

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        app.theme = "gruvbox"
        await pilot.pause()

    played(Playground(Start(tmp_path), preferences=file), script)
    assert file.read_text() == 'theme = "gruvbox"\n'


@pytest.mark.parametrize(
    ("text", "theme", "keys", "problem"),
    [
        ("", None, {}, ""),
        ('theme = "nord"', "nord", {}, ""),
        ('theme = "nrod"', None, {}, "unknown theme 'nrod'; did you mean 'nord'?"),
        ("theme = 3", None, {}, "unknown theme 3"),
        ('them = "nord"', None, {}, "unknown entry 'them'; did you mean 'theme'?"),
        ('[keys]\n"mode.chat" = "f7"', None, {"mode.chat": "f7"}, ""),
        ('[keys]\nmode.chat = "f7"', None, {"mode.chat": "f7"}, ""),
        ('[keys]\n"mode.caht" = "f7"', None, {}, "unknown binding 'mode.caht'; did you mean 'mode.chat'?"),
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
    choices = read_preferences(file, ("nord", "gruvbox"))
    assert (choices.theme, choices.keys) == (theme, keys)
    assert len(choices.problems) == bool(problem)
    assert all(problem in found for found in choices.problems)


def test_no_file_is_no_choice(tmp_path: Path) -> None:
    assert read_preferences(tmp_path / "none.toml", ()) == Preferences()


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
    save_theme(file, "nord")
    assert file.read_text() == after


def test_the_file_of_choices_lies_where_the_system_says(tmp_path: Path) -> None:
    assert preferences_file({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "slmctl" / "playground.toml"
    assert preferences_file({"XDG_CONFIG_HOME": "here"}) == preferences_file({})
    assert preferences_file({}).parts[-3:] == (".config", "slmctl", "playground.toml")


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("x", "x"), ("X", "X"), (" x ", "x"), ("f7", "f7"), ("F7", "f7"), ("ctrl+r", "ctrl+r"), ("space", "space"),
        ("?", "question_mark"), ("/", "slash"), ("slash", "slash"), ("solidus", "slash"), ("minus", "minus"),
        ("-", "minus"), ("plus", "plus"), ("+", "plus"), ("ctrl++", "ctrl+plus"), ("at", "at"), ("@", "at"),
        ("underscore", "underscore"), ("backslash", "backslash"), ("less_than_sign", "less_than_sign"),
        ("comma", "comma"), ("full_stop", "full_stop"), ("apostrophe", "apostrophe"), ("ctrl+slash", "ctrl+slash"),
        ("left_square_bracket", "left_square_bracket"), ("ä", "ä"), ("media_play", "media_play"),
        ("shift+ctrl+up", "ctrl+shift+up"), ("alt+minus", "alt+minus"), ("shift+a", "A"), ("shift+tab", "shift+tab"),
        ("esc", "escape"), ("^r", "ctrl+r"), ("Ctrl+R", "ctrl+r"), ("pgup", "pageup"), ("⏎", "enter"), ("←", "left"),
    ],
)  # fmt: skip
def test_a_key_may_be_called_as_textual_delivers_or_shows_it(typed: str, key: str) -> None:
    assert key_name(typed) == key


@pytest.mark.parametrize(
    "typed", ["", " ", "seven", "ctrl+", "f99x", "strg+r", "\x1b", "slashes", "ctrl+seven", "^seven"]
)
def test_what_no_key_is_called(typed: str) -> None:
    assert key_name(typed) is None


def test_every_key_that_textual_can_deliver_keeps_its_name() -> None:
    delivered = [_character_to_key(chr(code)) for code in range(33, 127)] + [str(key.value) for key in Keys]
    assert [key for key in delivered if key_name(key) != key] == []


def test_a_remapped_key_is_pressed_by_its_character(tmp_path: Path) -> None:
    file = tmp_path / "playground.toml"
    file.write_text('[keys]\n"runs.new" = "minus"\n"runs.chat" = "/"\n"runs.filter" = "plus"\n')

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        assert not app._notifications
        await pilot.press("-")
        assert isinstance(app.screen, FormScreen)

    played(Playground(Start(tmp_path), preferences=file), script)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('"label.tie" = "1"', "1 is the key of both label.tie and label.choose_1; give one of them another"),
        ('"runs.chat" = "f9"\n"runs.new" = "f9,x"', "f9 is the key of both runs.chat and runs.new; give one of them"),
        ('"runs.chat" = "l"\n"runs.label" = "c"', ""),
        (
            '"mode.chat" = "c"',
            "c is the key of mode.chat in every mode, so it could not be typed; use one such as f7",
        ),
        ('"palette" = "slash"', "slash is the key of palette in every mode, so it could not be typed"),
        ('"mode.chat" = "f7,ctrl+y"\n"quit" = "ctrl+x"', ""),
        ('"label.tie" = "t"\n"train.pause" = "k"\n"train.unpause" = "k"\n"chat.newline" = "f9"', ""),
    ],
)
def test_two_bindings_on_one_key_are_reported_at_start(tmp_path: Path, keys: str, told: str) -> None:
    file = tmp_path / "playground.toml"
    file.write_text(f"[keys]\n{keys}\n")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        notes = [note.message for note in app._notifications]
        assert len(notes) == bool(told) and all(note.startswith(f"{file}:\n") and told in note for note in notes)

    played(Playground(Start(tmp_path), preferences=file), script)


def test_the_guide_shows_preferences_that_hold(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", page("playground", ""), re.DOTALL)
    assert block is not None
    named = set(re.findall(r"^\"([a-z_.]+)\"", block[1], re.MULTILINE))
    assert len(named) >= 2 and named <= binding_ids()
    file = tmp_path / "playground.toml"
    file.write_text(block[1])

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        assert not app._notifications and app.theme == "nord" and "F7 Chat" in bar(app)
        await pilot.press("f7")
        assert app.current_mode == "chat"

    played(Playground(Start(tmp_path), preferences=file), script)
