"""What a run refuses to change: settings and inputs of a stage that has begun, each with the ways on.

Which stages have begun, and what a request changes, is planning.py's business.
"""

import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from engine.core.errors import ConfigError, RunConflictError
from engine.run.inputs import input_entry, input_names, is_same_input
from engine.run.pipeline import UNTIL_FINISHED, Change, Inputs
from engine.rundir.directory import STAGES, RunDir
from engine.rundir.references import run_and_place, stage_named


def refuse_settings(
    run: str, changes: Iterable[Change], origins: Mapping[str, str], fixed: Collection[str], begun: Collection[str]
) -> None:
    """Nothing where no change touches the `fixed` stages; how far a stage goes is held against those that are `begun`
    and not finished alone.

    Raises: RunConflictError naming the first setting, both values and where the new one came from.
    """
    for change in changes:
        held = begun if change.name in UNTIL_FINISHED else fixed
        hit = [stage for stage in STAGES if stage in held and stage in change.stages]
        if hit:
            raise RunConflictError(
                f"run {run!r} has started {hit[0]} with {change.name} = {change.old}, and now it is "
                f"{change.new} (from {origins[change.name]}); {ways_on(hit[0], run)}"
            )


def refuse_inputs(run: str, stage: str, recorded: Mapping[str, str], typed: Mapping[str, str], home: Path) -> None:
    """Nothing where what was `typed` for a stage that has begun is what it was given then.

    Raises: RunConflictError with both; FileError, ConfigError as `input_entry`.
    """
    for name, value in typed.items():
        entry = input_entry(stage, name, value, home)
        if not is_same_input(name, recorded, entry):
            old, new = recorded.get(name, f"no --{name}"), entry.get(name, f"no --{name}")
            detail = "the file has changed since" if new == old else f"now it is {new}"
            raise RunConflictError(f"run {run!r} has started {stage} with {old}, and {detail}; {ways_on(stage, run)}")


def refuse_changed(
    run: str, stage: str, given: Mapping[str, str], now: Mapping[str, str], names: Iterable[str]
) -> None:
    """Nothing where the inputs of these `names` are `now` what they were when the stage began.

    Raises: RunConflictError naming the first that is not.
    """
    changed = [given[name] for name in names if not is_same_input(name, given, now)]
    if changed:
        raise RunConflictError(
            f"run {run!r} has started {stage} with {changed[0]}, which has changed since; {ways_on(stage, run)}"
        )


def ways_on(stage: str, run: str) -> str:
    """What to type where `stage` has started and should be another."""
    run = shlex.quote(run)
    ways = f"use --run NEW, or --run NEW --from {run} to share its stages"
    if stage == "eval":
        return ways
    again = "rm" if stage == "comparisons" else stage
    return f"{ways}, or slmctl {again} --run {run} --fresh with the change to do {again} and what follows again"


def refuse_deleted(run: RunDir, todo: Iterable[str], inputs: Inputs, dropped: Collection[str]) -> None:
    """Nothing where no stage to do starts from a model of this run that --fresh deletes and does not make before it.

    Raises: ConfigError naming the model.
    """
    for stage in todo:
        given = inputs.get(stage, {})
        made = [early for early in dropped if STAGES.index(early) < STAGES.index(stage)]
        for option in input_names(given):
            owner, place = run_and_place(given[option]) or ("", "")
            named = stage_named(place.partition("@")[0]) if owner == run.name else ""
            inside = any(Path(given[option]).is_relative_to(run.stage_dir(gone).resolve()) for gone in dropped)
            if inside or (named in dropped and (named not in made or "@" in place)):
                raise ConfigError(
                    f"--fresh deletes {given[option]}, which is the --{option} of {stage}; "
                    f"make a new run: --run NEW --from {shlex.quote(run.name)}"
                )
