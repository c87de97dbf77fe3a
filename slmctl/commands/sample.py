"""`slmctl sample`: responses to prompts, for scripts."""

import json
import os
from typing import Annotated, Any

import typer

from engine.rundir.directory import runs_home
from slmctl.commands import options
from slmctl.commands.rows import answerable, read_prompts
from slmctl.console.safe import clean

HELP = """\b
slmctl sample tiny:ppo --jsonl < prompts.jsonl
slmctl sample tiny:ppo --prompts questions.txt -n 3
echo '{"prompt": "What is the capital of France?"}' | slmctl sample tiny:sft --jsonl --temperature 0

Generates responses to the prompts of a file or of stdin. With --jsonl, prints {prompt, response, tokens, finished}
rows."""


@options.takes(**options.SAMPLING, **options.MODEL, jsonl=options.Jsonl)
def sample(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A path, tiny:ppo or tiny:ppo@40.")],
    prompts: options.Prompts = None,
    map: options.Map = None,
    n: options.Number = 1,
    **settings: Any,
) -> None:
    """Prints responses to the prompts of a file, or of stdin."""
    from engine.core import threads
    from engine.data.records import plain_prompt
    from engine.rundir.references import resolve_reference

    directory = resolve_reference(model, runs_home(os.environ))
    found = read_prompts(prompts, map)
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
