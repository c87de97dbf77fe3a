"""Driving the playground without a terminal."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot

from slmctl.tui.app import Playground
from slmctl.tui.widgets.mode_bar import ModeBar, ModeTab

Script = Callable[[Playground, Pilot[None]], Awaitable[None]]
PATIENCE_S = 60.0


def played(app: Playground, script: Script, size: tuple[int, int] = (80, 24), notes: bool = False) -> None:
    """Runs a script against the playground; `notes` shows notifications, too."""

    async def main() -> None:
        async with app.run_test(size=size, notifications=notes) as pilot:
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(main())


def typed_at_once(app: Playground, *keys: str) -> None:
    """Sends all keys before any is handled, as on a busy machine."""
    for key in keys:
        name = _character_to_key(key) if len(key) == 1 else key
        app.post_message(Key(name, key if len(key) == 1 else None))


async def until(pilot: Pilot[None], happened: Callable[[], bool], what: str) -> None:
    """Waits for a condition that depends on other threads or processes."""
    until_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until_s, f"waited for {what}"
        await pilot.pause(0.02)


def screen_text(app: Playground) -> str:
    """The text on the screen, line by line."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip)[:width].rstrip() for strip in strips[:height])


def bar(app: Playground) -> str:
    return "".join(str(tab.render()) for tab in app.screen.query_one(ModeBar).query(ModeTab))


async def go(app: Playground, pilot: Pilot[None], key: str, mode: str) -> None:
    """Presses a key and waits for the mode that it opens."""
    await pilot.press(key)
    await until(pilot, lambda: app.current_mode == mode, f"the mode {mode}")
