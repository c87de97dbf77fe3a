"""The models that belong to a chat's models by their run: reference, scorer, value network, other checkpoints.

Torch-free; the sampler opens them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.core.errors import EngineError, FileError
from engine.run.inputs import NONE
from engine.rundir.directory import RunDir, find_run, list_runs
from engine.rundir.references import POCKET, reference_to, resolve_reference, run_and_place, stage_named
from engine.rundir.runtoml import Input, read_run_toml
from slmctl.chat.sessions import changed_at
from slmctl.label.setup import labels_path

PARENT_STAGES = {"ppo": "sft", "sft": "pretrain"}
POLICY_STAGES = ("ppo", "sft", "pretrain")
VALUE = "value"


@dataclass(frozen=True)
class RelatedModels:
    """By model its reference policy and the checkpoints of its run, by checkpoint its value network; the scorer of all
    models ("" for none); and the models that were trained on single turns only."""

    refs: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    value_networks: Mapping[str, str] = field(default_factory=dict)
    scorer: str = ""
    single_turn: tuple[str, ...] = ()


def find_related_models(models: Sequence[str], home: Path, ref: str = "", scorer: str = "") -> RelatedModels:
    """The models related to `models`; `ref` and `scorer` replace the defaults, "none" means no model."""
    checkpoints = {model: tuple(checkpoints_along(model, home)) for model in models}
    all_checkpoints = (*models, *(one for along in checkpoints.values() for one in along))
    refs = {model: ref or default_ref(model, models, home) for model in models}
    return RelatedModels(
        {model: "" if name == NONE else name for model, name in refs.items()},
        checkpoints,
        {checkpoint: value_network_of(checkpoint, home) for checkpoint in all_checkpoints},
        "" if scorer == NONE else scorer or default_scorer(models, home),
        tuple(model for model in models if is_single_turn(model, home)),
    )


def run_and_stage(reference: str, home: Path) -> tuple[RunDir, str] | None:
    """The run and stage that a reference such as tiny:ppo@20 names; None for a path or an unknown name."""
    if (parts := run_and_place(reference)) is None:
        return None
    try:
        return find_run(home, parts[0]), stage_named(parts[1].partition("@")[0])
    except EngineError:
        return None


def default_ref(model: str, models: Sequence[str], home: Path) -> str:
    """The reference policy: that of the run for a PPO policy, else the first of `models`."""
    found = run_and_stage(model, home)
    if found is not None and found[1] == "ppo":
        run = found[0]
        chosen = _input(run, "ppo", "ref") or _input(run, "ppo", "init")
        if chosen is not None:
            return chosen.reference
        if run.finished("sft"):
            return f"{run.name}:sft"
    return models[0]


def default_scorer(models: Sequence[str], home: Path) -> str:
    """The scorer of the first model whose run has one: the reward used by PPO, else its reward model; or ""."""
    for model in models:
        found = run_and_stage(model, home)
        if found is None or found[1] not in ("ppo", "sft"):
            continue
        reward = _input(found[0], "ppo", "reward")
        if reward is not None and reward.kind != "function":  # code runs only if typed on the command line
            return reward.reference
        if found[0].finished("rm"):
            return f"{found[0].name}:rm"
    return ""


def is_single_turn(model: str, home: Path) -> bool:
    """Whether a model was tuned on the pocket world only, whose conversations have one turn."""
    found = run_and_stage(model, home)
    if found is None or found[1] == "pretrain":
        return False
    try:
        record = read_run_toml(found[0])
    except FileError:
        return False
    own_data = record.input("sft", "data") or record.input("ppo", "prompts")
    return bool(record.config.world.name) and own_data is None


def value_network_of(policy: str, home: Path) -> str:
    """The name of the value network saved with a policy; "" if there is none."""
    try:
        exists = (resolve_reference(policy, home) / VALUE).is_dir()
    except EngineError:
        exists = False
    return f"{policy}/{VALUE}" if exists else ""


def checkpoints_along(model: str, home: Path) -> list[str]:
    """The checkpoints of a policy's training in order: its initial policy, each saved step, its final checkpoint."""
    found = run_and_stage(model, home)
    if found is None or found[1] not in POLICY_STAGES:
        return []
    run, stage = found
    parent = PARENT_STAGES.get(stage)
    initial = [reference_to(run.name, parent)] if parent and run.finished(parent) else []
    own = reference_to(run.name, stage)
    return [*initial, *(f"{own}@{step}" for step in run.saved_steps(stage)), *([own] if run.finished(stage) else [])]


def label_database(db: str | None, models: Sequence[str], home: Path) -> Path:
    """The label database for votes on these models: `db`, else that of the first model's run, as in Label."""
    found = run_and_stage(models[0], home) if models else None
    return labels_path(db, None if found is None else found[0])


def list_policies(home: Path) -> list[str]:
    """All finished policies, those of the run that changed last first."""
    runs = sorted(list_runs(home), key=lambda run: changed_at(run.events), reverse=True)
    return [reference_to(run.name, stage) for run in runs for stage in POLICY_STAGES if run.finished(stage)]


def list_scorers(home: Path) -> list[str]:
    """All scorers with a name: finished reward models, and the pocket judge."""
    return [*(reference_to(run.name, "rm") for run in list_runs(home) if run.finished("rm")), f"{POCKET}judge"]


def _input(run: RunDir, stage: str, option: str) -> Input | None:
    try:
        return read_run_toml(run).input(stage, option)
    except FileError:
        return None
