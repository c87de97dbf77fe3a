"""`--ascii`: on no screen of ours a mark that is not ASCII; what models wrote stays as it is."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.rundir.directory import RunDir
from slmctl.tui.app import Playground
from slmctl.tui.playground import Start
from tests.support.label_mode import make_run
from tests.support.pilot import played, screen_text
from tests.support.recorded_runs import begin_ppo, drawn, ppo_step, sample, say

SCREENS = [
    ("runs", ()),
    ("runs", ("n",)),
    ("runs", ("question_mark",)),
    ("runs", ("ctrl+p",)),
    ("train", ()),
    ("train", ("v", "enter")),
    ("train", ("z", "left")),
    ("train", ("c",)),
    ("train", ("x",)),
    ("chat", ()),
    ("label", ()),
]


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
@pytest.mark.parametrize(("mode", "keys"), SCREENS)
def test_every_mark_is_ascii(tmp_path: Path, mode: str, keys: tuple[str, ...], size: tuple[int, int]) -> None:
    make_run(tmp_path)
    run = RunDir(tmp_path / "tiny")
    begin_ppo(run)
    long = " ".join(["word"] * 60)
    say(run, *(ppo_step(step) for step in range(1, 9)), drawn(8, sample("Is it café?", long), sample(long, "No…")))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.pause(0.5)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.1)
        shown = screen_text(app)
        assert shown.replace("é", "e").isascii(), {char for char in shown if not char.isascii()}
        assert keys[:1] != ("v",) or "café" in shown

    played(Playground(Start(tmp_path, mode, ascii=True)), script, size)
