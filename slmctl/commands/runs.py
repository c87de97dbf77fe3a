"""`slmctl runs`: the runs there are and how they stand."""

import json as json_module
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmctl.commands import options
from slmctl.tui.safe import one_line

if TYPE_CHECKING:
    from engine.rundir import RunDir

HELP = """\b
slmctl runs
slmctl runs tiny
slmctl runs --json

The runs in ./runs (or $SLMCTL_RUNS): what is finished, what is going on, the win rate."""


def runs(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One run only, with where its models lie.")] = None,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
) -> None:
    """Prints the runs, or one of them."""
    from engine.rundir import find_run, list_runs, runs_home

    home = runs_home(os.environ)
    found = list_runs(home) if name is None else [find_run(home, name)]
    rows = [summary(found[0], time.time())] if name is not None else [_summary_or_damage(run) for run in found]
    if json:
        print(json_module.dumps(rows[0] if name is not None else {"home": str(home), "runs": rows}))
    elif jsonl:
        for row in rows:
            print(json_module.dumps(row))
    elif name is not None:
        _print_one(rows[0])
    else:
        _print_all(rows, str(home))


def _summary_or_damage(run: "RunDir") -> dict[str, Any]:
    """The row of a run; of one whose run.toml cannot be read only the name, so that the others are still listed."""
    from engine.errors import FileError

    try:
        return summary(run, time.time())
    except FileError as error:
        unknown = dict.fromkeys(("preset", "seed", "stage", "step", "steps", "win_rate"))
        nothing: dict[str, Any] = {"finished": [], "parents": [], "models": {}}
        return {"run": run.name, "state": "damaged", "error": str(error), **unknown, **nothing}


def summary(run: "RunDir", now: float) -> dict[str, Any]:
    """How a run stands, as one row."""
    from engine.pulse import liveness, read_status
    from engine.rundir import STAGES
    from engine.runtoml import read_run_toml

    record = read_run_toml(run)
    status = read_status(run)
    models = {stage: str(path) for stage in STAGES if stage != "eval" and (path := run.finished(stage)) is not None}
    return {
        "run": run.name,
        "preset": record.preset,
        "seed": record.config.seed,
        "state": liveness(status, now),
        "stage": status and status.get("stage"),
        "step": status and status.get("step"),
        "steps": status and status.get("steps"),
        "finished": [stage for stage in STAGES if run.finished(stage) is not None],
        "parents": sorted(record.parents),
        "win_rate": _win_rate(run),
        "models": models,
    }


def _win_rate(run: "RunDir") -> float | None:
    from engine.errors import FileError
    from slmctl.results import run_result

    try:
        value = run_result(run).get("win_rate")
    except FileError:
        return None
    return value if isinstance(value, float) else None


def _print_all(rows: list[dict[str, Any]], home: str) -> None:
    from engine.rundir import STAGES

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


def _print_one(row: dict[str, Any]) -> None:
    for name, value in row.items():
        if name != "models":
            shown = ", ".join(value) if isinstance(value, list) else "-" if value is None else str(value)
            print(f"{name:<10} {one_line(shown) or '-'}")
    for stage, path in row["models"].items():
        print(f"{row['run'] + ':' + stage:<18} {one_line(path)}")
