"""`slmctl label`: rank samples live and blind, or let a simulated labeler do it."""

import json as json_module
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.core.errors import INTERRUPTED
from slmctl.commands import options
from slmctl.console.printing import say
from slmctl.console.progress import LINE_EVERY_S
from slmctl.console.safe import one_line
from slmctl.tui.playground import can_draw, play

if TYPE_CHECKING:
    from slmctl.label.setup import Sitting, Wishes

HELP = """\b
slmctl label tiny:sft                         pairs of one policy's answers
slmctl label tiny:sft tiny:ppo --goal 100     one answer of each, blind
slmctl label tiny:sft -k 4                    four at once, ranked
slmctl label tiny:sft --selection uncertainty
slmctl label DIRECTORY --prompts questions.txt
slmctl label tiny:sft --simulate concise --max-labels 100

Which response is better? Answers go to a database, runs/NAME/labels.db, which `slmctl rm --data` learns from. Opens the
playground; --simulate lets a persona of the pocket world answer, without a screen."""
REPORT_LINES = {
    "per_second": "labels a second",
    "ties": "share of ties",
    "first_shown_won": "wins of the first shown",
    "longer_won": "wins of the longer",
    "self_agreement": "agreement with itself",
    "scorer_agreement": "agreement with the scorer",
}
Models = Annotated[list[str], typer.Argument(metavar="A [B]", help="A policy, or two: a path or tiny:ppo.")]
Asked = Annotated[
    str | None,
    typer.Option("--prompts", "--data", metavar="FILE|hf:ORG/NAME", help="What is asked, in place of the run's."),
]
K = Annotated[int, typer.Option("-k", metavar="K", help="Responses a prompt, 2 to 9.")]
Goal = Annotated[int, typer.Option("--goal", metavar="N", min=0, help="Labels that you aim at.")]
Scorer = Annotated[
    str | None,
    typer.Option(
        "--scorer",
        "--reward",
        metavar="SCORER|none",
        help="Reward model whose opinion is shown after yours (default: that of A's run).",
    ),
]
Selection = Annotated[
    str, typer.Option("--selection", metavar="random|uncertainty", help="Which pairs: any, or those it is unsure of.")
]
Control = Annotated[
    float, typer.Option("--control", metavar="SHARE", help="Share of random pairs among uncertain ones.")
]
Guidelines = Annotated[str | None, typer.Option("--guidelines", metavar="FILE", help="Text file that h shows.")]
Simulate = Annotated[
    str | None, typer.Option("--simulate", metavar="PERSONA", help="Who answers, in place of a person.")
]
MaxLabels = Annotated[
    int | None, typer.Option("--max-labels", metavar="N", min=1, help="With --simulate: labels in all.")
]
Agreement = Annotated[
    float | None,
    typer.Option(
        "--agreement",
        metavar="P",
        help="With --simulate: share of pairs on which two such labelers agree (default: the world's, 0.73).",
    ),
]


def label(
    ctx: typer.Context,
    models: Models,
    prompts: Asked = None,
    map: options.Map = None,
    k: K = 2,
    goal: Goal = 0,
    db: options.Db = None,
    annotator: options.Annotator = None,
    scorer: Scorer = None,
    selection: Selection = "random",
    control: Control = 0.25,
    guidelines: Guidelines = None,
    simulate: Simulate = None,
    max_labels: MaxLabels = None,
    agreement: Agreement = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    max_new_tokens: options.MaxNewTokens = None,
    template: options.Template = None,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    ascii: options.Ascii = False,
    json: options.Json = False,
) -> None:
    """Opens the playground in its label mode, or lets a simulated labeler answer."""
    from engine.core.errors import ConfigError

    if simulate is not None:
        simulate_labels(ctx.params)
        return
    if max_labels is not None or json:
        raise ConfigError(f"{'--json' if json else '--max-labels'} goes with --simulate PERSONA alone")
    if not can_draw(os.environ):
        raise ConfigError("label needs a terminal to be shown in; without one, a persona can label: --simulate concise")
    open_labels(ctx.params)


