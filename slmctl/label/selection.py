"""What is asked in a labelling session: which models answer, how responses are drawn and chosen, and which prompts.

Torch-free. Drawing the responses is questions.py's job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.core.errors import ConfigError
from engine.core.seeding import python_rng
from engine.data.files import Source
from engine.data.readers import read_demonstrations, read_prompts
from engine.data.records import Prompt
from engine.pocket.prompts import draw_requests
from engine.run.inputs import source_of
from engine.rundir.directory import RunDir, find_run
from engine.rundir.references import run_and_place
from engine.rundir.runtoml import read_run_toml

SELECTIONS = ("random", "uncertainty")
ASKED = (*SELECTIONS, "control")  # how what is asked here can have been chosen; votes of a chat are none of these
WORLD_PROMPTS = 5000
MOST = 9  # responses a prompt: one digit names each


@dataclass(frozen=True)
class Recipe:
    """How questions are made.

    Of one model `k` responses a prompt are shown, of two models one of each. `scorer` is a reward model or another
    scorer, "" for none; by `selection` "uncertainty" it picks the responses that it can tell apart least, all but a
    share `control` of the prompts.
    """

    models: tuple[str, ...]
    k: int = 2
    sampling: Mapping[str, float] = field(default_factory=dict)
    scorer: str = ""
    selection: str = "random"
    control: float = 0.25
    seed: int = 0

    def checked(self) -> "Recipe":
        """The recipe itself. Raises: ConfigError where it cannot be followed."""
        if not 1 <= len(self.models) <= 2:
            raise ConfigError(f"label takes one model or two, and got {len(self.models)}")
        if not 2 <= self.k <= MOST:
            raise ConfigError(f"-k is {self.k}; it must be 2 to {MOST}")
        if len(self.models) == 2 and self.k != 2:
            raise ConfigError(f"-k is {self.k}, but two models give a pair: leave -k out, or name one model")
        if self.selection not in SELECTIONS:
            raise ConfigError(f"--selection is {self.selection!r}; it must be {' or '.join(SELECTIONS)}")
        if self.selection == "uncertainty" and not self.scorer:
            raise ConfigError("--selection uncertainty needs a reward model to be uncertain: name one with --scorer")
        if not 0 <= self.control <= 1:
            raise ConfigError(f"--control is {self.control}; it is a share, 0 to 1")
        return self


def run_of(model: str, home: Path) -> RunDir | None:
    """The run that a model such as tiny:ppo belongs to; None for a model by its path."""
    parts = run_and_place(model)
    return None if parts is None else find_run(home, parts[0])


def prompts_for(models: Sequence[str], home: Path, source: Source | None, seed: int) -> list[Prompt]:
    """The prompts to ask, each once, in the order in which they are asked: that follows from `seed` and the models.

    Those of `source`; else those that the first model's run was given for PPO or with its demonstrations; else some of
    the train split of the run's world, as many of each kind. Raises: ConfigError where there are none of these;
    FileError; DataError.
    """
    stream = f"label/prompts/{' '.join(models)}"
    prompts = list(dict.fromkeys(_prompts(models[0], home, source, seed, stream)))
    python_rng(seed, stream).shuffle(prompts)
    return prompts


def _prompts(model: str, home: Path, source: Source | None, seed: int, stream: str) -> list[Prompt]:
    if source is not None:
        return [row.prompt for row in read_prompts(source).records]
    run = run_of(model, home)
    if run is None:
        raise ConfigError(f"what should {model} be asked? name a file: --prompts questions.txt, one a line")
    record = read_run_toml(run)
    if (given := record.input("ppo", "prompts")) is not None:
        return [row.prompt for row in read_prompts(source_of(given)).records]
    if (given := record.input("sft", "data")) is not None:
        return [row.prompt for row in read_demonstrations(source_of(given)).records]
    if not record.config.world.name:
        raise ConfigError(f"run {run.name!r} has no prompts of its own: name a file: --prompts questions.txt")
    return [request.text for request in draw_requests("train", WORLD_PROMPTS, seed, stream)]
