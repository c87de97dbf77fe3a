"""`slmctl chat`: talk to one policy, or to several side by side, line by line."""

import json as json_module
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from slmctl.commands import options
from slmctl.commands.sample import sampling_of
from slmctl.tui.safe import clean

if TYPE_CHECKING:
    from slmctl.models import Answer

HELP = """\b
slmctl chat tiny:ppo
slmctl chat tiny:sft tiny:ppo --temperature 0.7
slmctl chat tiny:ppo < questions.txt

Answers each line you type; an empty line or ctrl+d ends it. Off a terminal: a prompt a line on stdin, JSON rows out."""


def chat(
    ctx: typer.Context,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="A path, tiny:ppo or tiny:ppo@40.")],
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
) -> None:
    """Answers prompts until there are no more."""
    from engine import threads as thread_settings
    from engine.references import resolve_reference
    from engine.rundir import runs_home

    directories = [resolve_reference(name, runs_home(os.environ)) for name in models]
    thread_settings.apply(threads, shared=True)
    from slmctl.models import opening_of, respond

    opening = opening_of(ctx.params)
    policies = [opening.policy(name, directory) for name, directory in zip(models, directories, strict=True)]
    sampling = sampling_of(ctx.params)
    talking = sys.stdin.isatty()
    for turn, prompt in enumerate(typed_lines() if talking else piped_lines()):
        for policy in policies:
            answer = respond(policy, [prompt], sampling, seed or 0, turn)[0]
            _print_answer(policy.name, prompt, answer, jsonl or not talking, len(policies) > 1)


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


def _print_answer(name: str, prompt: str, answer: "Answer", rows: bool, several: bool) -> None:
    if rows:
        row = {"model": name, "prompt": prompt, "response": answer.text}
        print(json_module.dumps({**row, "tokens": answer.tokens, "finished": answer.finished}), flush=True)
        return
    print((f"{clean(name)}: " if several else "") + clean(answer.text), flush=True)
