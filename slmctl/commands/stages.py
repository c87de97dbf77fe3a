"""`slmctl run`, `pretrain`, `sft`, `rm` and `ppo`: a whole run, or one stage with the stages that it needs."""

from collections.abc import Callable
from typing import Any

from slmctl.commands import options
from slmctl.commands.run_stages import train

TAKES = {
    "run": ("reward", "judge"),
    "pretrain": ("data", "map"),
    "sft": ("data", "map", "init"),
    "rm": ("data", "map", "init"),
    "ppo": ("prompts", "map", "init", "ref", "reward", "judge"),
}
"""The inputs that each command takes."""

TITLES = {
    "run": "Train all stages and evaluate the result.",
    "pretrain": "Train the base model.",
    "sft": "Fine-tune on demonstrations.",
    "rm": "Train the reward model.",
    "ppo": "Train the policy with PPO.",
}
HELP = {
    "run": """\b
slmctl run --preset tiny
slmctl run --preset tiny --run seed1 --seed 1 --json
slmctl run --run round2 --from tiny --set ppo.kl_coef=0.1

Trains the base model, the SFT policy, the reward model and the PPO policy, then evaluates them. Rerun the command to
resume an interrupted run; a finished one prints its result again.""",
    "pretrain": """\b
slmctl pretrain --preset tiny
slmctl pretrain --preset tiny --run mine --data texts.jsonl

Trains a tokenizer and a base model on text.""",
    "sft": """\b
slmctl sft --preset tiny
slmctl sft --preset tiny --run mine --data demonstrations.json

Fine-tunes the base model on demonstrations: {prompt, completion}, {messages} or {instruction, input, output} rows, or
the edited responses of a label database.""",
    "rm": """\b
slmctl rm --preset tiny
slmctl rm --run mine --data comparisons.json
slmctl rm --run round2 --from tiny --data runs/tiny/labels.db --init tiny:rm --set rm.epochs=6

Trains a reward model on comparisons: {prompt, chosen, rejected} rows, rankings, a label database, or the labels of
simulated labelers. The accuracy is measured on held-out pairs: the newest labels of a database, a random split of a
file. One epoch over few comparisons is not enough; a note suggests settings for them.""",
    "ppo": """\b
slmctl ppo --preset tiny
slmctl ppo --run round2 --from tiny --set ppo.kl_coef=0.1
slmctl ppo --preset tiny --run concise --reward pocket:concise
slmctl ppo --run short --from tiny --reward mine.py:short_answers

Trains the SFT policy with PPO against the reward model, with a KL penalty that keeps it close to its start.""",
}


def stage_command(target: str) -> Callable[..., None]:
    """The command that trains `target`, a stage or "run", with the options that it takes."""

    @options.takes(
        **options.RUN,
        **{name: options.INPUTS[name] for name in TAKES[target]},
        **options.MODEL,
        **options.SETTINGS,
        **options.REPORT,
    )
    def command(**given: Any) -> None:
        train(target, given)

    return command
