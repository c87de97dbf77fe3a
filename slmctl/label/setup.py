"""What a labeling session is set up with: the options as typed, and what they resolve to.

The command, the screen and the next round all start here. Torch-free.
"""

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.core.errors import ConfigError, FileError
from engine.core.seeding import python_rng
from engine.data.files import Source, is_labels, labels_named, parse_map
from engine.data.readers import read_demonstrations, read_prompts
from engine.data.records import Prompt
from engine.pocket.prompts import draw_requests
from engine.run.inputs import NONE, source_of
from engine.rundir.directory import LABELS, RunDir, find_run, list_runs
from engine.rundir.references import is_model, reference_to, resolve_policy, resolve_scorer, run_and_place
from engine.rundir.runtoml import read_run_toml
from slmctl.label.questions import Recipe
from slmctl.worker.sampling_settings import checked_sampling

DEFAULT_SAMPLING: Mapping[str, float] = {"temperature": 1.0, "max_new_tokens": 40}
POCKET_PROMPTS = 5000
MAX_GUIDELINES = 100_000  # characters
GUIDELINES = "\n".join(
    (
        "Which response would you rather receive?",
        "",
        "- Is it true, and does it answer the question?",
        "- Is it harmless, and honest about what it cannot know?",
        "- If two are equally good, prefer the one that is easier to read.",
        "",
        "Do not reward length or position. Use a tie (0) only if you do not care which one you get. Press x if both "
        "are bad, space if you cannot judge, f to flag the pair for review.",
    )
)


@dataclass(frozen=True)
class LabelOptions:
    """The options of `slmctl label` as typed; None, "" and () are defaults."""

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
class SessionSetup:
    """Everything that a session needs. `source` is the user's own prompt file, if any."""

    recipe: Recipe
    prompts: list[Prompt]
    source: Source | None
    database: Path
    annotator: str
    guidelines: str


def resolve_setup(options: LabelOptions, home: Path) -> SessionSetup:
    """The setup that these options mean in a folder of runs.

    Raises: ConfigError for invalid options; CheckpointError for a missing model; FileError, DataError for files.
    """
    for name in options.models:
        resolve_policy(name, home)
    run = run_of(options.models[0], home) if options.models else None
    scorer = _scorer(options, run, home)
    sampling = checked_sampling({**_default_sampling(run), **options.sampling})
    recipe = Recipe(options.models, options.k, sampling, scorer, options.selection, options.control, options.seed)
    recipe.check()
    source = Source(options.prompts, parse_map(list(options.map))) if options.prompts else None
    return SessionSetup(
        recipe,
        prompts_for(options.models, home, source, options.seed),
        source,
        labels_path(options.db, run),
        options.annotator or login_name(),
        read_guidelines(options.guidelines),
    )


def run_of(model: str, home: Path) -> RunDir | None:
    """The run of a model such as tiny:ppo; None for a path."""
    parts = run_and_place(model)
    return None if parts is None else find_run(home, parts[0])


def prompts_for(models: Sequence[str], home: Path, source: Source | None, seed: int) -> list[Prompt]:
    """The distinct prompts to ask, shuffled by `seed` and models.

    They come from `source`, else from the prompts or demonstrations of the first model's run, else from the train split
    of the pocket world if the run uses it. Raises: ConfigError without any of these; FileError; DataError.
    """
    stream = f"label/prompts/{' '.join(models)}"
    prompts = list(dict.fromkeys(_prompts(models[0], home, source, seed, stream)))
    python_rng(seed, stream).shuffle(prompts)
    return prompts


def labels_path(db: str | None, run: RunDir | None) -> Path:
    """The database in `db`, else the run's, else labels.db in this folder. Raises: ConfigError for another suffix."""
    if db is not None and not (is_labels(db) and labels_named(db)[0] == Path(db).expanduser()):
        raise ConfigError(f"--db must name a file that ends in .db, such as labels.db, got {db}")
    if db is not None:
        return Path(db).expanduser()
    return Path(LABELS) if run is None else run.labels


def read_guidelines(file: str | None) -> str:
    """The labeling guidelines. Raises: FileError if the file cannot be read or is not text."""
    if file is None:
        return GUIDELINES
    try:
        with Path(file).expanduser().open(encoding="utf-8") as opened:
            return opened.read(MAX_GUIDELINES)
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"--guidelines: cannot read {file}: {error}") from error


def login_name() -> str:
    """The user's name on this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def finished_policies(home: Path) -> list[str]:
    """References to the finished policies of all runs, the last stage of a run first."""
    found = []
    for run in list_runs(home):
        found += [reference_to(run.name, stage) for stage in ("ppo", "sft") if run.finished(stage) is not None]
    return found


def _prompts(model: str, home: Path, source: Source | None, seed: int, stream: str) -> list[Prompt]:
    if source is not None:
        return [row.prompt for row in read_prompts(source).records]
    run = run_of(model, home)
    if run is None:
        raise ConfigError(f"no prompts for {model}; pass a file with one prompt a line: --prompts questions.txt")
    record = read_run_toml(run)
    if (given := record.input("ppo", "prompts")) is not None:
        return [row.prompt for row in read_prompts(source_of(given)).records]
    if (given := record.input("sft", "data")) is not None:
        return [row.prompt for row in read_demonstrations(source_of(given)).records]
    if not record.config.world.name:
        raise ConfigError(
            f"run {run.name!r} has no prompts; pass a file with one prompt a line: --prompts questions.txt"
        )
    return [request.text for request in draw_requests("train", POCKET_PROMPTS, seed, stream)]


def _scorer(options: LabelOptions, run: RunDir | None, home: Path) -> str:
    if options.scorer == NONE:
        return ""
    if options.scorer is not None:
        if is_model(options.scorer):
            resolve_scorer(options.scorer, home)
        return options.scorer
    return f"{run.name}:rm" if run is not None and run.finished("rm") is not None else ""


def _default_sampling(run: RunDir | None) -> Mapping[str, float]:
    """The sampling settings of the run's PPO."""
    if run is None:
        return DEFAULT_SAMPLING
    ppo = read_run_toml(run).config.ppo
    return {"temperature": ppo.temperature, "max_new_tokens": ppo.max_new_tokens}
