"""The pipeline as a graph: what each stage works from, which settings matter to it, which inputs it takes.

Pure functions of names and settings; which stages a run has finished is planning.py's job.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from engine.core.config import Config
from engine.core.settings import flatten
from engine.rundir.directory import STAGES

COMMON = ("seed", "threads", "device", "dtype", "template", "max_steps")
UNTIL_FINISHED = ("max_steps",)  # how far a stage goes; does not matter to a finished one
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
"""The option by which a stage takes rows, and their kind of data."""
NAMES = {
    "pretrain": "base model",
    "sft": "SFT policy",
    "comparisons": "comparisons",
    "rm": "reward model",
    "ppo": "PPO policy",
    "eval": "evaluation",
}
Options = Mapping[str, Collection[str]]
"""The options that each stage was given, by the stage's name."""


def needs(stage: str, inputs: Options) -> tuple[str, ...]:
    """The stages whose results a stage works from, unless an input replaces them.

    The evaluation uses what the other stages used: the model that SFT started from, the one that PPO started from, and
    PPO's scorer.
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


def borrowed(stage: str, inputs: Options) -> tuple[tuple[str, str], ...]:
    """The inputs of other stages that a stage reads: (that stage, the option)."""
    demonstrations = (("sft", "data"),)  # the reward model averages 0 on them, and PPO takes their prompts
    return {
        "rm": demonstrations,
        "ppo": () if "prompts" in inputs.get("ppo", {}) else demonstrations,
        "eval": (("sft", "init"), ("ppo", "init"), ("ppo", "reward")),
    }.get(stage, ())


def required(target: str, inputs: Options) -> tuple[str, ...]:
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
    """One setting that differs, and the stages it matters to."""

    name: str
    old: object
    new: object
    stages: tuple[str, ...]


def changed_settings(old: Config, new: Config) -> list[Change]:
    """The settings whose values differ."""
    before, after = flatten(old), flatten(new)
    changes = []
    for name in before:
        if before[name] != after[name]:
            section, dot, _ = name.partition(".")
            stages = tuple(stage for stage in STAGES if not dot or section in SECTIONS[stage])
            changes.append(Change(name, before[name], after[name], ALSO_ELSEWHERE.get(name, stages)))
    return changes
