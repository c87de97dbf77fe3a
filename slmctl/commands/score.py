"""`slmctl score`: scores of responses, for scripts."""

import json as json_module
import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmctl.commands import options
from slmctl.commands.sample import stdin_rows

if TYPE_CHECKING:
    from engine.data.records import Demonstration
    from engine.train.scoring import Scorer

HELP = """\b
slmctl score tiny:rm --jsonl < exchanges.jsonl
slmctl score pocket:judge --jsonl < exchanges.jsonl

Reads {prompt, response} rows on stdin and adds `score`, on which demonstrations average 0, and for a model `logit`,
what transformers gives. The judge adds its components."""
BATCH = 256


def score(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="SCORER", help="A path, tiny:rm, pocket:judge, a persona, or file.py:function.")
    ],
    template: options.Template = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    jsonl: options.Jsonl = False,
) -> None:
    """Prints each row of stdin with its score; without --jsonl the scores alone."""
    from engine.core import threads as thread_settings
    from engine.rundir.directory import runs_home
    from engine.rundir.references import is_model, resolve_reference

    directory = resolve_reference(model, runs_home(os.environ)) if is_model(model) else None
    thread_settings.apply(threads, shared=True)
    from engine.data.readers import exchange_of
    from slmctl.worker.models import opening_of

    scorer = opening_of(ctx.params).scorer(model, directory)
    rows = stdin_rows("score reads rows {prompt, response}, one a line")
    while batch := list(islice(rows, BATCH)):
        exchanges = [exchange for row in batch if (exchange := exchange_of(row)) is not None]
        for row, added in zip(batch, scored(scorer, model, exchanges), strict=True):
            print(json_module.dumps({**row.value, **added}) if jsonl else f"{added['score']:.4f}", flush=True)


def scored(scorer: "Scorer", name: str, exchanges: list["Demonstration"]) -> Iterator[dict[str, Any]]:
    """What each exchange's row gains."""
    from engine.data.records import prompt_text
    from engine.pocket.judge import judge
    from engine.train.scoring import RewardModelScorer

    numbers = scorer.score([item.prompt for item in exchanges], [item.response for item in exchanges])
    for item, number in zip(exchanges, numbers, strict=True):
        added: dict[str, Any] = {"score": number}
        if isinstance(scorer, RewardModelScorer):
            added["logit"] = scorer.logit(number)
        elif name == "pocket:judge":
            judged = judge(prompt_text(item.prompt), item.response)
            added |= {part: getattr(judged, part) for part in COMPONENTS}
        yield added


COMPONENTS = ("helpful", "honest", "harmless", "courteous", "concise", "correct")
