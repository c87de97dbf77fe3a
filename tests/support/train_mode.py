"""Driving the Train mode in tests."""

from pathlib import Path

from textual.pilot import Pilot

from slmctl.plots.styled_rows import to_lines
from slmctl.tui.app import Playground
from slmctl.tui.playground import Start
from slmctl.tui.watch.body import Chart
from tests.support.pilot import Script, played, screen_text, until


def watch(home: Path, script: Script, *names: str, size: tuple[int, int] = (80, 24), ascii: bool = False) -> None:
    played(Playground(Start(home, "train", names, ascii=ascii)), script, size)


async def see(app: Playground, pilot: Pilot[None], *texts: str) -> str:
    """The screen, after waiting for all of these texts."""
    try:
        await until(pilot, lambda: all(text in screen_text(app) for text in texts), " and ".join(map(repr, texts)))
    except AssertionError as error:
        raise AssertionError(f"{error}; the screen is\n{screen_text(app)}") from None
    return screen_text(app)


def charts(app: Playground) -> list[Chart]:
    return [chart for chart in app.screen.query(Chart) if chart.display]


def heading(chart: Chart) -> str:
    return to_lines(chart.rows()[:1])[0].strip()
