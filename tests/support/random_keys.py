"""Random keys, resizes and clicks against the playground, beside a run that grows meanwhile.

The actions follow from a seed alone, not from what the screen shows, so that a sequence can be replayed.
"""

import asyncio
import random
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from engine.core.events import RunFinished, StageFinished, StageStarted
from engine.rundir.directory import RunDir
from slmctl.label.rounds import Round, RoundProgress
from slmctl.runs.launch import LaunchedCommand
from slmctl.tui.app import Playground
from slmctl.tui.playground import Start
from tests.support.fake_sampler import FakeSampler
from tests.support.heartbeats import make
from tests.support.pilot import typed_at_once, until
from tests.support.recorded_runs import alert, beat, begin_ppo, drawn, ppo_step, sample, say

MODE_KEYS = ("f2", "f3", "f5", "f6")
MOVES = ("up", "down", "left", "right", "tab", "shift+tab", "home", "end", "pageup", "pagedown")
KEYS = (
    *(MODE_KEYS * 3),
    *(MOVES * 2),
    *(("enter", "escape", "z", "ctrl+p", "question_mark", "n") * 4),
    *("f1", "f4", "ctrl+o", "ctrl+r", "ctrl+j", "space", "backspace", "delete", "slash", "plus", "minus"),
    *"abcdefghijklmnopqrstuvwxyz0123456789!/[]=ABCN ",
)
"""More often what opens, covers or leaves a screen. ctrl+q is not among them: it ends the playground rightly."""
SEQUENCES = (
    ("f3", "z", "f2", "down", "enter"),
    ("f3", "enter", "f2", "up", "enter"),
    ("f3", "a", "escape", "z", "f5", "f3", "escape"),
    ("f3", "c", "space", "c", "z", "f2", "enter"),
    ("f3", "v", "enter", "escape", "v"),
    ("f2", "n", "down", "enter", "escape", "f3"),
    ("f5", *"hi", "enter", "tab", "e", "escape", "f2", "c"),
    ("f5", *"/set", "enter", "escape", *"/load", "enter", "down", "enter"),
    ("f6", "1", "2", "n", "escape", "N", "enter", "escape"),
    ("f6", "e", "1", "escape", "r", "escape", "h", "escape"),
    ("ctrl+p", *"open", "down", "enter"),
    ("ctrl+p", *"old", "down", "enter", "escape"),
    ("question_mark", "escape", "ctrl+p", "escape", "f2", "enter"),
)
SIZES = ((80, 24), (140, 45), (40, 10), (200, 60), (1, 1), (96, 18), (34, 30))
SHOWN = 150  # of the last actions, where it fails


@dataclass(frozen=True)
class Action:
    """Keys that are pressed at once, a size that the terminal gets, a place that is clicked, or a rest in seconds; the
    run beside it takes a step after it where it `grows`."""

    keys: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    click: tuple[float, float] | None = None
    rest_s: float = 0.0
    grows: bool = False


def actions(seed: int, keys: int) -> Iterator[Action]:
    """Random actions with so many keys in them."""
    rng = random.Random(seed)
    while keys > 0:
        kind = rng.random()
        if kind < 0.05:
            yield Action(size=rng.choice(SIZES))
        elif kind < 0.1:
            yield Action(click=(rng.random(), rng.random()))
        elif kind < 0.15:
            yield Action(rest_s=rng.choice((0.0, 0.01, 0.05, 0.3)))
        else:
            pressed = rng.choice(SEQUENCES) if rng.random() < 0.15 else rng.choices(KEYS, k=rng.randint(1, 4))
            keys -= len(pressed)
            yield Action(tuple(pressed), grows=rng.random() < 0.2)


