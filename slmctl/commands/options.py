"""The options that several commands share, each declared once.

A command names an option in its own signature, or takes a whole group of them with `takes`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from engine.model.sampling import Sampling

Preset = Annotated[
    str | None, typer.Option("--preset", metavar="NAME|FILE.toml", help="Settings to start from (default: tiny).")
]
Run = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Name of the run (default: the preset's name).")]
From = Annotated[
    str | None, typer.Option("--from", metavar="NAME", help="Create a new run that shares this run's finished stages.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Restart this stage and all later ones.")]
Init = Annotated[
    str | None, typer.Option("--init", metavar="MODEL", help="Initial model, in place of the run's previous stage.")
]
Ref = Annotated[
    str | None, typer.Option("--ref", metavar="MODEL", help="Reference policy for KL (default: the initial policy).")
]
Reward = Annotated[
    str | None,
    typer.Option(
        "--reward",
        metavar="MODEL|pocket:judge|FILE.py:FUNCTION",
        help="Scorer, in place of the run's reward model. A function takes prompts and responses and returns scores.",
    ),
]
Judge = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="SCORER",
        help="Held-out judge: never trained on; raises an alert when its score falls while the reward rises (default: "
        "the pocket judge, if the reward model was trained on its labels).",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FILE|hf:ORG/NAME",
        help="Your own data: a .jsonl, .json, .csv or .parquet file (also .gz), a label database (.db) or a dataset; "
        "none clears it.",
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map", metavar="OURS=THEIRS", help="Field name in your rows, such as prompt=question; can be repeated."
    ),
]
Prompts = Annotated[
    str | None,
    typer.Option("--prompts", metavar="FILE|hf:ORG/NAME", help="Your own prompts: any format of --data, or .txt."),
]
Template = Annotated[
    str | None, typer.Option("--template", metavar="auto|none", help="Chat template: the tokenizer's, or none.")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Random seed.")]
Device = Annotated[
    str | None, typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Compute device (default: auto).")
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", metavar="float32|bfloat16", help="Number format (default: float32).")
]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", help="CPU threads (default: all cores).")]
MaxSteps = Annotated[int | None, typer.Option("--max-steps", metavar="N", help="Maximum steps per stage.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any setting, such as ppo.kl_coef=0.05; can be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Jsonl = Annotated[bool, typer.Option("--jsonl", help="Print JSON rows, one per line.")]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines: no color, no progress bars.")]
Ascii = Annotated[bool, typer.Option("--ascii", help="Draw the playground in plain ASCII.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only results and errors.")]
Temperature = Annotated[
    float | None, typer.Option("--temperature", metavar="T", help="Sampling temperature; 0 is greedy decoding.")
]
TopP = Annotated[
    float | None,
    typer.Option("--top-p", metavar="P", help="Sample from the likeliest tokens with total probability P."),
]
TopK = Annotated[
    int | None, typer.Option("--top-k", metavar="K", help="Sample from the K likeliest tokens; 0 for all.")
]
MaxNewTokens = Annotated[
    int | None, typer.Option("--max-new-tokens", metavar="N", help="Maximum response length, in tokens.")
]
Db = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="FILE",
        help="Label database (default: labels.db in the first model's run, or in the current folder).",
    ),
]
Annotator = Annotated[
    str | None, typer.Option("--annotator", metavar="NAME", help="Name saved with the labels (default: your login).")
]
Number = Annotated[int, typer.Option("-n", metavar="N", min=1, help="Responses per prompt.")]

SAMPLING = {"temperature": Temperature, "top_p": TopP, "top_k": TopK, "max_new_tokens": MaxNewTokens}
MODEL = {"template": Template, "seed": Seed, "device": Device, "dtype": Dtype, "threads": Threads}
RUN = {"preset": Preset, "run": Run, "from_": From, "fresh": Fresh}
SETTINGS = {"max_steps": MaxSteps, "set_": Set}
REPORT = {"json": Json, "jsonl": Jsonl, "plain": Plain, "quiet": Quiet}
INPUTS = {
    "data": Data,
    "prompts": Prompts,
    "map": Map,
    "init": Init,
    "ref": Ref,
    "reward": Reward,
    "judge": Judge,
}
COMMON_FLAGS = ("template", "seed", "device", "dtype", "threads", "max_steps")
INPUT_FLAGS = ("data", "prompts", "init", "ref", "reward", "judge")


def takes(**shared: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds shared options to a command's signature, which Typer reads; the function receives them by keyword."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        keyword = inspect.Parameter.KEYWORD_ONLY
        own = [
            parameter.replace(kind=keyword)
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        added = [
            inspect.Parameter(name, keyword, default=False if get_args(option)[0] is bool else None, annotation=option)
            for name, option in shared.items()
        ]
        vars(function)["__signature__"] = inspect.Signature([*own, *added])
        return function

    return decorate


def typed_sampling(params: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling settings that were typed, by name; torch-free. Raises: ConfigError for a value out of range."""
    from slmctl.worker.sampling_settings import checked_sampling

    given = {name: params[name] for name in SAMPLING if params[name] is not None}
    return checked_sampling(given, typed_as_options=True)


def sampling_of(params: Mapping[str, Any], **defaults: Any) -> "Sampling":
    """The sampling settings that were typed, over the defaults; loads torch. Raises: ConfigError for a bad value."""
    from engine.model.sampling import Sampling

    return Sampling(**{**defaults, **typed_sampling(params)})
