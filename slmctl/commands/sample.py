"""`slmctl sample`: responses to prompts, for scripts."""

import json as json_module
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmctl.commands import options
from slmctl.commands.data import named_source
from slmctl.console.printing import say
from slmctl.console.safe import clean

if TYPE_CHECKING:
    from engine.data.files import Row
    from engine.data.records import Prompt
    from engine.model.sampling import Sampling

HELP = """\b
slmctl sample tiny:ppo --jsonl < prompts.jsonl
slmctl sample tiny:ppo --prompts questions.txt -n 3
echo '{"prompt": "What is the capital of France?"}' | slmctl sample tiny:sft --jsonl --temperature 0

Draws responses. With --jsonl the rows are {prompt, response, tokens, finished}."""


def sample(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A path, tiny:ppo or tiny:ppo@40.")],
    prompts: options.Prompts = None,
    map: options.Map = None,
    n: options.Number = 1,
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
    """Prints responses to the prompts of a file, or of stdin."""
    from engine.core import threads as thread_settings
    from engine.data.records import plain_prompt
    from engine.rundir.directory import runs_home
    from engine.rundir.references import resolve_reference

    directory = resolve_reference(model, runs_home(os.environ))
    found = read_prompts(prompts, map)
    thread_settings.apply(threads, shared=True)
    from slmctl.worker.models import fitting, opening_of, respond_to_all

    policy = opening_of(ctx.params).policy(model, directory)
    asked = repeated(fitting(found, [policy]), n)
    for prompt, answer in respond_to_all(policy, asked, sampling_of(ctx.params), seed or 0):
        if jsonl:
            row = {"prompt": plain_prompt(prompt), "response": answer.text}
            print(json_module.dumps({**row, "tokens": answer.tokens, "finished": answer.finished}), flush=True)
        else:
            print(clean(answer.text), flush=True)


def sampling_of(params: Mapping[str, Any], **usual: Any) -> "Sampling":
    """The sampling settings that the typed options make, and `usual` ones where none was typed.

    Raises: ConfigError for a value out of range.
    """
    from engine.model.sampling import Sampling

    return Sampling(**{**usual, **typed_sampling(params)})


def typed_sampling(params: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling settings that were typed, by name; torch-free. Raises: ConfigError for a value out of range."""
    from slmctl.worker.sampling_limits import LIMITS, checked_sampling

    return checked_sampling({name: params[name] for name in LIMITS if params.get(name) is not None}, True)


def read_prompts(file: str | None, mapped: list[str] | None) -> Iterator[tuple[str, "Prompt"]]:
    """The prompts of a file or dataset, or of stdin where there is none or it is "-", each with its place.

    Raises: FileError, DataError.
    """
    from engine.core.errors import DataError
    from engine.data import readers

    if file is not None and file != "-":
        yield from prompts_in(file, mapped)
        return
    for row in stdin_rows("sample reads rows {prompt}, one a line, or --prompts FILE"):
        prompt = readers.prompt_of(row)
        if prompt is None:
            raise DataError(f"{row.place}: the prompt is empty")
        yield row.place, prompt


def prompts_in(file: str, mapped: list[str] | None) -> list[tuple[str, "Prompt"]]:
    """The prompts of a file or dataset, each with its place; empty ones are counted on stderr.

    Raises: FileError, DataError.
    """
    from engine.data import readers

    loaded = readers.read_prompts(named_source(file, mapped))
    if loaded.empty:
        say(f"left out: {loaded.empty} of {loaded.empty + len(loaded.records)} prompts, empty")
    return [(place, row.prompt) for place, row in zip(loaded.places, loaded.records, strict=True)]


def stdin_rows(wanted: str) -> Iterator["Row"]:
    """The JSON rows of stdin, as they come. Raises: DataError naming what is `wanted` where there is none."""
    from engine.core.errors import DataError
    from engine.data.files import json_row

    found = False
    if sys.stdin.isatty():
        say(f"{wanted}; ctrl+d ends them")
    for number, line in enumerate(sys.stdin, start=1):
        if line.strip():
            found = True
            yield json_row(f"stdin, line {number}", line)
    if not found:
        raise DataError(f"stdin is empty; {wanted}")


def repeated(prompts: Iterator["Prompt"], n: int) -> Iterator["Prompt"]:
    """Each prompt n times in a row."""
    return (prompt for prompt in prompts for _ in range(n))
