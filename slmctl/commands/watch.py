"""`slmctl watch`: the playground in Train mode, or the same as one text frame or one JSON object."""

import json
import math
import os
import shlex
import shutil
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.core.errors import ConfigError
from engine.rundir.directory import runs_home
from slmctl.commands import options
from slmctl.console.safe import clean
from slmctl.tui.opening import can_draw, open_playground
from slmctl.tui.playground import Start

if TYPE_CHECKING:
    from pathlib import Path

    from slmctl.watch.history import RunHistory


MOST_RUNS = 4


@options.takes("json", "ascii")
def watch(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="One to four runs.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame on stdout and exit.")] = False,
    **given: Any,
) -> None:
    """\b
    slmctl watch
    slmctl watch tiny
    slmctl watch tiny round2
    slmctl watch tiny --once
    slmctl watch tiny --json

    Shows charts of reward and KL, the samples of each step and alerts, and can pause, save or stop a run. The run
    continues when you quit (q) or if the playground crashes; rerun the command to return. Without a name, shows the
    active run or the newest one. Several runs are overlaid."""
    from slmctl.watch.follower import runs_to_watch

    home, names, now = runs_home(os.environ), tuple(dict.fromkeys(runs or ())), time.time()
    if len(names) > MOST_RUNS:
        raise ConfigError(f"watch shows at most {MOST_RUNS} runs at once, got {len(names)}")
    found = runs_to_watch(home, names, now)
    if given["json"]:
        print(json.dumps({"home": str(home), "runs": [story_row(story, now) for story in _stories(found)]}))
    elif once:
        _print_frame(_stories(found), now, given["ascii"] or not _draws_braille(), str(home))
    else:
        _open(names, home, given["ascii"])


def story_row(story: "RunHistory", now: float) -> dict[str, Any]:
    """The state of a run as one JSON row; null for what is unknown or not finite."""
    stage = story.current
    history = story.stage(stage)
    numbers = {name: value if math.isfinite(value) else None for name, value in history.latest().items()}
    names = ("stage", "step", "alert", "message")
    return {
        "run": story.name,
        "state": story.process.state,
        "stage": stage or None,
        "step": history.step,
        "steps": story.steps_of(stage),
        "eta_s": story.eta_s(now),
        "finished": [name for name in story.stage_names if story.stage(name).finished],
        "metrics": numbers,
        "alerts": [{name: getattr(alert, name) for name in names} for alert in story.alerts],
        "error": getattr(story.ending, "error", None),
    }


def _stories(runs: list[Any]) -> list["RunHistory"]:
    from slmctl.watch.follower import Follower
    from slmctl.watch.history import RunHistory

    stories = []
    for run in runs:
        stories.append(RunHistory(run.name))
        stories[-1].add(Follower(run).poll())
    return stories


def _print_frame(stories: list["RunHistory"], now: float, ascii: bool, home: str) -> None:
    from slmctl.plots.styled_rows import to_lines
    from slmctl.watch.frame import frame
    from slmctl.watch.panels import ChartView

    if not stories:
        print(clean(f"no runs in {home} yet; type: slmctl run --preset tiny"))
        return
    width = max(20, shutil.get_terminal_size((80, 24)).columns)
    for line in to_lines(frame(stories, now, width, ChartView(ascii=ascii))):
        print(clean(line).rstrip())


def _draws_braille() -> bool:
    """Whether stdout can encode braille."""
    try:
        "⣿─✓√".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _open(names: tuple[str, ...], home: "Path", ascii: bool) -> None:
    from engine.rundir.heartbeat import ACTIVE
    from slmctl.watch.follower import Follower, runs_to_watch

    if not can_draw(os.environ):
        asked = shlex.join(("slmctl", "watch", *names))
        raise ConfigError(f"watch needs a terminal; type: {asked} --once for one frame, or --json for scripts")
    open_playground(Start(home=home, mode="train", runs=names, ascii=ascii))
    for run in runs_to_watch(home, names, time.time()):
        if Follower(run).process_state().state in ACTIVE:
            print(
                clean(f"{run.name} is still running; to return, type: slmctl watch {shlex.quote(run.name)}"),
                file=sys.stderr,
            )
