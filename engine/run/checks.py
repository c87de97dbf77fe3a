"""What a run's stages ask for, checked before the first of them begins, and before anything is deleted.

Torch-free. Whether the files are there is inputs.py's question, whether a value is in range config.py's.
"""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.core.config import Config
from engine.core.errors import ConfigError, FileError, nearest
from engine.data.files import source_of
from engine.data.readers import load, parser
from engine.pocket.labelers import persona_named, pocket_scorer_name
from engine.pocket.requests import Split, requests
from engine.run.pipeline import READS, Inputs
from engine.rundir.references import is_function, is_pocket


def check_settings(config: Config, inputs: Inputs, typed: Mapping[str, str], stages: Iterable[str]) -> None:
    """Nothing where the `stages` to do can have what settings and inputs ask for; `typed` was handed over just now.

    Raises: ConfigError for more prompts than the world has, a labeler or scorer that it does not have, or code that was
    not typed in this command.
    """
    stages = set(stages)
    if not any("init" in inputs.get(stage, {}) for stage in ("sft", "ppo")):
        check_room(config)
    if config.world.name:
        check_counts(config, {stage for stage in stages if "data" not in inputs.get(stage, {})})
    if "comparisons" in stages:
        persona_named(config.comparisons.persona)
    for option, users in (("reward", {"ppo", "eval"}), ("judge", {"ppo"})):
        scorer = inputs.get("ppo", {}).get(option)
        if scorer is not None and stages & users:
            check_scorer(option, scorer, option in typed)


def check_scorer(option: str, scorer: str, typed: bool) -> None:
    """Nothing where what was handed over as `option` can score, as far as that is known before it is opened.

    Raises: ConfigError for a scorer that the world does not have, or code that was not `typed` in this command;
    FileError, ConfigError as `check_function`.
    """
    if is_pocket(scorer):
        pocket_scorer_name(scorer)
    if is_function(scorer) and not typed:
        raise ConfigError(f"the {option} is code and never taken from a run directory: type --{option} {scorer} again")
    if is_function(scorer):
        check_function(option, scorer)


def check_room(config: Config) -> None:
    """Nothing where the model that pretraining makes has room for a prompt beside the longest response.

    Raises: ConfigError naming the setting; a model from outside has a context of its own.
    """
    for name in ("comparisons", "ppo", "eval"):
        longest = getattr(config, name).max_new_tokens
        if longest >= config.model.context:
            raise ConfigError(
                f"{name}.max_new_tokens {longest} leaves no room for a prompt in model.context {config.model.context}"
            )


def check_files(inputs: Inputs, stages: Iterable[str]) -> None:
    """Nothing where every row of what the `stages` were given can be read. Raises: FileError, DataError."""
    for stage in READS.keys() & set(stages):
        option, kind = READS[stage]
        source = source_of(inputs.get(stage, {}), option)
        if source is not None:
            load(source, kind, parser(kind))


def check_counts(config: Config, stages: Iterable[str]) -> None:
    """Nothing where the world holds as many prompts as the settings of these `stages`, which learn from it, ask for.

    Raises: ConfigError naming the setting, its value and the most there are.
    """
    held_out = round(config.comparisons.prompts * config.rm.validation_share)
    asked: list[tuple[str, str, int, Split]] = [
        ("sft", "sft.demonstrations", config.sft.demonstrations, "train"),
        ("comparisons", "comparisons.prompts", config.comparisons.prompts, "train"),
        ("comparisons", "rm.validation_share of comparisons.prompts", held_out, "validation"),
        ("eval", "eval.prompts", config.eval.prompts, "test"),
    ]
    for stage, name, count, part in asked:
        if stage in stages and count > (most := len(requests(part))):
            raise ConfigError(f"{name} is {count}; the {part} split of {config.world.name} has {most} prompts")


def check_function(option: str, reference: str) -> None:
    """Nothing where the file of `path.py:function` is Python that names such a function; it is not run here.

    Raises: FileError for a file that is no Python; ConfigError where nothing in it has that name.
    """
    file, _, name = reference.rpartition(":")
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise FileError(f"the {option} {file} cannot be read as Python: {error}") from error
    named: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            named.append(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            named += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.Assign):
            named += [target.id for target in node.targets if isinstance(target, ast.Name)]
    if name not in named:
        raise ConfigError(f"{file} holds no function {name!r}{nearest(name, named)}")
