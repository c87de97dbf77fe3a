"""`slmctl runs` and `slmctl stop`: the state of all runs or of one; stopping, renaming and deleting them."""

import json
import os
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.core.errors import ConfigError
from engine.rundir.directory import STAGES, RunDir, find_run, runs_home
from slmctl.commands import options
from slmctl.console.printing import print_facts, print_table
from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from slmctl.runs.overview import RunDetails, RunSummary

UNFINISHED = ("dead", "failed", "stopped", "ended")
TITLES = ("run", "preset", "seed", "state", "at", "win rate", "done")
FIELDS = ("run", "preset", "seed", "state", "stage", "step", "steps", "finished", "parents", "win_rate", "models")
LABEL = 12


@options.takes("json", "jsonl")
def runs(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show only this run, with its models.")] = None,
    delete: Annotated[
        str | None, typer.Option(metavar="NAME", help="Delete this run, with its models and labels.")
    ] = None,
    rename: Annotated[tuple[str, str] | None, typer.Option(metavar="OLD NEW", help="Rename a run.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --delete: do not ask.")] = False,
    **output: Any,
) -> None:
    """\b
    slmctl runs
    slmctl runs tiny
    slmctl runs --json
    slmctl runs --rename tiny first
    slmctl runs --delete first

    Lists the runs in ./runs (or $SLMCTL_RUNS): state, progress, win rate and finished stages. With a name, shows
    one run: its models, why it failed, and the command that resumes it. --delete and --rename refuse a run that is
    running or that another run shares stages of."""
    from slmctl.runs.changes import rename_run
    from slmctl.runs.overview import Overview

    home, now = runs_home(os.environ), time.time()
    if sum(given is not None for given in (name, delete, rename)) > 1:
        raise ConfigError("NAME, --delete and --rename exclude each other; pass one of them")
    if rename is not None:
        rename_run(home, *rename, now)
        print(f"renamed {one_line(rename[0])} to {one_line(rename[1])}")
    elif delete is not None:
        _delete(home, delete, now, yes)
    elif name is not None:
        _show_run(find_run(home, name), now, output)
    else:
        _list_runs(home, Overview(home).rows(now), output)


def stop(name: Annotated[str, typer.Argument(metavar="RUN", help="The run to stop.")]) -> None:
    """\b
    slmctl stop tiny

    Stops a run: it finishes its step, saves and ends. Rerun its command to resume it."""
    from slmctl.runs.changes import stop_run

    stop_run(runs_home(os.environ), name, time.time())
    print(f"{one_line(name)} will stop after this step and save; to watch it, type: slmctl watch {shlex.quote(name)}")


def _delete(home: Path, name: str, now: float, yes: bool) -> None:
    from slmctl.runs.changes import check_unused, delete_run

    find_run(home, name)
    check_unused(home, name, now)
    if not yes:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise ConfigError(f"--delete {name} cannot ask for confirmation here; add --yes")
        if not typer.confirm(f"Delete run {one_line(name)} with its models and labels?"):
            return
    delete_run(home, name, now)
    print(f"deleted {one_line(name)}")


def _list_runs(home: Path, found: list["RunSummary"], output: dict[str, Any]) -> None:
    rows = [run_row(run) for run in found]
    if output["json"]:
        print(json.dumps({"home": str(home), "runs": rows}))
    elif output["jsonl"]:
        for row in rows:
            print(json.dumps(row))
    elif rows:
        print_table(TITLES, [_cells(run) for run in found], right=(2, 5))
    else:
        print(f"no runs in {home} yet; type: slmctl run --preset tiny")


def _show_run(run: RunDir, now: float, output: dict[str, Any]) -> None:
    from slmctl.runs.overview import read_details, summarize

    found = summarize(run, now)
    details = read_details(run, found)
    if output["json"] or output["jsonl"]:
        print(json.dumps(run_row(replace(found, error=details.failure))))
    else:
        print_facts(_facts(found, details), LABEL)


def run_row(run: "RunSummary") -> dict[str, Any]:
    """A run's state as a row of JSON; `error` is there only if there is one."""
    row = {name: getattr(run, name) for name in FIELDS}
    return {**row, "error": run.error} if run.error else row


def _cells(run: "RunSummary") -> list[str]:
    seed = "-" if run.seed is None else str(run.seed)
    done = f"{len(run.finished)}/{len(STAGES)}"
    return [one_line(run.run), one_line(run.preset or "-"), seed, run.state, _at(run), _win_rate(run), done]


def _at(run: "RunSummary") -> str:
    return f"{run.stage} {run.step}/{run.steps}" if run.stage else "-"


def _win_rate(run: "RunSummary") -> str:
    return "-" if run.win_rate is None else f"{run.win_rate:.1%}"


def _facts(run: "RunSummary", details: "RunDetails") -> list[tuple[str, str]]:
    """What one run consists of; the command that resumes it, if it has not finished what it was started for."""
    from engine.rundir.references import reference_to
    from slmctl.runs.launch import command_line, resume_words

    facts = {
        "run": run.run,
        "preset": run.preset or "-",
        "seed": "-" if run.seed is None else str(run.seed),
        "state": run.state,
        "error": details.failure,
        "alert": details.alert,
        "at": _at(run),
        "finished": ", ".join(run.finished) or "-",
        "shared from": ", ".join(run.parents),
        "win rate": _win_rate(run),
        "resume": command_line(resume_words(run.run, run.last)) if run.state in UNFINISHED else "",
        **{reference_to(run.run, stage): path for stage, path in run.models.items()},
    }
    return [(one_line(name), one_line(text)) for name, text in facts.items() if text]
