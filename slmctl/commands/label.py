"""`slmctl label`: rank responses blind, or let a simulated labeler do it."""

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.core.errors import INTERRUPTED, ConfigError
from engine.rundir.directory import runs_home
from slmctl.commands import options
from slmctl.console.printing import say
from slmctl.console.progress import LINE_EVERY_S
from slmctl.console.safe import one_line
from slmctl.tui.opening import can_draw, open_playground
from slmctl.tui.playground import Start

if TYPE_CHECKING:
    from slmctl.label.setup import LabelOptions, SessionSetup

REPORT_LINES = {
    "per_second": "labels per second",
    "ties": "tie rate",
    "first_shown_won": "first response wins",
    "longer_won": "longer response wins",
    "self_agreement": "self-agreement",
    "scorer_agreement": "reward model agreement",
}


@options.takes("map", "db", "annotator", *options.SAMPLING, *options.MODEL, "ascii", "json")
def label(
    ctx: typer.Context,
    models: Annotated[list[str], typer.Argument(metavar="A [B]", help="A policy, or two: a path or tiny:ppo.")],
    prompts: Annotated[
        str | None,
        typer.Option("--prompts", "--data", metavar=options.ROWS, help="Prompts to label, in place of the run's."),
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="K", help="Responses per prompt, 2 to 9.")] = 2,
    goal: Annotated[int, typer.Option(metavar="N", min=0, help="Target number of labels.")] = 0,
    scorer: Annotated[
        str | None,
        typer.Option(
            "--scorer",
            "--reward",
            metavar="SCORER|none",
            help="Reward model to compare your labels with (default: that of A's run).",
        ),
    ] = None,
    selection: Annotated[
        str,
        typer.Option(metavar="random|uncertainty", help="Random pairs, or those the reward model is least sure of."),
    ] = "random",
    control: Annotated[
        float, typer.Option(metavar="FRACTION", help="Fraction of random pairs with --selection uncertainty.")
    ] = 0.25,
    guidelines: Annotated[
        str | None, typer.Option(metavar="FILE", help="Text file with labeling guidelines, shown by h.")
    ] = None,
    simulate: Annotated[
        str | None, typer.Option(metavar="PERSONA", help="Persona that labels, in place of a person.")
    ] = None,
    max_labels: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="With --simulate: number of labels.")
    ] = None,
    agreement: Annotated[
        float | None,
        typer.Option(metavar="P", help="With --simulate: how often two such labelers agree on a pair (default: 0.73)."),
    ] = None,
    **_: Any,
) -> None:
    """\b
    slmctl label tiny:sft                         compare pairs of one policy's responses
    slmctl label tiny:sft tiny:ppo --goal 100     compare two policies, blind
    slmctl label tiny:sft -k 4                    rank four responses at once
    slmctl label tiny:sft --selection uncertainty
    slmctl label DIRECTORY --prompts questions.txt
    slmctl label tiny:sft --simulate concise --max-labels 100

    Opens the playground in Label: choose the better response. Labels are saved to a database, by default
    runs/NAME/labels.db, which slmctl rm --data trains on. With --simulate, a persona of the pocket world labels
    instead, without a screen."""
    if simulate is not None:
        simulate_labels(ctx.params)
        return
    if max_labels is not None or ctx.params["json"]:
        raise ConfigError(f"{'--json' if ctx.params['json'] else '--max-labels'} needs --simulate PERSONA")
    if not can_draw(os.environ):
        raise ConfigError("label needs a terminal; to label without one, add --simulate concise")
    open_labels(ctx.params)


def open_labels(params: Mapping[str, Any]) -> None:
    """Opens the playground in Label. Raises: EngineError for what can be checked before."""
    from engine.core.errors import LockedError
    from engine.data.labels.store import LabelStore
    from slmctl.label.setup import resolve_setup

    home, typed = runs_home(os.environ), typed_options(params)
    with suppress(LockedError):  # the screen waits for the lock
        LabelStore(resolve_setup(typed, home).database, busy_s=0).close()
    chosen: dict[str, object] = {name: params[name] for name in ("template", "device", "dtype", "threads")}
    options = {"label": typed} | {name: value for name, value in chosen.items() if value is not None}
    open_playground(Start(home, "label", models=typed.models, seed=typed.seed, ascii=params["ascii"], options=options))


def typed_options(params: Mapping[str, Any]) -> "LabelOptions":
    """The options as typed."""
    from slmctl.label.setup import LabelOptions

    same = ("prompts", "k", "goal", "db", "annotator", "scorer", "selection", "control", "guidelines")
    return LabelOptions(
        models=tuple(params["models"]),
        map=tuple(params["map"] or ()),
        sampling=options.typed_sampling(params),
        seed=params["seed"] or 0,
        **{name: params[name] for name in same},
    )


def simulate_labels(params: Mapping[str, Any]) -> None:
    """Lets a persona label, and prints statistics of its labels. Raises: EngineError."""
    import asyncio

    from slmctl.label.setup import resolve_setup
    from slmctl.label.simulated import SimulatedLabeler, report_of, simulate
    from slmctl.worker.client import ChildSampler

    if params["max_labels"] is None:
        raise ConfigError("--simulate needs --max-labels N, the number of labels to make")
    home, typed = runs_home(os.environ), typed_options(params)
    labeler = SimulatedLabeler(params["simulate"], typed.seed, params["agreement"])
    setup = resolve_setup(replace(typed, annotator=typed.annotator or f"simulated-{params['simulate']}"), home)
    sampler = ChildSampler(home, params)
    try:
        labels = asyncio.run(simulate(setup, labeler, params["max_labels"], sampler, ProgressLines()))
    except KeyboardInterrupt:
        say(f"\ninterrupted: {saved_labels(setup)}; rerun to resume")
        raise SystemExit(INTERRUPTED) from None
    report = {"labels": str(setup.database), "annotator": setup.annotator, **report_of(labels, labeler)}
    if params["json"]:
        print(json.dumps(report))
    else:
        print_report(report, setup, home)


def saved_labels(setup: "SessionSetup") -> str:
    """How many labels of the annotator are saved, and where."""
    from engine.data.labels.store import read_labels

    count = 0
    if setup.database.exists():
        count = sum(label.annotator == setup.annotator for label in read_labels(setup.database))
    return f"{count} labels by {one_line(setup.annotator)} are saved in {one_line(str(setup.database))}"


class ProgressLines:
    """Writes on stderr how many labels are done, every few seconds."""

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        self._every_s, self._last = every_s, time.monotonic()

    def __call__(self, done: int, most: int) -> None:
        """Writes a line if one is due."""
        if done == most or time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            print(f"label {done}/{most}", file=sys.stderr, flush=True)


def print_report(report: Mapping[str, Any], setup: "SessionSetup", home: Path) -> None:
    """Prints what a simulated labeler did, and the commands of a round that trains on it."""
    from slmctl.label.rounds import MIN_LABELS, plan_round
    from slmctl.runs.launch import command_line

    print(f"{report['judged']} labels by {one_line(report['annotator'])} in {one_line(report['labels'])}")
    for name, title in REPORT_LINES.items():
        if (value := report[name]) is not None:
            print(f"  {title:<28} {value:.3g}")
    if report["judged"] < MIN_LABELS:
        return
    recipe, longest = setup.recipe, int(setup.recipe.sampling["max_new_tokens"])
    policy, count = recipe.models[0], report["judged"]
    planned = plan_round(policy, recipe.scorer, setup.database, count, home, setup.source, longest)
    for mark, command in zip(("next:", "then:"), planned.commands, strict=True):
        print(f"{mark} {one_line(command_line(command))}")
