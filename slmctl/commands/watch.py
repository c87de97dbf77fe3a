"""`slmctl watch`: the playground in Train mode; or one frame, or one object, of the same."""

import json as json_module
import math
import os
import shlex
import shutil
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmctl.commands import options
from slmctl.console.safe import clean
from slmctl.tui.playground import can_draw, play

if TYPE_CHECKING:
    from pathlib import Path

    from slmctl.watch.history import Story

HELP = """\b
slmctl watch
slmctl watch tiny
slmctl watch tiny round2
slmctl watch tiny --once
slmctl watch tiny --json

Charts of reward and KL, samples step by step, alarms; pause, save or stop a run. The run goes on when you leave (q) and
when this screen dies: type the same again to come back. Without a name: the run that is going on, else the newest.
Several runs are laid over each other."""

MOST_RUNS = 4


def watch(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="One to four runs.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame on stdout and exit.")] = False,
    json: options.Json = False,
    ascii: options.Ascii = False,
) -> None:
    """Opens the playground on runs, or prints how they stand."""
    from engine.core.errors import ConfigError
    from engine.rundir.directory import runs_home
    from slmctl.watch.follower import runs_to_watch

    home, names, now = runs_home(os.environ), tuple(dict.fromkeys(runs or ())), time.time()
    if len(names) > MOST_RUNS:
        raise ConfigError(f"watch shows at most {MOST_RUNS} runs at once, and got {len(names)}; leave some out")
    found = runs_to_watch(home, names, now)
    if json:
        print(json_module.dumps({"home": str(home), "runs": [row_of(story, now) for story in _stories(found)]}))
    elif once:
        _print_frame(_stories(found), now, ascii or not _draws_braille(), str(home))
    else:
        _open(names, home, ascii)


def row_of(story: "Story", now: float) -> dict[str, Any]:
    """How a run stands, as one JSON row; null for what is not known or not finite."""
    stage = story.current
    told = story.stage(stage)
    numbers = {name: value if math.isfinite(value) else None for name, value in told.latest().items()}
    names = ("stage", "step", "alarm", "message")
    return {
        "run": story.name,
        "state": story.pulse.word,
        "stage": stage or None,
        "step": told.step,
        "steps": story.steps_of(stage),
        "eta_s": story.eta_s(now),
        "finished": [name for name in story.names if story.stage(name).finished],
        "metrics": numbers,
        "alarms": [{name: getattr(alarm, name) for name in names} for alarm in story.alarms],
        "error": getattr(story.ending, "error", None),
    }


def _stories(runs: list[Any]) -> list["Story"]:
    from slmctl.watch.follower import Follower
    from slmctl.watch.history import Story

    stories = []
    for run in runs:
        stories.append(Story(run.name))
        stories[-1].take(Follower(run).poll())
    return stories


def _print_frame(stories: list["Story"], now: float, ascii: bool, home: str) -> None:
    from slmctl.plots.rows import plain
    from slmctl.watch.frame import frame
    from slmctl.watch.view import View

    if not stories:
        print(clean(f"no runs in {home} yet; type: slmctl run --preset tiny"))
        return
    width = max(20, shutil.get_terminal_size((80, 24)).columns)
    for line in plain(frame(stories, now, width, View(ascii=ascii))):
        print(clean(line).rstrip())


def _draws_braille() -> bool:
    """Whether stdout can say a braille cell."""
    try:
        "⣿─✓√".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _open(names: tuple[str, ...], home: "Path", ascii: bool) -> None:
    from engine.core.errors import ConfigError
    from slmctl.tui.start import Start
    from slmctl.watch.follower import WORKING, Follower, runs_to_watch

    if not can_draw(os.environ):
        asked = shlex.join(("slmctl", "watch", *names))
        raise ConfigError(f"watch needs a terminal; type: {asked} --once for one frame, or --json for scripts")
    play(Start(home=home, mode="train", runs=names, ascii=ascii))
    for run in runs_to_watch(home, names, time.time()):
        if Follower(run).pulse().word in WORKING:
            print(clean(f"{run.name} goes on; to come back: slmctl watch {shlex.quote(run.name)}"), file=sys.stderr)
