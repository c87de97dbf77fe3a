"""Random keys, clicks and resizes beside a run that grows: whatever comes, the playground goes on.

RANDOM_KEYS sets how many keys a seed presses, RANDOM_SEEDS which seeds.
"""

import asyncio
import os
import random
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from textual.command import CommandList
from textual.pilot import Pilot

from engine.rundir.directory import RunDir
from slmctl.tui.app import Playground
from slmctl.tui.playground import Start
from slmctl.tui.watch.screen import WatchScreen
from slmctl.tui.widgets.option_list import Palette
from tests.end_to_end.conftest import PRESET, wait_for
from tests.slmctl.tui.conftest import SLMCTL, Open
from tests.support.paths import ROOT
from tests.support.pilot import played, screen_text, typed_at_once, until
from tests.support.random_keys import SIZES, grow, make_world, survive, without_real_commands

KEYS = int(os.environ.get("RANDOM_KEYS", "600"))
SEEDS = [int(seed) for seed in os.environ.get("RANDOM_SEEDS", "1 5").split()]
TERMINAL_KEYS = ("F2", "F3", "F3", "z", "z", "Up", "Down", "Enter", "Enter", "Escape", "Tab", "v", "m", "?", "/")
"""Keys that start no command and open no model."""
TERMINAL_BURSTS = 40
NULL = subprocess.DEVNULL
NEVER_AWAITED = "ignore:coroutine .* was never awaited:RuntimeWarning"  # Textual cancels a worker before it begins


@pytest.mark.slow
@pytest.mark.filterwarnings(NEVER_AWAITED)
@pytest.mark.parametrize("seed", SEEDS)
def test_random_keys_do_not_end_the_playground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    without_real_commands(monkeypatch)
    survive(tmp_path / "runs", seed, KEYS)


def shows(app: Playground, run: str) -> bool:
    """Whether the Train mode shows a run."""
    return isinstance(app.screen, WatchScreen) and any(run in line for line in screen_text(app).splitlines()[1:2])


@pytest.mark.filterwarnings(NEVER_AWAITED)
def test_another_run_takes_the_place_of_a_zoom(tmp_path: Path) -> None:
    live = make_world(tmp_path)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "rests" in screen_text(app), "the runs")
        for step in range(8):
            move, other = (("down", "rests"), ("up", "live"))[step % 2]
            await pilot.press("f3", "z")
            grow(live, step + 1)
            await pilot.press("f2", move, "enter")
            await until(pilot, lambda: isinstance(app.screen, WatchScreen), "the run in place of the zoom")
            await until(pilot, partial(shows, app, other), other)
            assert app.fault is None

    played(Playground(Start(tmp_path)), script)


def test_a_run_chosen_with_keys_sent_at_once_is_opened(tmp_path: Path) -> None:
    make_world(tmp_path)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "rests" in screen_text(app), "the runs")
        for step in range(6):
            move, other = (("down", "rests"), ("up", "live"))[step % 2]
            typed_at_once(app, "f3", "z", "f2", move, "enter")
            await until(pilot, partial(shows, app, other), other)

    played(Playground(Start(tmp_path)), script)


def test_a_removed_widget_misses_nothing(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        palette, searched = Palette(), asyncio.Event()

        async def search() -> None:
            while palette.is_attached:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.001)
            searched.set()
            palette.query_one(CommandList)

        await app.push_screen(palette)
        palette.run_worker(search())
        await pilot.press("escape")
        await searched.wait()
        await pilot.pause()
        assert app.is_running and app.fault is None

    played(Playground(Start(tmp_path)), script)


@pytest.mark.slow
def test_random_keys_in_a_terminal_beside_training(terminal: Open, home: Path) -> None:
    make_world(home)
    rng, pressed, run = random.Random(0), list[str](), RunDir(home / "mine")
    environ = {**os.environ, "SLMCTL_RUNS": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = ("run", "--preset", PRESET, "--run", "mine", "--set", "ppo.steps=200")
    with subprocess.Popen([*SLMCTL, *words], env=environ, stdin=NULL, stdout=NULL, stderr=NULL) as trains:
        try:
            wait_for(lambda: run.events.exists() and bool(run.read_events()), "the run to begin")
            screen = terminal()
            screen.wait("mine", "rests")
            for _ in range(TERMINAL_BURSTS):
                keys = rng.choices(TERMINAL_KEYS, k=rng.randint(1, 6))
                pressed += keys
                screen.press(*keys)
                if rng.random() < 0.1:
                    screen.resize(*rng.choice(SIZES[:3]))
                assert screen.exit_code() is None, f"it ended after {' '.join(pressed)}:\n{screen.screen()}"
            screen.press("C-q")
            assert screen.ended() == 0, f"it ended badly after {' '.join(pressed)}:\n{screen.screen()}"
        finally:
            trains.kill()
