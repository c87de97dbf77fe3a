"""`slmctl chat`: chat with one policy or with several side by side; line by line without a screen."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.core.errors import ConfigError
from engine.rundir.directory import runs_home
from slmctl.commands import options
from slmctl.console.safe import clean
from slmctl.tui.opening import can_draw, open_playground
from slmctl.tui.playground import Start

if TYPE_CHECKING:
    from engine.data.records import Prompt
    from engine.run.inference import Response

SCREEN_ONLY = ("ref", "session", "db", "annotator")


@options.takes("db", "annotator", *options.SAMPLING, *options.MODEL, "jsonl", "plain", "ascii")
def chat(
    ctx: typer.Context,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL...", help="A path, tiny:ppo or tiny:ppo@40; up to four.")
    ] = None,
    ref: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Reference policy for KL (default: the initial policy of PPO).")
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(metavar="MODEL|pocket:judge", help="Scorer of the replies (default: the run's reward model)."),
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System prompt.")] = None,
    session: Annotated[
        str | None, typer.Option(metavar="NAME", help="Conversation to resume, or to start under this name.")
    ] = None,
    **_: Any,
) -> None:
    """\b
    slmctl chat tiny:ppo
    slmctl chat tiny:sft tiny:ppo --temperature 0.7
    slmctl chat --session greetings
    slmctl chat tiny:ppo < questions.txt

    Up to four models reply to the same prompt with the same seed; each reply shows its reward and KL. Votes and
    edits are saved to the label database of --db, by default of the first model's run. Conversations are saved;
    --session resumes one. With --plain, or when piped, each line of stdin is a prompt; when piped, each reply is a
    JSON row. For files of prompts, use slmctl sample."""
    if ctx.params["plain"] or ctx.params["jsonl"] or not can_draw(os.environ):
        answer_lines(ctx.params)
    else:
        open_chat(ctx.params)


def open_chat(params: Mapping[str, Any]) -> None:
    """Opens the playground in Chat. Raises: EngineError for what can be checked before."""
    from engine.run.inputs import NONE
    from engine.rundir.references import is_function, is_model, resolve_policy, resolve_scorer
    from slmctl.chat.conversation import check_models
    from slmctl.chat.sessions import SessionFiles, check_session_name
    from slmctl.label.setup import labels_path, login_name

    if params["reward"] and is_function(params["reward"]):
        raise ConfigError(
            f"--reward {params['reward']} is a function, which the playground cannot run; add --plain or name a model"
        )
    home = runs_home(os.environ)
    models = check_models(params["models"] or ()) if params["models"] or not params["session"] else ()
    for name in (*models, params["ref"]):
        if name and name != NONE:
            resolve_policy(name, home)
    if (reward := params["reward"]) and reward != NONE and is_model(reward):
        resolve_scorer(reward, home)
    session, files = params["session"], SessionFiles(home)
    if session is not None and (not models or check_session_name(session) in files.names()):
        files.load(session)
    labels_path(params["db"], None)
    names = ("ref", "reward", "system", "session", "db", "template", "device", "dtype", "threads")
    chosen = {name: params[name] for name in names if params[name] is not None}
    chosen["annotator"] = params["annotator"] or login_name()
    start = Start(home, "chat", models=tuple(models), sampling=options.typed_sampling(params), seed=params["seed"] or 0)
    open_playground(replace(start, ascii=params["ascii"], options=chosen))


def answer_lines(params: Mapping[str, Any]) -> None:
    """Answers prompts line by line. Raises: EngineError, also for options that need the playground."""
    from engine.core import threads
    from engine.rundir.references import is_model, resolve_reference
    from slmctl.chat.conversation import check_models

    for name in SCREEN_ONLY:
        if params[name] is not None:
            raise ConfigError(f"--{name} applies only to the chat in the playground; omit it here")
    models = check_models(params["models"] or ())
    home, reward = runs_home(os.environ), params["reward"]
    directories = [resolve_reference(name, home) for name in models]
    judge_at = resolve_reference(reward, home) if reward and is_model(reward) else None
    threads.apply(params["threads"], shared=True)
    from engine.run.inference import ModelLoader

    loader = ModelLoader(params["device"], params["template"], params["dtype"])
    policies = [loader.policy(*named) for named in zip(models, directories, strict=True)]
    scorer = loader.scorer(reward, judge_at) if reward else None
    sampling = options.sampling_of(params)
    typing = sys.stdin.isatty()
    for turn, line in enumerate(typed_lines() if typing else piped_lines()):
        prompt = with_system(params["system"], line)
        for policy in policies:
            response = policy.respond([prompt], sampling, params["seed"] or 0, turn)[0]
            score = scorer.score([prompt], [response.text])[0] if scorer is not None else None
            _print_response(policy.name, line, response, score, params["jsonl"] or not typing, len(policies) > 1)


def with_system(system: str | None, line: str) -> "Prompt":
    """A line as a prompt, after the system prompt if there is one."""
    from engine.data.records import Message

    return line if not system else (Message("system", system), Message("user", line))


def typed_lines() -> Iterator[str]:
    """The lines that are typed, until an empty one or the end of the input."""
    print("enter an empty line to quit", file=sys.stderr)
    while True:
        try:
            line = input("> ")
        except EOFError:
            print(file=sys.stderr)
            return
        if not line.strip():
            return
        yield line


def piped_lines() -> Iterator[str]:
    """The nonempty lines of stdin."""
    return (line.rstrip("\n") for line in sys.stdin if line.strip())


def _print_response(
    name: str, prompt: str, response: "Response", score: float | None, as_rows: bool, several: bool
) -> None:
    if as_rows:
        row: dict[str, Any] = {"model": name, "prompt": prompt, "response": response.text}
        row |= {"tokens": response.tokens, "finished": response.finished}
        print(json.dumps(row if score is None else {**row, "score": score}), flush=True)
        return
    reward = "" if score is None else f"  (reward {score:+.2f})"
    print((f"{clean(name)}: " if several else "") + clean(response.text) + reward, flush=True)
