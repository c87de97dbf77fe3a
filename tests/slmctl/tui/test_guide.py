"""The manual on the screen: from help and from the palette, every page, at any size."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from slmctl.tui.app import Playground
from slmctl.tui.guide import GuideScreen
from slmctl.tui.playground import Start
from tests.support.pilot import played, screen_text, until


def test_help_leads_to_the_topics_and_a_topic_to_its_page(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark", "g")
        await until(pilot, lambda: isinstance(app.screen, GuideScreen) and app.focused is not None, "the guide")
        assert "tour" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: "A five-minute tour" in screen_text(app), "the first page")
        await pilot.press("g")
        await until(pilot, lambda: isinstance(app.focused, OptionList), "the topics")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, GuideScreen), "the mode below")

    played(Playground(Start(tmp_path)), script)


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
@pytest.mark.parametrize(("topic", "title"), [("tour", "A five-minute tour"), ("settings", "Settings")])
def test_a_page_opens_and_closes(topic: str, title: str, size: tuple[int, int], tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        app.open_guide(topic)
        await until(pilot, lambda: title in screen_text(app), title)
        await pilot.press("pagedown", "escape")
        await until(pilot, lambda: not isinstance(app.screen, GuideScreen), "the mode below")

    played(Playground(Start(tmp_path)), script, size=size)
