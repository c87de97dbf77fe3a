"""References to models, the same in every command, and the directories they mean.

A path, `NAME:sft` (the final checkpoint of a run's stage), `NAME:ppo@40` (a saved step), or `hf:ORG/NAME[@REVISION]`
(on the hub, hub.py). Its config.json says whether a model is a policy or a reward model. Opening models needs torch and
is done in pretrained.py; scorers that are not models (`pocket:judge`, `path.py:function`) are opened in scoring.py.
"""

import json
import re
import shlex
from pathlib import Path

from engine.core.errors import CheckpointError, ConfigError, did_you_mean
from engine.core.hub import hub_directory, is_hub
from engine.rundir.directory import DIRECTORIES, find_run
from engine.rundir.runtoml import read_run_toml

POCKET = "pocket:"
GGUF = ".gguf"
MODEL_STAGES = ("pretrain", "sft", "rm", "ppo")


def is_pocket(reference: str) -> bool:
    """Whether a reference names a scorer of the embedded world."""
    return reference.startswith(POCKET)


def is_function(reference: str) -> bool:
    """Whether a reference names a Python function, `path.py:function`."""
    return re.fullmatch(r".+\.py:\w+", reference) is not None


def is_model(reference: str) -> bool:
    """Whether a scorer's reference names a model, not a scorer of the world or a function."""
    return not is_pocket(reference) and not is_function(reference)


def resolve_reference(reference: str, home: Path) -> Path:
    """The checkpoint directory that a reference means.

    Raises: ConfigError for an unknown stage; FileError for a run that does not exist; CheckpointError where there is no
    model directory.
    """
    if is_hub(reference):
        return hub_directory(reference)
    if reference.endswith(GGUF):
        raise CheckpointError(
            f"{reference} is a GGUF file, which cannot be opened; pass the Hugging Face directory it was converted from"
        )
    path = _directory(reference)
    if path is not None:
        return path
    if (parts := run_and_place(reference)) is None:
        hint = f"; for a model of that run, write {reference}:ppo" if _directory(str(home / reference)) else ""
        raise CheckpointError(f"model directory {reference} not found{hint}")
    name, place = parts
    stage, at, step = place.partition("@")
    stage, run = stage_named(stage), find_run(home, name)
    if at:
        steps = run.saved_steps(stage)
        if not step.isdigit() or int(step) not in steps:
            known = ", ".join(map(str, steps)) or "none"
            raise CheckpointError(f"run {name!r} has no {stage} checkpoint of step {step} (steps: {known})")
        return run.step_dir(stage, int(step))
    found = run.finished(stage)
    if found is None:
        read_run_toml(run)  # reports what is wrong with a damaged one
        raise CheckpointError(
            f"run {name!r} has not finished {stage} yet; type: slmctl {stage} --run {shlex.quote(name)}"
        )
    return found


def run_and_place(reference: str) -> tuple[str, str] | None:
    """The parts of NAME:STAGE, such as ("tiny", "ppo@20"); None for anything but a model of a run."""
    name, mark, place = reference.rpartition(":")
    if is_hub(reference) or not is_model(reference) or not mark or "/" in name or _directory(reference) is not None:
        return None
    return name, place


def resolve_policy(reference: str, home: Path) -> Path:
    """The directory of a policy. Raises: as `resolve_reference`; CheckpointError for a reward model."""
    directory = resolve_reference(reference, home)
    if _is_reward_model(directory):
        parts = run_and_place(reference)
        hint = "" if parts is None else f", such as {reference_to(parts[0], 'sft')}"
        raise CheckpointError(
            f"{reference} is a reward model, which scores responses and cannot generate any; pass a policy{hint}"
        )
    return directory


def resolve_scorer(reference: str, home: Path) -> Path:
    """The directory of a reward model.

    Raises: as `resolve_reference`; CheckpointError for a policy; ConfigError for Python code without a function's name.
    """
    if reference.endswith(".py"):
        raise ConfigError(f"{reference} needs the name of a function; pass {reference}:FUNCTION")
    directory = resolve_reference(reference, home)
    if _is_reward_model(directory) is False:
        raise CheckpointError(f"{reference} is a policy, which cannot score responses; pass a reward model")
    return directory


def _is_reward_model(directory: Path) -> bool | None:
    """Whether config.json describes a reward model; None where it cannot be read, which opening it will report."""
    try:
        names = json.loads((directory / "config.json").read_text(encoding="utf-8"))["architectures"]
        return any("SequenceClassification" in name for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def reference_to(run: str, stage: str) -> str:
    """The reference to a stage's result: tiny:ppo, and tiny:base for pretrain."""
    return f"{run}:{DIRECTORIES.get(stage, stage)}"


def stage_named(text: str) -> str:
    """The stage of a name or of its directory's name ("base" is pretrain).

    Raises: ConfigError for any other word.
    """
    by_directory = {directory: stage for stage, directory in DIRECTORIES.items()}
    stage = by_directory.get(text, text)
    if stage not in MODEL_STAGES:
        names = [DIRECTORIES.get(known, known) for known in MODEL_STAGES]
        raise ConfigError(f"no stage {text!r} has models{did_you_mean(text, names)} (stages: {', '.join(names)})")
    return stage


def _directory(path: str) -> Path | None:
    """The directory at a path; None where there is none, the path is too long, or its ~user is unknown."""
    try:
        directory = Path(path).expanduser()
        return directory if directory.is_dir() else None
    except (OSError, RuntimeError):
        return None
