"""The options that several commands share, each declared once; `takes` adds them to a command by name."""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from engine.model.sampling import Sampling


def _option(kind: Any, metavar: str, help: str, *flags: str, **more: Any) -> Any:
    """An option that is None if it is not given; its flag is its name unless others are given."""
    return Annotated[kind | None, typer.Option(*flags, metavar=metavar, help=help, **more)]


def _flag(name: str, help: str) -> Any:
    return Annotated[bool, typer.Option(name, help=help)]


ROWS = "FILE|hf:ORG/NAME"
OPTIONS: dict[str, Any] = {
    "preset": _option(str, "NAME|FILE.toml", "Settings to start from (default: tiny)."),
    "run": _option(str, "NAME", "Name of the run (default: the preset's name)."),
    "from_": _option(str, "NAME", "Create a new run that shares this run's finished stages.", "--from"),
    "fresh": _flag("--fresh", "Restart this stage and all later ones."),
    "init": _option(str, "MODEL", "Initial model, in place of the run's previous stage."),
    "ref": _option(str, "MODEL", "Reference policy for KL (default: the initial policy)."),
    "reward": _option(
        str,
        "MODEL|pocket:judge|FILE.py:FUNCTION",
        "Scorer, in place of the run's reward model. A function takes prompts and responses and returns scores.",
    ),
    "judge": _option(
        str,
        "SCORER",
        "Held-out judge: never trained on; raises an alert when its score falls while the reward rises (default: "
        "the pocket judge, if the reward model was trained on its labels).",
    ),
    "data": _option(
        str,
        ROWS,
        "Your own data: a .jsonl, .json, .csv or .parquet file (also .gz), a label database (.db) or a dataset; "
        "none clears it.",
    ),
    "map": _option(list[str], "OURS=THEIRS", "Field name in your rows, such as prompt=question; can be repeated."),
    "prompts": _option(str, ROWS, "Your own prompts: any format of --data, or .txt."),
    "template": _option(str, "auto|none", "Chat template: the tokenizer's, or none."),
    "seed": _option(int, "N", "Random seed.", min=0),
    "device": _option(str, "auto|cpu|cuda|mps", "Compute device (default: auto)."),
    "dtype": _option(str, "float32|bfloat16", "Number format (default: float32)."),
    "threads": _option(int, "N", "CPU threads (default: all cores)."),
    "max_steps": _option(int, "N", "Maximum steps per stage."),
    "set_": _option(list[str], "NAME=VALUE", "Any setting, such as ppo.kl_coef=0.05; can be repeated.", "--set"),
    "json": _flag("--json", "Print one JSON object."),
    "jsonl": _flag("--jsonl", "Print JSON rows, one per line."),
    "plain": _flag("--plain", "Plain lines: no color, no progress bars."),
    "quiet": _flag("--quiet", "Print only results and errors."),
    "ascii": _flag("--ascii", "Draw the playground in plain ASCII."),
    "temperature": _option(float, "T", "Sampling temperature; 0 is greedy decoding."),
    "top_p": _option(float, "P", "Sample from the likeliest tokens with total probability P."),
    "top_k": _option(int, "K", "Sample from the K likeliest tokens; 0 for all."),
    "max_new_tokens": _option(int, "N", "Maximum response length, in tokens."),
    "db": _option(
        str, "FILE", "Label database (default: labels.db in the first model's run, or in the current folder)."
    ),
    "annotator": _option(str, "NAME", "Name saved with the labels (default: your login)."),
}
SAMPLING = ("temperature", "top_p", "top_k", "max_new_tokens")
MODEL = ("template", "seed", "device", "dtype", "threads")
COMMON_FLAGS = (*MODEL, "max_steps")
INPUT_FLAGS = ("data", "prompts", "init", "ref", "reward", "judge")


def takes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
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
            for name, option in ((name, OPTIONS[name]) for name in names)
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
