"""`slmctl pretrain`, `sft`, `rm` and `ppo`: one stage of a run, and whatever it needs first."""

import typer

from slmctl.commands import options
from slmctl.commands.run_stages import train

HELP = {
    "pretrain": """\b
slmctl pretrain --preset tiny
slmctl pretrain --preset tiny --run mine --data texts.jsonl

Trains a tokenizer and a base model on text.""",
    "sft": """\b
slmctl sft --preset tiny
slmctl sft --preset tiny --run mine --data demonstrations.json

Fine-tunes the base model on demonstrations: {prompt, completion}, {messages} or {instruction, input, output}, or the
edited responses of a label database.""",
    "rm": """\b
slmctl rm --preset tiny
slmctl rm --run mine --data comparisons.json
slmctl rm --run round2 --from tiny --data runs/tiny/labels.db --init tiny:rm --set rm.epochs=6

Trains a reward model on comparisons: {prompt, chosen, rejected}, rankings, labels that people made, or those of the
simulated labelers. Of labels the newest are held out for the accuracy, of files a random share. Where there are few,
one pass over them teaches next to nothing: a note tells which settings fit.""",
    "ppo": """\b
slmctl ppo --preset tiny
slmctl ppo --run round2 --from tiny --set ppo.kl_coef=0.1
slmctl ppo --preset tiny --run concise --reward pocket:concise
slmctl ppo --run short --from tiny --reward mine.py:short_answers

Trains the SFT policy by PPO against the reward model, with a KL penalty to where it started.""",
}


def pretrain(
    ctx: typer.Context,
    preset: options.Preset = None,
    run: options.Run = None,
    from_: options.From = None,
    fresh: options.Fresh = False,
    data: options.Data = None,
    map: options.Map = None,
    template: options.Template = None,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    max_steps: options.MaxSteps = None,
    set_: options.Set = None,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    plain: options.Plain = False,
    quiet: options.Quiet = False,
) -> None:
    """Does what is left of the base model."""
    train("pretrain", ctx.params)


def sft(
    ctx: typer.Context,
    preset: options.Preset = None,
    run: options.Run = None,
    from_: options.From = None,
    fresh: options.Fresh = False,
    data: options.Data = None,
    map: options.Map = None,
    init: options.Init = None,
    template: options.Template = None,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    max_steps: options.MaxSteps = None,
    set_: options.Set = None,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    plain: options.Plain = False,
    quiet: options.Quiet = False,
) -> None:
    """Does what is left of supervised fine-tuning."""
    train("sft", ctx.params)


def rm(
    ctx: typer.Context,
    preset: options.Preset = None,
    run: options.Run = None,
    from_: options.From = None,
    fresh: options.Fresh = False,
    data: options.Data = None,
    map: options.Map = None,
    init: options.Init = None,
    template: options.Template = None,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    max_steps: options.MaxSteps = None,
    set_: options.Set = None,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    plain: options.Plain = False,
    quiet: options.Quiet = False,
) -> None:
    """Does what is left of the reward model."""
    train("rm", ctx.params)


def ppo(
    ctx: typer.Context,
    preset: options.Preset = None,
    run: options.Run = None,
    from_: options.From = None,
    fresh: options.Fresh = False,
    prompts: options.Prompts = None,
    map: options.Map = None,
    init: options.Init = None,
    ref: options.Ref = None,
    reward: options.Reward = None,
    judge: options.Judge = None,
    template: options.Template = None,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    max_steps: options.MaxSteps = None,
    set_: options.Set = None,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
    plain: options.Plain = False,
    quiet: options.Quiet = False,
) -> None:
    """Does what is left of PPO."""
    train("ppo", ctx.params)
