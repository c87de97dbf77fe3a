"""`slmctl eval`, `sample` and `score`: two policies compared, responses to prompts, and scores of responses."""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.core.errors import ConfigError
from engine.rundir.directory import runs_home
from slmctl.commands import options
from slmctl.commands.rows import answerable, prompts_in, read_prompts, stdin_rows
from slmctl.console.printing import print_table, say
from slmctl.console.safe import clean, one_line

if TYPE_CHECKING:
    from engine.data.records import Demonstration, Prompt
    from engine.train.scoring import Scorer

TEST_PROMPTS = 500
BATCH = 256  # of `score`
COMPONENTS = ("helpful", "honest", "harmless", "courteous", "concise", "correct")


@options.takes("prompts", "map", *options.SAMPLING, *options.MODEL, "json")
def evaluate(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="First policy: a path, tiny:sft or tiny:ppo@40.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Second policy.")],
    n: Annotated[
        int | None,
        typer.Option(
            "-n", metavar="N", min=1, help="Number of prompts (default: 500 of the pocket world, all of a file)."
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="SCORER", help="Scorer that decides which is better (default: pocket:judge).")
    ] = None,
    reward: Annotated[
        str | None, typer.Option(metavar="SCORER", help="Scorer to report for both policies (default: none).")
    ] = None,
    **_: Any,
) -> None:
    """\b
    slmctl eval tiny:sft tiny:ppo
    slmctl eval tiny:ppo round2:ppo --reward tiny:rm
    slmctl eval tiny:base tiny:sft -n 100 --temperature 0.7 --json
    slmctl eval tiny:ppo round2:ppo --judge pocket:concise
    slmctl eval A B --prompts questions.txt --judge mine:rm
    slmctl eval A B --prompts runs/tiny/labels.db

    Compares two policies on the same prompts: the win rate of B over A with a 95% interval, the KL of B from A,
    response lengths, and with --reward the reward of both. By default the pocket judge decides on the test prompts
    of the pocket world; --judge names another scorer, --prompts other prompts, such as those of a label database."""
    from slmctl.console.results import finite

    result = compare_policies(ctx.params)
    if ctx.params["json"]:
        print(json.dumps(finite(result)))
    else:
        print_comparison(result)


