"""How a person names a model, the same everywhere, and the directory that is meant.

A path, `NAME:sft` (a run's final), `NAME:ppo@40` (a saved step), `hf:ORG/NAME[@REVISION]` (of the hub, hub.py). Whether
that answers or scores it says of itself. Opening what lies there needs torch and is done in pretrained.py; scorers that
are not models (`pocket:judge`, `path.py:function`) are known to scoring.py.
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
    """Whether a scorer's reference names a model, rather than a scorer of the world or a function."""
    return not is_pocket(reference) and not is_function(reference)


def resolve_reference(reference: str, home: Path) -> Path:
    """The checkpoint directory that a reference means.

    Raises: ConfigError for a form that is not understood; FileError for a run that does not exist; CheckpointError
    where there is nothing that can be opened.
    """
    if is_hub(reference):
        return hub_directory(reference)
    if reference.endswith(GGUF):
        raise CheckpointError(
            f"{reference} is a GGUF file; models are opened from Hugging Face directories: name what it was made of"
        )
    path = _directory(reference)
    if path is not None:
        return path
    if (parts := run_and_place(reference)) is None:
        hint = f"; a run's model is named like {reference}:ppo" if _directory(str(home / reference)) else ""
        raise CheckpointError(f"there is no model directory {reference}{hint}")
    name, place = parts
    stage, at, step = place.partition("@")
    stage = stage_named(stage)
    return _saved(name, stage, step, home) if at else _final(name, stage, home)


def run_and_place(reference: str) -> tuple[str, str] | None:
    """What NAME:STAGE names, such as ("tiny", "ppo@20"); None for a path and for whatever is no model of a run."""
    name, mark, place = reference.rpartition(":")
    if is_hub(reference) or not is_model(reference) or not mark or "/" in name or _directory(reference) is not None:
        return None
    return name, place


def resolve_policy(reference: str, home: Path) -> Path:
    """The directory of a model that answers. Raises: as `resolve_reference`; CheckpointError for a reward model."""
    directory = resolve_reference(reference, home)
    if _says_that_it_scores(directory):
        parts = run_and_place(reference)
        hint = "" if parts is None else f", such as {reference_to(parts[0], 'sft')}"
        raise CheckpointError(
            f"{reference} is a reward model, which scores responses and gives none; name a policy{hint}"
        )
    return directory


def resolve_scorer(reference: str, home: Path) -> Path:
    """The directory of a model that scores. Raises: as `resolve_reference`; CheckpointError for a policy."""
    directory = resolve_reference(reference, home)
    if _says_that_it_scores(directory) is False:
        raise CheckpointError(f"{reference} is a policy, which gives responses and no scores; name a reward model")
    return directory


def _says_that_it_scores(directory: Path) -> bool | None:
    """Whether a checkpoint calls itself a reward model; None where that cannot be read, as its opening will tell."""
    try:
        names = json.loads((directory / "config.json").read_text(encoding="utf-8"))["architectures"]
        return any("SequenceClassification" in name for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def reference_to(run: str, stage: str) -> str:
    """How a person names a stage's result: tiny:ppo, and tiny:base for pretrain's."""
    return f"{run}:{DIRECTORIES.get(stage, stage)}"


def stage_named(text: str) -> str:
    """A stage by its name or by its directory's ("base" is pretrain).

    Raises: ConfigError for any other word.
    """
    by_directory = {directory: stage for stage, directory in DIRECTORIES.items()}
    stage = by_directory.get(text, text)
    if stage not in MODEL_STAGES:
        names = [DIRECTORIES.get(known, known) for known in MODEL_STAGES]
        raise ConfigError(
            f"there is no model of a stage {text!r}{did_you_mean(text, names)} (stages: {', '.join(names)})"
        )
    return stage


def _directory(path: str) -> Path | None:
    """The directory that a path is, None where it is none, too long for one or of a home that nobody has."""
    try:
        directory = Path(path).expanduser()
        return directory if directory.is_dir() else None
    except (OSError, RuntimeError):
        return None


def _final(name: str, stage: str, home: Path) -> Path:
    run = find_run(home, name)
    found = run.finished(stage)
    if found is None:
        read_run_toml(run)  # what is wrong with it, where it is damaged
        raise CheckpointError(
            f"run {name!r} has not finished {stage} yet; type: slmctl {stage} --run {shlex.quote(name)}"
        )
    return found


def _saved(name: str, stage: str, step: str, home: Path) -> Path:
    run = find_run(home, name)
    steps = run.saved_steps(stage)
    if not step.isdigit() or int(step) not in steps:
        known = ", ".join(map(str, steps)) or "none"
        raise CheckpointError(f"run {name!r} has no saved step {step} of {stage} (saved steps: {known})")
    return run.step_dir(stage, int(step))
