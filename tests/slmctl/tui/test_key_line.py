"""The line of keys: it follows the focus, cuts no key in two, and a click presses one."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from slmctl.tui.app import Playground
from slmctl.tui.help import HelpScreen
from slmctl.tui.playground import Start
from slmctl.tui.widgets.key_line import KeyLine
from tests.support.pilot import played, screen_text
from tests.support.recorded_runs import make_run

WORDS = ("Watch", "Chat", "Label", "New", "Resume", "Filter", "Copy name", "Stop", "Rename", "Delete")
HELP, PALETTE = " ? Help", "  ^p Commands"


def last_line(app: Playground) -> str:
    return screen_text(app).splitlines()[-1]


@pytest.mark.parametrize("width", [40, 61, 80, 97, 140])
def test_as_many_keys_as_fit_stand_there_whole(tmp_path: Path, width: int) -> None:
    make_run(tmp_path, "tiny")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        line = last_line(app)
        ends = HELP + PALETTE * (width > 62)
        assert line.endswith(ends)
        found = line.removesuffix(ends).split("  ")
        words = [part.strip().partition(" ")[2] for part in found if part.strip()]
        assert words and words == [word for word in WORDS if word in words]
        assert ("Delete" in words) == (width >= 140)

    played(Playground(Start(tmp_path)), script, (width, 24))


def test_a_click_presses_the_key_below_it(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        assert await pilot.click(KeyLine, offset=(last_line(app).index("Help"), 0))
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)

    played(Playground(Start(tmp_path)), script)


def test_it_follows_the_focus(tmp_path: Path) -> None:
    make_run(tmp_path, "tiny")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        assert "Watch" in last_line(app)
        await pilot.press("slash")
        await pilot.pause()
        assert "Clear filter" in last_line(app) and "Watch" not in last_line(app)

    played(Playground(Start(tmp_path)), script)


def test_keys_of_ones_own_are_the_ones_that_stand_there(tmp_path: Path) -> None:
    choices = tmp_path / "config.toml"
    choices.write_text('[keys]\n"help" = "f9"\n"runs.chat" = "k"\n')
    make_run(tmp_path, "tiny")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        assert last_line(app).endswith(f"f9 Help{PALETTE}")
        assert " ⏎ Watch  k Chat  l Label " in last_line(app), "where it stood"

    played(Playground(Start(tmp_path), preferences=choices), script)
