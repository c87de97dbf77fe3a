"""`slmctl chat`: talk to one policy, or to several side by side; line by line where there is no screen for it."""

import json as json_module
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmctl.commands import options
from slmctl.commands.sample import sampling_of, typed_sampling
from slmctl.console.safe import clean
from slmctl.tui.playground import can_draw, play

if TYPE_CHECKING:
    from engine.data.records import Prompt
    from slmctl.worker.models import Answer

HELP = """\b
slmctl chat tiny:ppo
slmctl chat tiny:sft tiny:ppo --temperature 0.7
slmctl chat --session greetings
slmctl chat tiny:ppo < questions.txt

Up to four models answer the same prompt from the same seed, with the reward and the KL of each reply; what you say of
replies goes into the label database of the first model's run, else into labels.db of this folder, or into that of --db.
Conversations are kept; --session goes on with one. Off a terminal, or with --plain, each line of stdin is a prompt of
its own, as it stands, and each answer off a terminal a JSON row; rows of prompts are for `slmctl sample`."""
SCREEN_ONLY = ("ref", "session", "db", "annotator")


def chat(
    ctx: typer.Context,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL...", help="A path, tiny:ppo or tiny:ppo@40; up to four.")
    ] = None,
    ref: Annotated[
        str | None, typer.Option("--ref", metavar="MODEL", help="What KL is taken to (default: what PPO began from).")
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option("--reward", metavar="MODEL|pocket:judge", help="Who scores replies (default: the run's own)."),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="System prompt.")] = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="NAME", help="Conversation to go on with, or to begin.")
    ] = None,
    db: options.Db = None,
    annotator: options.Annotator = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    max_new_tokens: options.MaxNewTokens = None,
    template: options.Template = None,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    jsonl: options.Jsonl = False,
    plain: options.Plain = False,
    ascii: options.Ascii = False,
) -> None:
    """Opens the chat, or answers prompts until there are no more."""
    if plain or jsonl or not can_draw(os.environ):
        answer_lines(ctx.params)
    else:
        open_chat(ctx.params)


def open_chat(params: Mapping[str, Any]) -> None:
    """Opens the playground in its chat. Raises: EngineError for what can be told before."""
    from engine.core.errors import ConfigError
    from engine.run.inputs import NONE
    from engine.rundir.directory import runs_home
    from engine.rundir.references import is_function, is_model, resolve_policy, resolve_scorer
    from slmctl.chat.conversation import check_models
    from slmctl.chat.sessions import Sessions, check_session_name
    from slmctl.label.setup import labels_of, login_name
    from slmctl.tui.start import Start

    if params["reward"] and is_function(params["reward"]):
        raise ConfigError(f"--reward {params['reward']} is code, which no screen runs; add --plain, or name a model")
    home = runs_home(os.environ)
    models = check_models(params["models"] or ()) if params["models"] or not params["session"] else ()
    for name in (*models, params["ref"]):
        if name and name != NONE:
            resolve_policy(name, home)
    if (reward := params["reward"]) and reward != NONE and is_model(reward):
        resolve_scorer(reward, home)
    session, sessions = params["session"], Sessions(home)
    if session is not None and (not models or check_session_name(session) in sessions.names()):
        sessions.load(session)
    labels_of(params["db"], None)
    names = ("ref", "reward", "system", "session", "db", "template", "device", "dtype", "threads")
    chosen = {name: params[name] for name in names if params[name] is not None}
    chosen["annotator"] = params["annotator"] or login_name()
    start = Start(home, "chat", models=tuple(models), sampling=typed_sampling(params), seed=params["seed"] or 0)
    play(replace(start, ascii=params["ascii"], options=chosen))


def answer_lines(params: Mapping[str, Any]) -> None:
    """Answers prompts line by line. Raises: EngineError, also for options that only a screen can follow."""
    from engine.core import threads as thread_settings
    from engine.core.errors import ConfigError
    from engine.rundir.directory import runs_home
    from engine.rundir.references import is_model, resolve_reference
    from slmctl.chat.conversation import check_models

    for name in SCREEN_ONLY:
        if params[name] is not None:
            raise ConfigError(f"--{name} is for the chat on a screen, and this is line by line; leave it out")
    models = check_models(params["models"] or ())
    home, reward = runs_home(os.environ), params["reward"]
    directories = [resolve_reference(name, home) for name in models]
    judge_at = resolve_reference(reward, home) if reward and is_model(reward) else None
    thread_settings.apply(params["threads"], shared=True)
    from slmctl.worker.models import opening_of, respond

    opening = opening_of(params)
    policies = [opening.policy(*named) for named in zip(models, directories, strict=True)]
    scorer = opening.scorer(reward, judge_at) if reward else None
    sampling = sampling_of(params)
    talking = sys.stdin.isatty()
    for turn, line in enumerate(typed_lines() if talking else piped_lines()):
        prompt = with_system(params["system"], line)
        for policy in policies:
            answer = respond(policy, [prompt], sampling, params["seed"] or 0, turn)[0]
            score = scorer.score([prompt], [answer.text])[0] if scorer is not None else None
            _print_answer(policy.name, line, answer, score, params["jsonl"] or not talking, len(policies) > 1)


def with_system(system: str | None, line: str) -> "Prompt":
    """A line as a prompt, a system prompt before it where there is one."""
    from engine.data.records import Message

    return line if not system else (Message("system", system), Message("user", line))


def typed_lines() -> Iterator[str]:
    """The lines that a person types, until an empty one or the end."""
    print("an empty line ends it", file=sys.stderr)
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
    """The lines of stdin that are not empty."""
    return (line.rstrip("\n") for line in sys.stdin if line.strip())


def _print_answer(name: str, prompt: str, answer: "Answer", score: float | None, as_rows: bool, several: bool) -> None:
    if as_rows:
        row: dict[str, Any] = {"model": name, "prompt": prompt, "response": answer.text}
        row |= {"tokens": answer.tokens, "finished": answer.finished}
        print(json_module.dumps(row if score is None else {**row, "score": score}), flush=True)
        return
    reward = "" if score is None else f"  (reward {score:+.2f})"
    print((f"{clean(name)}: " if several else "") + clean(answer.text) + reward, flush=True)
