"""The pipeline as a graph: what each stage works from, which settings matter to it, what a person may hand it.

Pure functions of names and settings; which stages a run has done already is planning.py's question.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.core.config import Config
from engine.core.settings import flatten
from engine.rundir.directory import STAGES

COMMON = ("seed", "threads", "device", "dtype", "template", "max_steps")
UNTIL_FINISHED = ("max_steps",)  # how far a stage goes: nothing to one that is finished
SECTIONS: dict[str, tuple[str, ...]] = {
    "pretrain": ("world", "tokenizer", "model", "pretrain"),
    "sft": ("world", "sft"),
    "comparisons": ("world", "comparisons"),
    "rm": ("world", "rm"),
    "ppo": ("world", "ppo"),
    "eval": ("world", "eval"),
}
ALSO_ELSEWHERE = {"rm.validation_share": ("comparisons", "rm")}  # held-out prompts are drawn with the others
INPUTS: dict[str, tuple[str, ...]] = {
    "pretrain": ("data", "map"),
    "sft": ("data", "map", "init"),
    "rm": ("data", "map", "init"),
    "ppo": ("prompts", "map", "init", "ref", "reward", "judge"),
}
READS: dict[str, tuple[str, str]] = {
    "pretrain": ("data", "text"),
    "sft": ("data", "demonstrations"),
    "rm": ("data", "comparisons"),
    "ppo": ("prompts", "prompts"),
}
"""The option by which a stage is handed rows, and the kind of data that they are."""
NAMES = {
    "pretrain": "base model",
    "sft": "SFT policy",
    "comparisons": "comparisons",
    "rm": "reward model",
    "ppo": "PPO policy",
    "eval": "evaluation",
}


Inputs = Mapping[str, Mapping[str, str]]
"""What each stage was handed, by the stage's name and then the option's."""


def needs(stage: str, inputs: Inputs) -> tuple[str, ...]:
    """The stages whose results a stage works from, where they were not handed to it from outside.

    The evaluation sees what the other stages saw: the model that SFT began with, the one that PPO began with, and what
    scored PPO.
    """
    sft, rm, ppo = (inputs.get(name, {}) for name in ("sft", "rm", "ppo"))
    base = () if "init" in sft else ("pretrain",)
    start = () if "init" in ppo else ("sft",)
    reward = () if "reward" in ppo else ("rm",)
    wanted: dict[str, tuple[str, ...]] = {
        "pretrain": (),
        "sft": base,
        "comparisons": ("sft",),
        "rm": (() if "init" in rm else ("sft",)) + (() if "data" in rm else ("comparisons",)),
        "ppo": start + reward,
        "eval": (*base, *start, *reward, "ppo"),
    }
    return wanted[stage]


def borrowed(stage: str, inputs: Inputs) -> tuple[tuple[str, str], ...]:
    """What a stage reads that was handed to another: (that stage, the option's name)."""
    demonstrations = (("sft", "data"),)  # their scores are the reward model's zero, their prompts are PPO's
    return {
        "rm": demonstrations,
        "ppo": () if "prompts" in inputs.get("ppo", {}) else demonstrations,
        "eval": (("sft", "init"), ("ppo", "init"), ("ppo", "reward")),
    }.get(stage, ())


def required(target: str, inputs: Inputs) -> tuple[str, ...]:
    """A target with every stage it depends on, in the order of work; "run" means everything up to the evaluation."""
    wanted = {"eval" if target == "run" else target}
    for stage in reversed(STAGES):
        if stage in wanted:
            wanted.update(needs(stage, inputs))
    return tuple(stage for stage in STAGES if stage in wanted)


def dependents(stage: str) -> tuple[str, ...]:
    """The stages that may build on a stage, in the order of work."""
    reached = {stage}
    for later in STAGES:
        if reached & set(needs(later, {})):
            reached.add(later)
    return tuple(later for later in STAGES if later in reached and later != stage)


@dataclass(frozen=True)
class Change:
    """One setting that differs, with the stages it matters to."""

    name: str
    old: object
    new: object
    stages: tuple[str, ...]


def differences(old: Config, new: Config) -> list[Change]:
    """The settings whose values differ."""
    before, after = flatten(old), flatten(new)
    return [
        Change(name, before[name], after[name], _matters_to(name)) for name in before if before[name] != after[name]
    ]


def _matters_to(name: str) -> tuple[str, ...]:
    if name in ALSO_ELSEWHERE:
        return ALSO_ELSEWHERE[name]
    section, dot, _ = name.partition(".")
    return tuple(stage for stage in STAGES if not dot or section in SECTIONS[stage])