def open_labels(params: Mapping[str, Any]) -> None:
    """Opens the playground in its label mode. Raises: EngineError for what can be told before."""
    from engine.core.errors import LockedError
    from engine.data.labels.store import LabelStore
    from engine.rundir.directory import runs_home
    from slmctl.label.setup import sit
    from slmctl.tui.start import Start

    home, wishes = runs_home(os.environ), wishes_of(params)
    with suppress(LockedError):  # what another process holds now, the screen waits for
        LabelStore(sit(wishes, home).labels, busy_s=0).close()
    chosen: dict[str, object] = {name: params[name] for name in ("template", "device", "dtype", "threads")}
    options = {"label": wishes} | {name: value for name, value in chosen.items() if value is not None}
    play(Start(home, "label", models=wishes.models, seed=wishes.seed, ascii=params["ascii"], options=options))


def wishes_of(params: Mapping[str, Any]) -> "Wishes":
    """What was typed."""
    from slmctl.label.setup import Wishes
    from slmctl.worker.sampling_limits import LIMITS, checked_sampling

    given = {name: params[name] for name in LIMITS if params[name] is not None}
    same = ("prompts", "k", "goal", "db", "annotator", "scorer", "selection", "control", "guidelines")
    return Wishes(
        models=tuple(params["models"]),
        map=tuple(params["map"] or ()),
        sampling=checked_sampling(given, typed_as_options=True),
        seed=params["seed"] or 0,
        **{name: params[name] for name in same},
    )


def simulate_labels(params: Mapping[str, Any]) -> None:
    """Lets a persona label, and prints what came of it. Raises: EngineError."""
    import asyncio

    from engine.core.errors import ConfigError
    from engine.rundir.directory import runs_home
    from slmctl.label.setup import sit
    from slmctl.label.simulated import Simulated, report_of, simulate
    from slmctl.worker.client import ChildSampler

    if params["max_labels"] is None:
        raise ConfigError("--simulate needs --max-labels N: such a labeler does not tire")
    home, wishes = runs_home(os.environ), wishes_of(params)
    labeler = Simulated(params["simulate"], wishes.seed, params["agreement"])
    sitting = sit(replace(wishes, annotator=wishes.annotator or f"simulated-{params['simulate']}"), home)
    given = {"template": params["template"] or "auto", "dtype": params["dtype"] or "float32"}
    sampler = ChildSampler(home, threads=params["threads"], device=params["device"] or "auto", **given)
    try:
        judged = asyncio.run(simulate(sitting, labeler, params["max_labels"], sampler, Teller()))
    except KeyboardInterrupt:
        say(f"\nstopped by ctrl+c: {kept_in(sitting)}; the same command goes on")
        raise SystemExit(INTERRUPTED) from None
    report = {"labels": str(sitting.labels), "annotator": sitting.annotator, **report_of(judged, labeler)}
    if params["json"]:
        print(json_module.dumps(report))
    else:
        print_report(report, sitting, home)


def kept_in(sitting: "Sitting") -> str:
    """How many labels of the annotator there are, and where."""
    from engine.data.labels.store import read_labels

    count = 0
    if sitting.labels.exists():
        count = sum(one.annotator == sitting.annotator for one in read_labels(sitting.labels))
    return f"{count} labels of {one_line(sitting.annotator)} are in {one_line(str(sitting.labels))}"


class Teller:
    """Says on stderr how far the labels are, every few seconds."""

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        self._every_s, self._last = every_s, time.monotonic()

    def __call__(self, done: int, most: int) -> None:
        """Writes a line where one is due."""
        if done == most or time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            print(f"label {done}/{most}", file=sys.stderr, flush=True)


def print_report(report: Mapping[str, Any], sitting: "Sitting", home: Path) -> None:
    """Prints what a simulated labeler did, and the commands of a round that learns from it."""
    from slmctl.label.rounds import FEWEST, plan_round
    from slmctl.runs.launch import shown

    print(f"{report['judged']} labels of {one_line(report['annotator'])} in {one_line(report['labels'])}")
    for name, title in REPORT_LINES.items():
        if (value := report[name]) is not None:
            print(f"  {title:<28} {value:.3g}")
    if report["judged"] < FEWEST:
        return
    recipe, longest = sitting.recipe, int(sitting.recipe.sampling["max_new_tokens"])
    judged, labels, source = report["judged"], sitting.labels, sitting.source
    planned = plan_round(recipe.models[0], recipe.scorer, labels, judged, home, source, longest)
    for mark, command in zip(("next:", "then:"), planned.commands, strict=True):
        print(f"{mark} {one_line(shown(command))}")
