"""What goes with a model by its place in a run: reference, scorer, value network, other steps, label database.

Torch-free; opening any of it is the sampler's job.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.core.errors import EngineError, FileError
from engine.run.inputs import NONE
from engine.rundir.directory import RunDir, find_run, list_runs
from engine.rundir.references import POCKET, reference_to, resolve_reference, run_and_place, stage_named
from engine.rundir.runtoml import Input, read_run_toml
from slmctl.label.setup import labels_of

STARTS = {"ppo": "sft", "sft": "pretrain"}  # the stage whose result a policy's training began from
POLICIES = ("ppo", "sft", "pretrain")
VALUE = "value"


@dataclass(frozen=True)
class Around:
    """What was found around some models: by model its reference and the checkpoints along its run, by checkpoint its
    value network; the scorer of them all, "" for none; and those that have learnt from single questions alone."""

    refs: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    scorer: str = ""
    single: tuple[str, ...] = ()


def look_around(models: Sequence[str], home: Path, ref: str = "", scorer: str = "") -> Around:
    """What goes with models now; `ref` and `scorer` as a person asked, "none" for nobody, "" for the usual."""
    steps = {model: tuple(steps_along(model, home)) for model in models}
    values = {by: value_of(by, home) for by in (*models, *(by for along in steps.values() for by in along))}
    refs = {model: ref or usual_ref(model, models, home) for model in models}
    return Around(
        {model: "" if name == NONE else name for model, name in refs.items()},
        steps,
        values,
        "" if scorer == NONE else scorer or usual_scorer(models, home),
        tuple(model for model in models if learnt_single_questions(model, home)),
    )


def place_of(reference: str, home: Path) -> tuple[RunDir, str] | None:
    """The run and stage that a reference such as tiny:ppo@20 names; None for a path or a name that means nothing."""
    if (parts := run_and_place(reference)) is None:
        return None
    try:
        return find_run(home, parts[0]), stage_named(parts[1].partition("@")[0])
    except EngineError:
        return None


def usual_ref(model: str, models: Sequence[str], home: Path) -> str:
    """The model that KL is taken to: for a run's PPO its own reference policy, else the first of `models`."""
    place = place_of(model, home)
    if place is not None and place[1] == "ppo":
        run = place[0]
        chosen = _given(run, "ppo", "ref") or _given(run, "ppo", "init")
        if chosen is not None:
            return chosen.reference
        if run.finished("sft"):
            return f"{run.name}:sft"
    return models[0]


def usual_scorer(models: Sequence[str], home: Path) -> str:
    """The scorer of the first model whose run has one: the reward that PPO was given, else its reward model; or ""."""
    for model in models:
        place = place_of(model, home)
        if place is None or place[1] not in ("ppo", "sft"):
            continue
        given = _given(place[0], "ppo", "reward")
        if given is not None and given.kind != "function":  # a function is code: it only runs where a person types it
            return given.reference
        if place[0].finished("rm"):
            return f"{place[0].name}:rm"
    return ""


def learnt_single_questions(model: str, home: Path) -> bool:
    """Whether a model was tuned on the embedded world alone, whose conversations have one turn."""
    place = place_of(model, home)
    if place is None or place[1] == "pretrain":
        return False
    try:
        record = read_run_toml(place[0])
    except FileError:
        return False
    own = record.input("sft", "data") or record.input("ppo", "prompts")
    return bool(record.config.world.name) and own is None


def value_of(model: str, home: Path) -> str:
    """The name of the value network that was saved with a policy; "" where there is none."""
    try:
        there = (resolve_reference(model, home) / VALUE).is_dir()
    except EngineError:
        there = False
    return f"{model}/{VALUE}" if there else ""


def steps_along(model: str, home: Path) -> list[str]:
    """The checkpoints of a policy's training in order: what it began from, each saved step, its final; or none."""
    place = place_of(model, home)
    if place is None or place[1] not in POLICIES:
        return []
    run, stage = place
    before = STARTS.get(stage)
    known = [reference_to(run.name, before)] if before and run.finished(before) else []
    own = reference_to(run.name, stage)
    return [*known, *(f"{own}@{step}" for step in run.saved_steps(stage)), *([own] if run.finished(stage) else [])]


def label_file(db: str | None, models: Sequence[str], home: Path) -> Path:
    """Where what is said of these models' replies goes, by the rule of Label: to `db`, else to the first one's run."""
    place = place_of(models[0], home) if models else None
    return labels_of(db, None if place is None else place[0])


def policies_there(home: Path) -> list[str]:
    """The policies that can be talked to, those of the run that changed last first."""
    runs = sorted(list_runs(home), key=_changed, reverse=True)
    return [reference_to(run.name, stage) for run in runs for stage in POLICIES if run.finished(stage)]


def scorers_there(home: Path) -> list[str]:
    """The scorers that can be named: finished reward models, and the judge of the embedded world."""
    return [*(reference_to(run.name, "rm") for run in list_runs(home) if run.finished("rm")), f"{POCKET}judge"]


def _given(run: RunDir, stage: str, option: str) -> Input | None:
    try:
        return read_run_toml(run).input(stage, option)
    except FileError:
        return None


def _changed(run: RunDir) -> float:
    try:
        return os.stat(run.events).st_mtime
    except OSError:
        return 0.0
