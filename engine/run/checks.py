"""What planning refuses before anything is written or deleted: changes to a stage that has started, settings and inputs
that cannot work, missing data. Each error names the way on.

Which stages have started, and what a request changes, is planning.py's job; whether a value is in range config.py's.
"""

import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from engine.core.config import Config
from engine.core.errors import ConfigError, FileError, RunConflictError
from engine.pocket.labelers import persona_named
from engine.pocket.prompts import Split, all_requests
from engine.run.inputs import check_scorer
from engine.run.pipeline import NAMES, UNTIL_FINISHED, Change
from engine.rundir.directory import STAGES, RunDir
from engine.rundir.references import run_and_place, stage_named
from engine.rundir.runtoml import Input, RunRecord, StageInputs


def refuse_settings(
    run: str, changes: Iterable[Change], origins: Mapping[str, str], fixed: Collection[str], started: Collection[str]
) -> None:
    """Checks that no change touches the `fixed` stages; a change of how far a stage goes only matters to those that
    have `started` and are not finished.

    Raises: RunConflictError naming the first setting, both values and the origin of the new one.
    """
    for change in changes:
        held = started if change.name in UNTIL_FINISHED else fixed
        hit = [stage for stage in STAGES if stage in held and stage in change.stages]
        if hit:
            raise RunConflictError(
                f"run {run!r} has started {hit[0]} with {change.name} = {change.old}, and now it is "
                f"{change.new} (from {origins[change.name]}); {ways_on(hit[0], run)}"
            )


def refuse_inputs(run: str, stage: str, recorded: Mapping[str, Input], now: Mapping[str, Input | None]) -> None:
    """Checks that the inputs of a stage that has started are `now` the recorded ones. Raises: RunConflictError."""
    for option, new in now.items():
        old = recorded.get(option)
        if old is new or (old is not None and old.same_content(new)):
            continue
        before, after = (f"no --{option}" if one is None else one.name for one in (old, new))
        if before == after and old is not None and new is not None and old.fields != new.fields:
            before, after = (f"--map {one.fields or 'none'}" for one in (old, new))
        detail = "which has changed since" if before == after else f"and now it is {after}"
        raise RunConflictError(f"run {run!r} has started {stage} with {before}, {detail}; {ways_on(stage, run)}")


def ways_on(stage: str, run: str) -> str:
    """What to type where `stage` has started and should be different."""
    run = shlex.quote(run)
    ways = f"use --run NEW, or --run NEW --from {run} to share its stages"
    if stage == "eval":
        return ways
    again = "rm" if stage == "comparisons" else stage
    return f"{ways}, or slmctl {again} --run {run} --fresh with the change to restart {again} and all later stages"


def refuse_deleted(run: RunDir, todo: Iterable[str], inputs: StageInputs, dropped: Collection[str]) -> None:
    """Checks that no stage to do starts from a model of this run that --fresh deletes and that no earlier stage makes.

    Raises: ConfigError naming the model.
    """
    for stage in todo:
        made = [early for early in dropped if STAGES.index(early) < STAGES.index(stage)]
        for option, given in inputs.get(stage, {}).items():
            if given.kind != "model":
                continue
            owner, place = run_and_place(given.reference) or ("", "")
            named = stage_named(place.partition("@")[0]) if owner == run.name else ""
            inside = any(Path(given.reference).is_relative_to(run.stage_dir(gone).resolve()) for gone in dropped)
            if inside or (named in dropped and (named not in made or "@" in place)):
                raise ConfigError(
                    f"--fresh deletes {given.reference}, which is the --{option} of {stage}; "
                    f"make a new run: --run NEW --from {shlex.quote(run.name)}"
                )


def check_settings(config: Config, inputs: StageInputs, typed: Collection[str], stages: Collection[str]) -> None:
    """Checks that the stages to do can have what settings and inputs ask for; `typed` are the options of this command.

    Raises: ConfigError for responses that leave no room for a prompt (a model from outside has a context of its own),
    more prompts than the world has, an unknown labeler or scorer, or code that was not typed in this command.
    """
    if not any("init" in inputs.get(stage, {}) for stage in ("sft", "ppo")):
        for section in ("comparisons", "ppo", "eval"):
            longest, context = getattr(config, section).max_new_tokens, config.model.context
            if longest >= context:
                raise ConfigError(
                    f"{section}.max_new_tokens {longest} leaves no room for a prompt in model.context {context}"
                )
    held_out = round(config.comparisons.prompts * config.rm.validation_share)
    asked: list[tuple[str, str, int, Split]] = [
        ("sft", "sft.demonstrations", config.sft.demonstrations, "train"),
        ("comparisons", "comparisons.prompts", config.comparisons.prompts, "train"),
        ("comparisons", "rm.validation_share of comparisons.prompts", held_out, "validation"),
        ("eval", "eval.prompts", config.eval.prompts, "test"),
    ]
    for stage, name, count, part in asked:
        drawn = config.world.name and stage in stages and "data" not in inputs.get(stage, {})
        if drawn and count > (most := len(all_requests(part))):
            raise ConfigError(f"{name} is {count}; the {part} split of {config.world.name} has {most} prompts")
    if "comparisons" in stages:
        persona_named(config.comparisons.persona)
    for option, users in (("reward", {"ppo", "eval"}), ("judge", {"ppo"})):
        scorer = inputs.get("ppo", {}).get(option)
        if scorer is not None and users & set(stages):
            check_scorer(option, scorer, option in typed)


def check_supplies(todo: Iterable[str], run: str, record: RunRecord) -> None:
    """Checks that every stage to do has data.

    Raises: FileError naming the first stage that has none, with the command to type.
    """
    if record.config.world.name:
        return
    parent, preset = next(iter(record.parents), None), record.preset_file or record.preset
    maker = ("--from", parent) if parent else ("--preset", preset)  # the run may not exist yet
    named = shlex.join((*maker, "--run", run))
    for stage in todo:
        source = "prompts" if stage == "ppo" else "data"
        if record.input(stage, source) or (stage == "ppo" and record.input("sft", "data")):
            continue
        commands = {
            "comparisons": f"slmctl rm {named} --data FILE",
            "eval": "slmctl eval A B --prompts FILE --judge SCORER",
        }
        raise FileError(
            f"run {run!r} has no {NAMES[stage]} yet and its preset has no world to make one from; type: "
            + commands.get(stage, f"slmctl {stage} {named} --{source} FILE")
        )
