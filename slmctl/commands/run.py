"""`slmctl run`: every stage up to the evaluation."""

import typer

from slmctl.commands import options
from slmctl.commands.run_stages import train

HELP = """\b
slmctl run --preset tiny
slmctl run --preset tiny --run seed1 --seed 1 --json
slmctl run --run round2 --from tiny --set ppo.kl_coef=0.1

Base model, supervised fine-tuning, reward model, PPO and evaluation, in one go. Typed again, it goes on where it was,
or prints its result again."""


def run(
    ctx: typer.Context,
    preset: options.Preset = None,
    run: options.Run = None,
    from_: options.From = None,
    fresh: options.Fresh = False,
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
    """Does what is left of a run and prints its result."""
    train("run", ctx.params)
