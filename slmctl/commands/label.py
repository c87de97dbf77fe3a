"""`slmctl label`: rank samples live and blind, or let a simulated labeler do it."""

import json as json_module
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmctl.commands import options
from slmctl.commands.data import named_source
from slmctl.playing import can_draw, play

if TYPE_CHECKING:
    from slmctl.sitting import Sitting

HELP = """\b
slmctl label tiny:sft                         pairs of one policy's answers
slmctl label tiny:sft tiny:ppo --goal 100     one answer of each, blind
slmctl label tiny:sft -k 4                    four at once, ranked
slmctl label tiny:sft --selection uncertainty
slmctl label DIRECTORY --prompts questions.txt
slmctl label tiny:sft --simulate concise --max-labels 100

Which response is better? Answers go to a database, runs/NAME/labels.db, which `slmctl rm --data` learns from. Opens the
playground; --simulate lets a persona of the pocket world answer, without a screen."""


def label(
    ctx: typer.Context,
    models: Annotated[list[str], typer.Argument(metavar="A [B]", help="A policy, or two: a path or tiny:ppo.")],
    prompts: Annotated[
        str | None,
        typer.Option("--prompts", "--data", metavar="FILE|hf:ORG/NAME", help="What is asked, in place of the run's."),
    ] = None,
    map: options.Map = None,
    k: Annotated[int, typer.Option("-k", metavar="K", help="Responses a prompt, 2 to 9.")] = 2,
    goal: Annotated[int, typer.Option("--goal", metavar="N", min=0, help="Labels that you aim at.")] = 0,
    db: Annotated[
        str | None, typer.Option("--db", metavar="FILE", help="Label database (default: labels.db of A's run).")
    ] = None,
    annotator: Annotated[
        str | None, typer.Option("--annotator", metavar="NAME", help="Who labels (default: $USER).")
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            "--scorer",
            "--reward",
            metavar="SCORER|none",
            help="Reward model whose opinion is shown after yours (default: that of A's run).",
        ),
    ] = None,
    selection: Annotated[
        str, typer.Option("--selection", metavar="random|uncertainty", help="Which pairs: any, or those it is unsure of.")
    ] = "random",
    control: Annotated[
        float, typer.Option("--control", metavar="SHARE", help="Share of random pairs among uncertain ones.")
    ] = 0.25,
    guidelines: Annotated[
        str | None, typer.Option("--guidelines", metavar="FILE", help="Text file that h shows.")
    ] = None,
    simulate: Annotated[
        str | None, typer.Option("--simulate", metavar="PERSONA", help="Who answers, in place of a person.")
    ] = None,
    max_labels: Annotated[
        int | None, typer.Option("--max-labels", metavar="N", min=1, help="With --simulate: labels in all.")
    ] = None,
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
    from engine.errors import ConfigError
