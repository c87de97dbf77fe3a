"""`slmctl score`: scores of responses, for scripts."""

import json
import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.rundir.directory import runs_home
from slmctl.commands import options
from slmctl.commands.rows import stdin_rows

if TYPE_CHECKING:
    from engine.data.records import Demonstration
    from engine.train.scoring import Scorer

HELP = """\b
slmctl score tiny:rm --jsonl < exchanges.jsonl
slmctl score pocket:judge --jsonl < exchanges.jsonl

Scores {prompt, response} rows from stdin. With --jsonl, each row is printed with its `score`, normalized so that
demonstrations average 0; a reward model adds `logit`, its raw output in transformers; the pocket judge adds its
components."""
BATCH = 256
COMPONENTS = ("helpful", "honest", "harmless", "courteous", "concise", "correct")


@options.takes(**options.MODEL, jsonl=options.Jsonl)
def score(
    model: Annotated[
        str, typer.Argument(metavar="SCORER", help="A path, tiny:rm, pocket:judge, pocket:PERSONA or FILE.py:FUNCTION.")
    ],
    **settings: Any,
) -> None:
    """Prints each row of stdin with its score, or without --jsonl the scores alone."""
    from engine.core import threads
    from engine.rundir.references import is_model, resolve_scorer

    directory = resolve_scorer(model, runs_home(os.environ)) if is_model(model) else None
    threads.apply(settings["threads"], shared=True)
    from engine.data.readers import parse_exchange
    from engine.run.inference import ModelLoader

    scorer = ModelLoader(settings["device"], settings["template"], settings["dtype"]).scorer(model, directory)
    rows = stdin_rows("score reads rows {prompt, response}, one per line")
    while batch := list(islice(rows, BATCH)):
        exchanges = [parse_exchange(row) for row in batch]
        for row, added in zip(batch, score_fields(scorer, model, exchanges), strict=True):
            print(json.dumps({**row.value, **added}) if settings["jsonl"] else f"{added['score']:.4f}", flush=True)


def score_fields(scorer: "Scorer", name: str, exchanges: list["Demonstration"]) -> Iterator[dict[str, Any]]:
    """The fields that each exchange's row gains."""
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
