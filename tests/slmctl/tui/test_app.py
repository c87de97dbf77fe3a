"""The playground's frame: modes, the bar, going back, help, what is loaded, the sampler, errors inside."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.text import Text
from textual.geometry import Region
from textual.message import Message
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static, TextArea
from textual.widgets._toast import Toast

from slmctl.tui.app import Playground
from slmctl.tui.chat.dialogs import EditScreen
from slmctl.tui.help import HelpScreen
from slmctl.tui.messages import OpenChat, OpenLabel, OpenRuns
from slmctl.tui.playground import MODES, Start
from slmctl.tui.runs.runs_table import RunsTable
from slmctl.tui.widgets.dialogs import LineDialog
from slmctl.tui.widgets.mode_bar import ModeBar, ModeTab
from tests.support.fake_sampler import FakeSampler
from tests.support.pilot import bar, go, played, screen_text, typed_at_once, until
from tests.support.recorded_runs import make_run

BURSTS = {
    "a filter": (("slash", *"clng"), "runs", "FilterLine"),
    "another mode": (("f5", *"hello"), "chat", "PromptBox"),
    "the palette": (("ctrl+p", *"train"), "runs", "CommandInput"),
}
LARGE = 200  # cells: several notes are on the screen
HEAVY = ("torch", "numpy", "datasets", "pyarrow", "transformers", "tokenizers", "safetensors")


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


def test_help_lists_actions_before_navigation(tmp_path: Path) -> None:
    make_run(tmp_path)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: isinstance(app.focused, RunsTable), "the table")
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = str(app.screen.text)
        places = [text.index(words) for words in ("runs.watch", "runs.filter", "Everywhere", "Navigation", "Cursor up")]
        assert places == sorted(places) and text.count("Cursor up") == 1

    played(Playground(Start(tmp_path)), script)


def test_the_playground_loads_no_torch_and_none_of_its_kin(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from slmctl.tui.app import Playground
from slmctl.tui.widgets.dialogs import LineDialog
from slmctl.tui.playground import Start

async def main():
    app = Playground(Start(Path({str(tmp_path)!r})), preferences=Path({str(tmp_path / "c.toml")!r}))
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
import slmctl.tui.playground, slmctl.runs.launch, slmctl.tui.app
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


def notes(app: Playground) -> list[Region]:
    """Where passing notes can be seen."""
    return [app.screen.find_widget(toast).visible_region for toast in app.screen.query(Toast) if toast.region]


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
@pytest.mark.parametrize(
    ("field", "keys"),
    [
        ("PromptBox", ("f5",)),
        ("FilterLine", ("n", "slash")),
        ("#edit-text", ("n", "enter")),
        ("Input", ("f5", "ctrl+o")),
        ("#setting-seed", ("f5", "ctrl+o", "shift+tab")),
    ],
)
def test_no_note_lies_over_what_is_typed(
    tmp_path: Path, size: tuple[int, int], field: str, keys: tuple[str, ...]
) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        for text in ("copied: tiny", "a sentence that is longer than a line " * 4, "another sentence " * 20):
            app.say(text)
        await pilot.press(*keys)
        app.say("and one more, once it is typed")
        await pilot.pause()
        await pilot.press("x")
        await until(pilot, lambda: sum(place.area for place in notes(app)) > LARGE, "the notes")
        assert app.focused is not None and app.focused is app.screen.query(field).first()
        assert not any(app.focused.region.overlaps(place) for place in notes(app))

    played(Playground(Start(tmp_path), FakeSampler()), script, size, notes=True)


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
@pytest.mark.parametrize(
    "screen", [lambda: EditScreen("Hi", "tiny", "a line\n" * 30), lambda: LineDialog("search", "")]
)
def test_no_note_lies_over_what_is_typed_on_top(
    tmp_path: Path, size: tuple[int, int], screen: Callable[[], Screen[str | None]]
) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await app.push_screen(screen())
        app.say("another sentence " * 40)
        await until(pilot, lambda: sum(place.area for place in notes(app)) > LARGE, "the note")
        assert app.focused is not None
        assert not any(app.focused.region.overlaps(place) for place in notes(app))

    played(Playground(Start(tmp_path), FakeSampler()), script, size, notes=True)


@pytest.mark.parametrize("name", BURSTS)
def test_keys_in_one_burst_are_handled_one_by_one(tmp_path: Path, name: str) -> None:
    keys, mode, field = BURSTS[name]
    make_run(tmp_path)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: isinstance(app.focused, RunsTable), "the table")
        typed_at_once(app, *keys)
        await until(pilot, lambda: type(app.focused).__name__ == field and app.current_mode == mode, "the field")
        assert isinstance(app.focused, Input | TextArea)
        text = "value" if isinstance(app.focused, Input) else "text"
        await until(pilot, lambda: getattr(app.focused, text) == "".join(keys[1:]), "what was typed")

    played(Playground(Start(tmp_path), FakeSampler()), script)


def test_a_key_waits_for_what_the_one_before_it_says(tmp_path: Path) -> None:
    make_run(tmp_path)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: isinstance(app.focused, RunsTable), "the table")
        typed_at_once(app, "slash", "t", "enter", "n")
        await until(pilot, lambda: "$ slmctl" in screen_text(app), "the form")

    played(Playground(Start(tmp_path), FakeSampler()), script)


def test_an_internal_error_is_kept_for_the_caller(tmp_path: Path) -> None:
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


def test_mode_keys_work_in_text_fields_but_not_under_dialogs(tmp_path: Path) -> None:
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


def test_without_color_highlights_are_reversed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await app.screen.mount(Static(Text("dead", "red")), Static(Text("live", "white on green")))
        await pilot.pause()
        found = {}
        for line in app.screen._compositor.render_strips():
            for text, style, _ in line:
                assert style is not None and style.color is not None and style.bgcolor is not None
                assert style.color.is_default and style.bgcolor.is_default
                found[text.strip()] = bool(style.reverse)
        assert (found["dead"], found["live"]) == (False, True)

    played(Playground(Start(tmp_path)), script)


@pytest.mark.parametrize(
    ("key", "mode", "told"),
    [("f2", "runs", "is a file, not a folder"), ("f3", "train", "is a file, not a folder"),
     ("f5", "chat", "Models: none yet"), ("f6", "label", "is a file, not a folder")],
)  # fmt: skip
def test_a_folder_of_runs_that_has_become_a_file_ends_no_mode(tmp_path: Path, key: str, mode: str, told: str) -> None:
    home = tmp_path / "runs"
    home.write_text("no folder")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await go(app, pilot, key, mode)
        await until(pilot, lambda: told in " ".join(screen_text(app).split()), "the word of it")

    app = Playground(Start(home))
    played(app, script)
    assert app.fault is None
