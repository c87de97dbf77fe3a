"""`slmctl eval`: which of two policies gives the better answers."""

import json as json_module
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from slmctl.commands import options
from slmctl.commands.sample import sampling_of
from slmctl.results import ROWS, finite
from slmctl.tui.safe import one_line

HELP = """\b
slmctl eval tiny:sft tiny:ppo
slmctl eval tiny:ppo round2:ppo --reward tiny:rm
slmctl eval tiny:base tiny:sft -n 100 --temperature 0.7 --json

How often B beats A by the pocket judge on test prompts, with a 95 % interval; KL of B from A, lengths, and with
--reward what a reward model thinks of both."""


def evaluate(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A policy: a path, tiny:sft or tiny:ppo@20.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    n: options.Number = 500,
    reward: options.Reward = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    max_new_tokens: options.MaxNewTokens = None,
    template: options.Template = None,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Prints the comparison of two policies."""
    from engine import threads as thread_settings
    from engine.references import is_model, resolve_reference
    from engine.rundir import runs_home

    home = runs_home(os.environ)
    directories = [resolve_reference(name, home) for name in (a, b)]
    scorer_at = resolve_reference(reward, home) if reward is not None and is_model(reward) else None
    thread_settings.apply(threads)
    from engine.config import EvalConfig
    from slmctl.comparison import compare
    from slmctl.models import opening_of

    opening = opening_of(ctx.params)
    first, second = (opening.policy(*named) for named in zip((a, b), directories, strict=True))
    scorer = None if reward is None else opening.scorer(reward, scorer_at)
    usual = EvalConfig()
    sampling = sampling_of(ctx.params, max_new_tokens=usual.max_new_tokens)
    numbers = compare(first, second, n, sampling, seed or 0, usual.tie_margin, scorer)
    result = {"a": a, "b": b, **numbers}
    if json:
        print(json_module.dumps(finite(result)))
    else:
        print_comparison(result)


def print_comparison(result: Mapping[str, Any]) -> None:
    """Prints who wins, how far apart the two are, and their numbers side by side."""
    a, b = one_line(result["a"]), one_line(result["b"])
    print(f"{b} against {a}: {result['wins']} wins, {result['ties']} ties, {result['losses']} losses")
    print(f"win rate {result['win_rate']:.1%} ({result['win_rate_low']:.1%} to {result['win_rate_high']:.1%}, 95 %)")
    if result["kl_nats"] is not None:
        low, high = result["kl_nats_low"], result["kl_nats_high"]
        print(f"KL of {b} from {a}: {result['kl_nats']:.2f} nats a response ({low:.2f} to {high:.2f})")
    print()
    _print_row("", [a, b], [a, b])
    for quantity, title in ROWS:
        values = [result.get(f"{quantity}_{side}") for side in "ab"]
        if None not in values:
            _print_row(title, [f"{value:.3f}" for value in values], [a, b])


def _print_row(title: str, cells: Sequence[str], names: Sequence[str]) -> None:
    columns = [f"{cell:>{max(12, len(name) + 2)}}" for cell, name in zip(cells, names, strict=True)]
    print(f"{title:<18}{''.join(columns)}")
