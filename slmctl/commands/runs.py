"""`slmctl runs`: the runs there are and how they stand."""

import json as json_module
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmctl.commands import options
from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from slmctl.runs.overview import Standing

HELP = """\b
slmctl runs
slmctl runs tiny
slmctl runs --json

The runs in ./runs (or $SLMCTL_RUNS): what is finished, what is going on, the win rate."""
UNFINISHED = ("dead", "failed", "stopped", "ended")


def runs(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One run only, with where its models lie.")] = None,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
) -> None:
    """Prints the runs, or one of them."""
    from engine.rundir.directory import find_run, runs_home
    from slmctl.runs.overview import Overview, standing

    home, now = runs_home(os.environ), time.time()
    found = Overview(home).rows(now) if name is None else [standing(find_run(home, name), now)]
    rows = [row_of(run) for run in found]
    if json:
        print(json_module.dumps(rows[0] if name is not None else {"home": str(home), "runs": rows}))
    elif jsonl:
        for row in rows:
            print(json_module.dumps(row))
    elif name is not None:
        _print_one(rows[0], found[0].last)
    else:
        _print_all(rows, str(home))


def row_of(run: "Standing") -> dict[str, Any]:
    """A run's standing as a row of JSON; of a damaged one its error too."""
    row: dict[str, Any] = {
        "run": run.run,
        "preset": run.preset,
        "seed": run.seed,
        "state": run.state,
        "stage": run.stage,
        "step": run.step,
        "steps": run.steps,
        "finished": list(run.finished),
        "parents": list(run.parents),
        "win_rate": run.win_rate,
        "models": run.models,
    }
    return {**row, "error": run.error} if run.error else row


def _print_all(rows: list[dict[str, Any]], home: str) -> None:
    from engine.rundir.directory import STAGES

    if not rows:
        print(f"no runs in {home} yet; type: slmctl run --preset tiny")
        return
    print(f"{'run':<16} {'preset':<10} {'seed':>4}  {'state':<11} {'at':<18} {'win rate':>8}  done")
    for row in rows:
        rate = "-" if row["win_rate"] is None else f"{row['win_rate']:.1%}"
        at = f"{row['stage']} {row['step']}/{row['steps']}" if row["stage"] else "-"
        done = f"{len(row['finished'])}/{len(STAGES)}"
        name, preset = one_line(row["run"], 16), one_line(row["preset"] or "-", 10)
        seed = "-" if row["seed"] is None else row["seed"]
        print(f"{name:<16} {preset:<10} {seed:>4}  {row['state']:<11} {at:<18} {rate:>8}  {done}")


def _print_one(row: dict[str, Any], last: str) -> None:
    """Prints a run; of one that has ended before the stage `last`, the end of what was asked for, how to go on."""
    from slmctl.runs.launch import go_on_words
    from slmctl.runs.launch import shown as typed

    for name, value in row.items():
        if name != "models":
            shown = ", ".join(value) if isinstance(value, list) else "-" if value is None else str(value)
            print(f"{name:<10} {one_line(shown) or '-'}")
    if row["state"] in UNFINISHED:
        print(f"to go on   {one_line(typed(go_on_words(row['run'], last)))}")
    for stage, path in row["models"].items():
        print(f"{row['run'] + ':' + stage:<18} {one_line(path)}")