def compare_policies(params: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the comparison that these options ask for. Raises: EngineError."""
    from engine.core import threads
    from engine.rundir.references import is_model, resolve_reference
    from engine.rundir.runtoml import hash_path

    home, seed = runs_home(os.environ), params["seed"] or 0
    a, b, judge, reward = params["a"], params["b"], params["judge"], params["reward"]
    directories = [resolve_reference(name, home) for name in (a, b)]
    named = [name for name in dict.fromkeys((judge, reward)) if name is not None]
    scorers_at = {name: resolve_reference(name, home) if is_model(name) else None for name in named}
    asked = prompts_to_compare(params["prompts"], params["map"], params["n"], judge)
    threads.apply(params["threads"])
    from engine.core.config import EvalConfig
    from engine.run.compare import JUDGE, compare, pocket_test_prompts
    from engine.run.inference import ModelLoader
    from engine.train.win_rate import PromptSet

    if asked is None:
        asked = [(repr(prompt), prompt) for prompt in pocket_test_prompts(params["n"] or TEST_PROMPTS, seed)]
    loader = ModelLoader(params["device"], params["template"], params["dtype"])
    first, second = (loader.policy(*named) for named in zip((a, b), directories, strict=True))
    fit = list(answerable(asked, (first, second)))
    scorers = {name: loader.scorer(name, at) for name, at in scorers_at.items()}
    judging = None if judge in (None, JUDGE) else scorers[judge]
    scorer = None if reward is None else scorers[reward]
    usual = EvalConfig()
    sampling = options.sampling_of(params, max_new_tokens=usual.max_new_tokens)
    numbers = compare(first, second, PromptSet(fit, sampling, seed), usual.tie_margin, judging, scorer)
    same = hash_path(directories[0]) == hash_path(directories[1])
    return {
        "a": a,
        "b": b,
        "judge": judge or JUDGE,
        "same_checkpoint": same,
        "left_out": len(asked) - len(fit),
        **numbers,
    }


def prompts_to_compare(
    file: str | None, mapped: list[str] | None, n: int | None, judge: str | None
) -> "list[tuple[str, Prompt]] | None":
    """The first `n` prompts of a file, each with its place; None without a file.

    Raises: ConfigError if no judge is given and the pocket judge does not know a prompt; FileError, DataError.
    """
    from engine.data.records import prompt_text
    from engine.pocket.prompts import find_request

    if file is None:
        return None
    asked = prompts_in(file, mapped)[:n]
    if judge is None and not all(find_request(prompt_text(prompt)) for _, prompt in asked):
        raise ConfigError("--prompts of your own needs --judge: a reward model such as mine:rm, or FILE.py:FUNCTION")
    return asked


def print_comparison(result: Mapping[str, Any]) -> None:
    """Prints which policy wins, how far apart they are, and their numbers side by side."""
    from slmctl.console.results import ROWS

    a, b = one_line(result["a"]), one_line(result["b"])
    if result["same_checkpoint"]:
        say(f"{a} and {b} are the same checkpoint; any difference is chance", sys.stdout)
    decided = f"by {one_line(result['judge'])} on {result['prompts']} prompts"
    verdicts = f"{result['wins']} wins, {result['ties']} ties, {result['losses']} losses"
    say(f"{b} against {a}: {verdicts} ({decided})", sys.stdout)
    low, high = result["win_rate_low"], result["win_rate_high"]
    print(f"win rate {result['win_rate']:.1%} (95% interval {low:.1%} to {high:.1%})")
    if result["kl_nats"] is not None:
        kl = f"{result['kl_nats']:.2f} nats per response {_interval(result, 'kl_nats')}"
        say(f"KL of {b} from {a}: {kl}", sys.stdout)
    print()
    rows = []
    for quantity, title in ROWS:
        values = [result.get(f"{quantity}_{side}") for side in "ab"]
        if None not in values:
            rows.append((title, *(f"{value:.3f}" for value in values), _difference(result, quantity)))
    print_table(("", a, b, "difference (95% interval)"), rows, right=(1, 2))


def _difference(result: Mapping[str, Any], quantity: str) -> str:
    """B - A with its interval; empty if unknown."""
    difference = result.get(f"{quantity}_difference")
    return "" if difference is None else f"{difference:+.3f} {_interval(result, f'{quantity}_difference')}"


def _interval(result: Mapping[str, Any], name: str) -> str:
    low, high = result[f"{name}_low"], result[f"{name}_high"]
    return f"({low:.3f} to {high:.3f})" if math.isfinite(low) else "(too few for an interval)"


@options.takes("prompts", "map", *options.SAMPLING, *options.MODEL, "jsonl")
def sample(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A path, tiny:ppo or tiny:ppo@40.")],
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="Responses per prompt.")] = 1,
    **settings: Any,
) -> None:
    """\b
    slmctl sample tiny:ppo --jsonl < prompts.jsonl
    slmctl sample tiny:ppo --prompts questions.txt -n 3
    echo '{"prompt": "What is the capital of France?"}' | slmctl sample tiny:sft --jsonl --temperature 0

    Generates responses to the prompts of a file or of stdin. With --jsonl, prints {prompt, response, tokens,
    finished} rows."""
    from engine.core import threads
    from engine.data.records import plain_prompt
    from engine.rundir.references import resolve_reference

    directory = resolve_reference(model, runs_home(os.environ))
    found = read_prompts(settings["prompts"], settings["map"])
    threads.apply(settings["threads"], shared=True)
    from engine.run.inference import ModelLoader

    policy = ModelLoader(settings["device"], settings["template"], settings["dtype"]).policy(model, directory)
    repeated = (prompt for prompt in answerable(found, [policy]) for _ in range(n))
    for prompt, response in policy.respond_to_all(repeated, options.sampling_of(settings), settings["seed"] or 0):
        if settings["jsonl"]:
            row = {"prompt": plain_prompt(prompt), "response": response.text}
            print(json.dumps({**row, "tokens": response.tokens, "finished": response.finished}), flush=True)
        else:
            print(clean(response.text), flush=True)


@options.takes(*options.MODEL, "jsonl")
def score(
    model: Annotated[
        str, typer.Argument(metavar="SCORER", help="A path, tiny:rm, pocket:judge, pocket:PERSONA or FILE.py:FUNCTION.")
    ],
    **settings: Any,
) -> None:
    """\b
    slmctl score tiny:rm --jsonl < exchanges.jsonl
    slmctl score pocket:judge --jsonl < exchanges.jsonl

    Scores {prompt, response} rows from stdin. With --jsonl, each row is printed with its `score`, normalized so
    that demonstrations average 0; a reward model adds `logit`, its raw output in transformers; the pocket judge
    adds its components."""
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