def make_world(home: Path) -> RunDir:
    """A run at work, which is returned, a finished one, a paused one and a dead one."""
    old = make(home, "old", "finished", "pretrain", "sft", "rm", "ppo")
    begin_ppo(old)
    say(old, *(ppo_step(step) for step in range(1, 9)), drawn(4, sample("A?", "a"), sample("B?", "b")), alert(5))
    say(old, StageFinished("ppo", 8, {"ppo/score": 0.8}), RunFinished())
    old.step_dir("ppo", 4).mkdir(parents=True)
    make(home, "rests", "paused", "pretrain", "sft")
    make(home, "dead", "failed", "pretrain")
    live = make(home, "live", "running", "pretrain", "sft", "rm")
    begin_ppo(live)
    beat(live)
    return live


def grow(run: RunDir, step: int) -> None:
    """Appends a step to the run, now and then with samples, an alert, or another stage."""
    say(run, ppo_step(step))
    if step % 10 == 0:
        say(run, drawn(step, *(sample(f"Prompt {row}?", f"response {row} of {step}\nmore") for row in range(3))))
    if step % 15 == 0:
        say(run, alert(step))
    if step % 40 == 0:
        say(run, StageFinished("ppo", step, {"ppo/score": 1.0}), StageStarted("ppo" if step % 80 else "eval", 500))
    beat(run, step=step, steps=500)


def without_real_commands(patch: pytest.MonkeyPatch) -> None:
    """Has every command that a screen starts end at once, and no editor opened."""

    def launch(words: Sequence[str], run: RunDir, environ: object, following: object = ()) -> LaunchedCommand:
        log = run.path.parent / f".launch-{time.time_ns()}.txt"
        log.touch()
        return LaunchedCommand(tuple(words), run, subprocess.Popen(["true"]), log)

    async def run_round(planned: Round, home: Path, environ: Mapping[str, str]) -> Any:
        for step in range(3):
            await asyncio.sleep(0.01)
            yield RoundProgress("rm", step, 3)

    patch.setattr("slmctl.tui.runs.launches.launch", launch)
    patch.setattr("slmctl.label.rounds.launch", launch)
    patch.setattr("slmctl.tui.label.round_line.run_round", run_round)
    patch.setenv("EDITOR", "true")


class Unending(Playground):
    """A playground that only the test can leave, whatever is chosen in the palette."""

    def exit(self, *args: Any, **options: Any) -> None:
        """Stays."""

    def leave(self) -> None:
        """Ends it, as ctrl+q does."""
        super().exit()


def survive(home: Path, seed: int, keys: int, mode: str = "runs") -> None:
    """Plays random actions. Raises: AssertionError with the actions where the playground ends or holds a fault."""
    run, played = make_world(home), list[Action]()
    app = Unending(Start(home, mode, options={"annotator": "ann"}), sampler=FakeSampler())

    async def main() -> None:
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            for number, action in enumerate(actions(seed, keys), start=1):
                played.append(action)
                await _play(app, pilot, action)
                if action.grows:
                    grow(run, number)
                assert app.is_running and app.fault is None, "it ended"
            typed_at_once(app, "f3", "z", "n", "f2", "enter")
            app.leave()  # while keys are under way
            await until(pilot, lambda: not app.is_running, "the end")

    try:
        asyncio.run(main())
        assert app.fault is None, "it ended with a fault"
    except Exception as error:
        last = "\n".join(f"    {action}," for action in played[-SHOWN:])
        fault = app.fault or error
        raise AssertionError(f"seed {seed}, action {len(played)}: {fault!r}; the last actions:\n{last}") from fault


async def _play(app: Playground, pilot: Pilot[None], action: Action) -> None:
    """Does an action, and waits until its keys have been handed on."""
    if action.size is not None:
        await pilot.resize_terminal(*action.size)
    if action.click is not None:
        x, y = int(action.click[0] * app.size.width), int(action.click[1] * app.size.height)
        for event in (events.MouseMove, events.MouseDown, events.MouseUp):
            app.post_message(event(None, x, y, 0, 0, 1, shift=False, meta=False, ctrl=False))
    typed_at_once(app, *action.keys)
    await asyncio.sleep(action.rest_s)
    while app._keys._waiting and app.is_running and app.fault is None:
        await asyncio.sleep(0.001)
