"""What a labelling session is opened with: what was typed, and what follows where nothing was.

The command, the screen and the next round all come through here. Torch-free.
"""

import getpass
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.core.errors import ConfigError, FileError
from engine.data.fields import parse_map
from engine.data.files import Source, is_labels, labels_named
from engine.data.records import Prompt
from engine.run.inputs import NONE
from engine.rundir.directory import LABELS, RunDir, list_runs
from engine.rundir.references import is_model, reference_to, resolve_policy, resolve_scorer
from engine.rundir.runtoml import read_run_toml
from slmctl.label.selection import Recipe, prompts_for, run_of
from slmctl.worker.sampling_settings import checked_sampling

USUAL_SAMPLING: Mapping[str, float] = {"temperature": 1.0, "max_new_tokens": 40}
LONGEST_GUIDELINES = 100_000  # characters
GUIDELINES = "\n".join(
    (
        "Which response would you rather have been given?",
        "",
        "- Is it true, and does it answer what was asked?",
        "- Is it harmless, and honest about what it cannot know?",
        "- Of two that are equally good, the one that is easier to read is better.",
        "",
        "Length alone is no merit, and neither is standing first. Call it a tie (0) only where you would not care "
        "which one you got; press x where both are bad, space where you cannot judge, f where somebody should look "
        "at it again.",
    )
)


@dataclass(frozen=True)
class Wishes:
    """What a person asked for; None and "" are what was left out."""

    models: tuple[str, ...]
    prompts: str | None = None
    map: tuple[str, ...] = ()
    k: int = 2
    goal: int = 0
    db: str | None = None
    annotator: str | None = None
    scorer: str | None = None
    selection: str = "random"
    control: float = 0.25
    guidelines: str | None = None
    sampling: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Sitting:
    """All that a session needs. `source` is the person's own file of prompts, if any."""

    recipe: Recipe
    prompts: list[Prompt]
    source: Source | None
    labels: Path
    annotator: str
    goal: int
    guidelines: str


def sit(wishes: Wishes, home: Path) -> Sitting:
    """The session that these wishes make.

    Raises: ConfigError for what cannot be had together; CheckpointError for a model that is not there; FileError,
    DataError for files.
    """
    for name in wishes.models:
        resolve_policy(name, home)
    run = run_of(wishes.models[0], home) if wishes.models else None
    scorer = _scorer(wishes, run, home)
    sampling = checked_sampling({**_usual_sampling(run), **wishes.sampling})
    recipe = Recipe(wishes.models, wishes.k, sampling, scorer, wishes.selection, wishes.control, wishes.seed).checked()
    source = Source(wishes.prompts, parse_map(list(wishes.map))) if wishes.prompts else None
    return Sitting(
        recipe,
        prompts_for(wishes.models, home, source, wishes.seed),
        source,
        labels_of(wishes.db, run),
        wishes.annotator or login_name(),
        wishes.goal,
        read_guidelines(wishes.guidelines),
    )


def labels_of(db: str | None, run: RunDir | None) -> Path:
    """The label database: the one that was named, else that of the run, else one in this folder.

    Raises: ConfigError for a name by which no command would know it.
    """
    if db is not None and not (is_labels(db) and labels_named(db)[0] == Path(db).expanduser()):
        raise ConfigError(f"--db is {db}; a label database ends in .db, such as labels.db")
    if db is not None:
        return Path(db).expanduser()
    return Path(LABELS) if run is None else run.labels


def read_guidelines(file: str | None) -> str:
    """The text that labelers go by. Raises: FileError where the file cannot be read or is no text."""
    if file is None:
        return GUIDELINES
    try:
        with Path(file).expanduser().open(encoding="utf-8") as opened:
            return opened.read(LONGEST_GUIDELINES)
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"--guidelines: cannot read {file}: {error}") from error


def login_name() -> str:
    """The person's name on this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def policies(home: Path) -> list[str]:
    """The finished policies of all runs, the best of each run first: what there is to label."""
    found = []
    for run in list_runs(home):
        found += [reference_to(run.name, stage) for stage in ("ppo", "sft") if run.finished(stage) is not None]
    return found


def _scorer(wishes: Wishes, run: RunDir | None, home: Path) -> str:
    if wishes.scorer == NONE:
        return ""
    if wishes.scorer is not None:
        if is_model(wishes.scorer):
            resolve_scorer(wishes.scorer, home)
        return wishes.scorer
    return f"{run.name}:rm" if run is not None and run.finished("rm") is not None else ""


def _usual_sampling(run: RunDir | None) -> Mapping[str, float]:
    """What PPO of the run samples with."""
    if run is None:
        return USUAL_SAMPLING
    ppo = read_run_toml(run).config.ppo
    return {"temperature": ppo.temperature, "max_new_tokens": ppo.max_new_tokens}
