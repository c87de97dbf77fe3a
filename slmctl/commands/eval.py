"""`slmctl eval`: which of two policies gives the better answers."""

import json as json_module
import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from slmctl.commands import options
from slmctl.commands.sample import check_template, sampling_of
from slmctl.results import finite
from slmctl.tui.safe import clean

HELP = """\b
slmctl eval tiny:sft tiny:ppo
slmctl eval tiny:sft round2:ppo --json
slmctl eval tiny:base tiny:sft -n 100 --temperature 0.7

How often B beats A by the pocket judge on test prompts, with a 95 % interval; KL of B from A, and lengths."""


def evaluate(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A policy: a path, tiny:sft or tiny:ppo@20.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    n: options.Number = 500,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    max_new_tokens: options.MaxNewTokens = None,
    template: options.Template = None,
    seed: options.Seed = None,
    device: options.Device = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Prints the comparison of two policies."""
    from engine import threads as thread_settings
    from engine.references import resolve_reference
    from engine.rundir import runs_home

    check_template(template)
    directories = [resolve_reference(name, runs_home(os.environ)) for name in (a, b)]
    thread_settings.apply(threads)
    from engine.config import EvalConfig
    from engine.runtime import choose_device
    from slmctl.comparison import compare
    from slmctl.models import policy_at

    place = choose_device(device or "auto")
    first, second = (policy_at(*named, place, template) for named in zip((a, b), directories, strict=True))
    margin = EvalConfig().tie_margin
    result = {"a": a, "b": b, **compare(first, second, n or 1, sampling_of(ctx.params), seed or 0, margin)}
    if json:
        print(json_module.dumps(finite(result)))
    else:
        print_comparison(result)


def print_comparison(result: Mapping[str, Any]) -> None:
    """Prints the numbers of a comparison, one a line."""
    a, b = clean(result["a"]), clean(result["b"])
    print(f"{b} against {a}: {result['wins']} wins, {result['ties']} ties, {result['losses']} losses")
    low, high = result["win_rate_low"], result["win_rate_high"]
    print(f"win rate   {result['win_rate']:.1%}  ({low:.1%} to {high:.1%}, 95 %)")
    for name, value in result.items():
        if isinstance(value, float) and not name.startswith("win_rate"):
            print(f"{name:<22} {value:.4g}")
