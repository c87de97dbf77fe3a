"""`slmctl eval`: which of two policies gives the better answers."""

import json as json_module
import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmctl.commands import options
from slmctl.commands.sample import prompts_in, sampling_of
from slmctl.console.printing import say
from slmctl.console.results import ROWS, finite
from slmctl.console.safe import one_line

if TYPE_CHECKING:
    from engine.data.records import Prompt

HELP = """\b
slmctl eval tiny:sft tiny:ppo
slmctl eval tiny:ppo round2:ppo --reward tiny:rm
slmctl eval tiny:base tiny:sft -n 100 --temperature 0.7 --json
slmctl eval tiny:ppo round2:ppo --judge pocket:concise
slmctl eval A B --prompts questions.txt --judge mine:rm
slmctl eval A B --prompts runs/tiny/labels.db

How often B beats A, with a 95 % interval: by the pocket judge on the world's test prompts, or by another --judge, which
may be a reward model or a function, and on --prompts of your own, or those that you labelled. KL of B from A, lengths,
and with --reward what a reward model thinks of both."""
TEST_PROMPTS = 500


def evaluate(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A policy: a path, tiny:sft or tiny:ppo@40.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    n: Annotated[
        int | None,
        typer.Option("-n", metavar="N", min=1, help="Prompts (default: 500 of the world's, all of a file's)."),
    ] = None,
    prompts: options.Prompts = None,
    map: options.Map = None,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="SCORER", help="Who says which is better (default: pocket:judge).")
    ] = None,
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
    result = compared(ctx.params)
    if json:
        print(json_module.dumps(finite(result)))
    else:
        print_comparison(result)


def compared(params: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the comparison that these options ask for. Raises: EngineError."""
    from engine.core import threads as thread_settings
    from engine.rundir.directory import runs_home
    from engine.rundir.references import is_model, resolve_reference
    from engine.rundir.runtoml import hash_path

    home, seed = runs_home(os.environ), params["seed"] or 0
    a, b, judge, reward = params["a"], params["b"], params["judge"], params["reward"]
    directories = [resolve_reference(name, home) for name in (a, b)]
    named = [name for name in dict.fromkeys((judge, reward)) if name is not None]
    scorers_at = {name: resolve_reference(name, home) if is_model(name) else None for name in named}
    asked = own_prompts(params["prompts"], params["map"], params["n"], judge)
    thread_settings.apply(params["threads"])
    from engine.core.config import EvalConfig
    from slmctl.worker.comparison import JUDGE, compare, prompts_of_the_world
    from slmctl.worker.models import fitting, opening_of

    if asked is None:
        asked = [(repr(prompt), prompt) for prompt in prompts_of_the_world(params["n"] or TEST_PROMPTS, seed)]
    opening = opening_of(params)
    first, second = (opening.policy(*named) for named in zip((a, b), directories, strict=True))
    fit = list(fitting(asked, (first, second)))
    scorers = {name: opening.scorer(name, at) for name, at in scorers_at.items()}
    judging = None if judge in (None, JUDGE) else scorers[judge]
    scorer = None if reward is None else scorers[reward]
    usual = EvalConfig()
    sampling = sampling_of(params, max_new_tokens=usual.max_new_tokens)
    numbers = compare(first, second, fit, sampling, seed, usual.tie_margin, judging, scorer)
    same = hash_path(directories[0]) == hash_path(directories[1])
    return {
        "a": a,
        "b": b,
        "judge": judge or JUDGE,
        "same_checkpoint": same,
        "left_out": len(asked) - len(fit),
        **numbers,
    }


def own_prompts(
    file: str | None, mapped: list[str] | None, n: int | None, judge: str | None
) -> "list[tuple[str, Prompt]] | None":
    """The prompts of a person's file with their places, the first `n` where that is given; None for the world's.

    Raises: ConfigError without a judge where the world's knows nothing of one of them; FileError, DataError.
    """
    from engine.core.errors import ConfigError
    from engine.data.records import prompt_text
    from engine.pocket.requests import find

    if file is None:
        return None
    asked = prompts_in(file, mapped)[:n]
    if judge is None and not all(find(prompt_text(prompt)) for _, prompt in asked):
        raise ConfigError("--prompts of your own need a --judge: a reward model such as mine:rm, or FILE.py:FUNCTION")
    return asked


def print_comparison(result: Mapping[str, Any]) -> None:
    """Prints who wins, how far apart the two are, and their numbers side by side."""
    a, b = one_line(result["a"]), one_line(result["b"])
    if result["same_checkpoint"]:
        say(f"{a} and {b} are the same checkpoint: whatever differs here is chance", sys.stdout)
    by = f"by {one_line(result['judge'])} on {result['prompts']} prompts"
    verdicts = f"{result['wins']} wins, {result['ties']} ties, {result['losses']} losses"
    say(f"{b} against {a}: {verdicts} ({by})", sys.stdout)
    print(f"win rate {result['win_rate']:.1%} ({result['win_rate_low']:.1%} to {result['win_rate_high']:.1%}, 95 %)")
    if result["kl_nats"] is not None:
        kl = f"{result['kl_nats']:.2f} nats a response {_interval(result, 'kl_nats')}"
        say(f"KL of {b} from {a}: {kl}", sys.stdout)
    print()
    width = max(12, *(len(name) + 2 for name in (a, b)))
    print(f"{'':<18}{a:>{width}}{b:>{width}}  {'difference (95 %)':>17}")
    for quantity, title in ROWS:
        values = [result.get(f"{quantity}_{side}") for side in "ab"]
        if None not in values:
            cells = "".join(f"{value:>{width}.3f}" for value in values)
            print(f"{title:<18}{cells}  {_difference(result, quantity)}".rstrip())


def _difference(result: Mapping[str, Any], quantity: str) -> str:
    """What B has more, with its interval; nothing where that is not known."""
    more = result.get(f"{quantity}_difference")
    return "" if more is None else f"{more:>+8.3f} {_interval(result, f'{quantity}_difference')}"


def _interval(result: Mapping[str, Any], name: str) -> str:
    low, high = result[f"{name}_low"], result[f"{name}_high"]
    return f"({low:.3f} to {high:.3f})" if math.isfinite(low) else "(too few for an interval)"
