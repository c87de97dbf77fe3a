"""The command palette: what is found, what it does, and that typing fast loses nothing."""

import threading
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from slmctl.runs.overview import Overview, RunSummary
from slmctl.tui.app import Playground
from slmctl.tui.palette import commands, word_spans
from slmctl.tui.playground import Start
from slmctl.tui.runs.form import FormScreen
from slmctl.tui.widgets.option_list import Palette
from tests.support.pilot import PATIENCE_S, played, until


def test_commands_are_found_by_words_in_any_order() -> None:
    assert word_spans("ppo chat", "Chat with tiny:ppo") == [(15, 18), (0, 4)]
    assert word_spans("x", "Chat") == []
    assert word_spans("a" * 9, "a" * 8) == []


def test_commands_of_a_run_with_a_hostile_name_are_shown_as_is(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        run = RunSummary("[@click=app.quit()]x[/]\x1b[2J", "finished", models={"sft": "", "ppo": ""})
        texts = [command.text for command in commands(app, [run])]
        assert "Chat with [@click=app.quit()]x[/]␛[2J:ppo" in texts
        assert any(text.startswith("Chat with [@click=app.quit()]x[/]␛[2J:sft beside [@click") for text in texts)
        assert not any("\x1b" in text for text in texts)

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

    played(Playground(Start(tmp_path), preferences=file), script)
    assert file.read_text() == 'theme = "gruvbox"\n'


def test_typing_before_the_runs_are_known_loses_no_command(tmp_path: Path) -> None:
    known = threading.Event()

    class Slow(Overview):
        """An overview of a folder that takes its time."""

        def rows(self, now: float) -> list[RunSummary]:
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


def test_a_page_further_in_a_list_that_has_just_come_is_no_fault(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await app.push_screen(Palette([]))
        app.screen.query_one(OptionList).add_options(["one", "two"]).highlighted = 1
        await app.screen.run_action("command_list('page_down')")
        await pilot.press("pageup", "escape")

    app = Playground(Start(tmp_path))
    played(app, script)
    assert app.fault is None
