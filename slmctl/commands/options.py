"""The options of every command, written once so that they mean the same everywhere."""

from typing import Annotated

import typer

Preset = Annotated[
    str | None, typer.Option("--preset", metavar="NAME|FILE.toml", help="Settings to start from (default: tiny).")
]
Run = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Name of the run (default: the preset's).")]
From = Annotated[
    str | None, typer.Option("--from", metavar="NAME", help="Make a new run that shares this run's finished stages.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do the stage, and what builds on it, again from nothing.")]
Init = Annotated[
    str | None, typer.Option("--init", metavar="MODEL", help="Model to start from, in place of the run's.")
]
Ref = Annotated[str | None, typer.Option("--ref", metavar="MODEL", help="Reference policy, in place of the start.")]
Reward = Annotated[
    str | None,
    typer.Option(
        "--reward",
        metavar="MODEL|pocket:judge|FILE.py:FUNCTION",
        help="Scorer, in place of the run's reward model; a function takes prompts and responses and gives scores.",
    ),
]
Judge = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="SCORER",
        help="Scorer that only watches PPO: an alarm tells where it falls while the score rises (default: the world's "
        "labelers, where the reward learnt from them).",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FILE|hf:ORG/NAME",
        help="Your own .jsonl, .json, .csv or .parquet file, also .gz, labels (.db), or a dataset; none forgets it.",
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map", metavar="OURS=THEIRS", help="Name of a field in your rows, such as prompt=question; repeatable."
    ),
]
Prompts = Annotated[
    str | None,
    typer.Option("--prompts", metavar="FILE|hf:ORG/NAME", help="Your own prompts: as --data, or .txt."),
]
Template = Annotated[
    str | None, typer.Option("--template", metavar="auto|none", help="Chat template: the tokenizer's, or none.")
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, help="Number that every random draw follows from.")
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Where tensors live (default: auto).")
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", metavar="float32|bfloat16", help="Number format (default: float32).")
]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", help="CPU threads (default: all cores).")]
MaxSteps = Annotated[int | None, typer.Option("--max-steps", metavar="N", help="Most steps of each training stage.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any setting, such as ppo.kl_coef=0.05; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Jsonl = Annotated[bool, typer.Option("--jsonl", help="Print JSON rows on stdout, one a line.")]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines: no colour, no bars.")]
Ascii = Annotated[bool, typer.Option("--ascii", help="Charts and marks of the playground in plain ASCII.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Nothing but results and errors.")]
Temperature = Annotated[
    float | None, typer.Option("--temperature", metavar="T", help="Sampling temperature; 0 takes the likeliest token.")
]
TopP = Annotated[float | None, typer.Option("--top-p", metavar="P", help="Keep the likeliest tokens up to this mass.")]
TopK = Annotated[int | None, typer.Option("--top-k", metavar="K", help="Keep this many likeliest tokens; 0 for all.")]
MaxNewTokens = Annotated[int | None, typer.Option("--max-new-tokens", metavar="N", help="Longest response, in tokens.")]
Db = Annotated[
    str | None,
    typer.Option(
        "--db", metavar="FILE", help="Label database (default: labels.db of the first one's run, else of this folder)."
    ),
]
Annotator = Annotated[
    str | None, typer.Option("--annotator", metavar="NAME", help="Whose labels they are (default: the login name).")
]
Number = Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many, of what this command makes.")]

COMMON_FLAGS = ("template", "seed", "device", "dtype", "threads", "max_steps")
INPUT_FLAGS = ("data", "prompts", "init", "ref", "reward", "judge")
