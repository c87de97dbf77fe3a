"""Draws the README's picture: the playground itself, in its Train mode, on the runs named.

python -m tests.picture RUNS_FOLDER RUN
"""

import asyncio
import sys
from pathlib import Path

from slmctl.tui.app import Playground
from slmctl.tui.start import Start

PICTURE = Path(__file__).with_name("playground.svg")
SIZE = (132, 40)
SETTLED_S = 2.0


async def draw(home: Path, run: str) -> None:
    """Opens the playground on a run and keeps what it shows."""
    app = Playground(Start(home, "train", runs=(run,)))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SETTLED_S)
        PICTURE.write_text(app.export_screenshot(title="slmctl watch", simplify=True), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1]), sys.argv[2]))
