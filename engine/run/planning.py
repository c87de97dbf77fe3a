"""Which run, and which of its stages, a command means.

Turns a request into a prepared run directory: resolves the configuration, has what contradicts a started stage refused
(conflicts.py), shares a parent's finished stages, and lists the stages that are left to do. Doing them is run.py's
job, and what depends on what stands in pipeline.py.
"""

import os
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.core.config import Config
from engine.core.errors import ConfigError, FileError, RunConflictError
from engine.core.events import RunResumed
from engine.core.settings import Preset, Resolved, flatten, load_preset, resolve
from engine.core.threads import decide
from engine.run.checks import check_files, check_settings
from engine.run.conflicts import refuse_changed, refuse_deleted, refuse_inputs, refuse_settings
from engine.run.inputs import handed, input_names, read_again
from engine.run.pipeline import (
    COMMON,
    NAMES,
    UNTIL_FINISHED,
    Change,
    Inputs,
    borrowed,
    dependents,
    differences,
    required,
)
from engine.rundir.directory import STAGES, RunDir, check_name, find_run
from engine.rundir.runtoml import RunRecord, hash_path, read_run_toml, write_run_toml

DEFAULT_PRESET = "tiny"


@dataclass(frozen=True)
class RunRequest:
    """What a person asked for.

    `target` is a stage or "run" (all of them); `flags` maps dotted names to typed values.
    """

    target: str
    preset: str | None = None
    run: str | None = None
    parent: str | None = None
    fresh: bool = False
    flags: Mapping[str, object] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def receiver(self) -> str:
        """The stage that `inputs` are for: a whole run takes those of PPO."""
        return "ppo" if self.target == "run" else self.target


@dataclass(frozen=True)
class Prepared:
    """A run directory that is ready, and the stages to do in it, in order; none where all is finished already.

    `made` are those of `stages` that were not asked for but that the target needs; `typed` is what was handed over in
    this command, not in an earlier one. The results of `dropped` go first: `begin_afresh`.
    """

    rundir: RunDir
    record: RunRecord
    target: str
    stages: tuple[str, ...]
    made: tuple[str, ...] = ()
    typed: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    @property
    def last(self) -> str:
        """The stage that ends what was asked for."""
        return "eval" if self.target == "run" else self.target

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return self.record.config

    def inputs(self, stage: str) -> dict[str, str]:
        """What a stage was given: data, init, ref, reward, prompts, where there are any."""
        return dict(self.record.inputs.get(stage, {}))


@dataclass(frozen=True)
class Plan:
    """What a request would come to, and the run as it is `before`."""

    prepared: Prepared
    before: RunRecord | None


def prepare(request: RunRequest, home: Path, environ: Mapping[str, str]) -> Prepared:
    """The run that a request means, its directory written or updated once all of it is checked.

    Where something is to be deleted for --fresh nothing is written yet: that is left to `begin_afresh`.

    Raises: as `plan`; DataError for a row that cannot be used; RunConflictError where another process writes the run.
    """
    planned = plan(request, home, environ)
    prepared = planned.prepared
    check_files(prepared.record.inputs, prepared.stages)
    if prepared.stages:
        _check_shared(prepared.rundir, prepared.record)
    if prepared.record != planned.before and not prepared.dropped:
        with prepared.rundir.lock():
            write_run_toml(prepared.rundir, prepared.record)
    return prepared


def begin_afresh(prepared: Prepared) -> None:
    """Deletes what is to be done afresh, and writes the run's record; the caller holds the run's lock."""
    rundir = prepared.rundir
    started = rundir.started()
    for stage in reversed(prepared.dropped):  # what builds on a stage goes before it
        _delete_stage(rundir, stage)
        if stage in started:
            rundir.append(RunResumed(stage, 0, fresh=True, at=time.time()))
    write_run_toml(rundir, prepared.record)


def plan(request: RunRequest, home: Path, environ: Mapping[str, str]) -> Plan:
    """What a request would come to, the rows of its files unread; nothing is written.

    Raises: ConfigError for a setting or usage that is not allowed; RunConflictError for a change to a stage that has
    started; FileError for a missing file, run or parent stage.
    """
    preset = load_preset(request.preset) if request.preset else None
    rundir = RunDir(home / _run_name(request, preset))
    before = read_run_toml(rundir) if rundir.exists() else None
    dropped: tuple[str, ...] = ()
    if before is None:
        record = _new_record(request, preset, rundir, home, environ)
    else:
        record, dropped = _changed_record(request, preset, rundir, before, home, environ)
    record = replace(record, shared={name: entry for name, entry in record.shared.items() if name not in dropped})
    needed = required(request.target, record.inputs)
    todo = tuple(name for name in needed if name in dropped or not _is_done(name, rundir, record))
    made = () if request.target == "run" else tuple(name for name in todo if name != request.target)
    begun = rundir.started() - set(dropped) if before is not None else set()
    record = _with_inputs_of_now(record, todo, begun, request, rundir.name, home)
    prepared = Prepared(rundir, record, request.target, todo, made, request.inputs, dropped)
    check_supplies(todo, rundir.name, record)
    refuse_deleted(rundir, todo, record.inputs, dropped)
    check_settings(record.config, record.inputs, request.inputs, todo)
    return Plan(prepared, before)


def check_supplies(todo: Iterable[str], run: str, record: RunRecord) -> None:
    """Nothing where every stage to do has its data.

    Raises: FileError naming the first stage that has none, with the command to type.
    """
    if record.config.world.name:
        return
    parent, preset = next(iter(record.parents), None), record.preset_file or record.preset
    maker = ("--from", parent) if parent else ("--preset", preset)  # the run may not be there yet
    named = shlex.join((*maker, "--run", run))
    for stage in todo:
        given = record.inputs.get(stage, {})
        source = "prompts" if stage == "ppo" else "data"
        if stage in ("comparisons", "eval"):
            command = (
                f"slmctl rm {named} --data FILE"
                if stage == "comparisons"
                else "slmctl eval A B --prompts FILE --judge SCORER"
            )
        elif source in given or (stage == "ppo" and "data" in record.inputs.get("sft", {})):
            continue
        else:
            command = f"slmctl {stage} {named} --{source} FILE"
        raise FileError(
            f"run {run!r} has no {NAMES[stage]} yet and its preset has no world to make one from; type: {command}"
        )


def resolve_on(record: RunRecord, request: RunRequest, environ: Mapping[str, str]) -> Resolved:
    """The settings of a run with what a request changes in them, each with its origin. Raises: as `resolve`."""
    preset = load_preset(record.preset_file) if record.preset_file else None
    resolved = resolve(preset, request.overrides, request.flags, environ, record.layer())
    same = flatten(record.config)
    kept = {
        name: record.origins[name] if value == same[name] else resolved.origins[name]
        for name, value in flatten(resolved.config).items()
    }
    return Resolved(resolved.config, kept)


def _run_name(request: RunRequest, preset: Preset | None) -> str:
    if request.parent is not None and (request.run is None or request.run == request.parent):
        raise ConfigError(f"--from {request.parent} makes a new run; name it with --run NEW")
    if request.run is not None:
        return check_name(request.run)
    return check_name(preset.name if preset else DEFAULT_PRESET)


def _new_record(
    request: RunRequest, preset: Preset | None, rundir: RunDir, home: Path, environ: Mapping[str, str]
) -> RunRecord:
    if request.parent is not None:
        return _child_record(request, preset, rundir, find_run(home, request.parent), environ)
    preset = preset or load_preset(DEFAULT_PRESET)
    resolved = _with_threads(resolve(preset, request.overrides, request.flags, environ), environ)
    file = str(preset.file) if preset.file else ""
    return RunRecord(
        preset.name, resolved.config, resolved.origins, file, handed(request.receiver, request.inputs, {}, home)
    )


def _child_record(
    request: RunRequest, preset: Preset | None, rundir: RunDir, parent: RunDir, environ: Mapping[str, str]
) -> RunRecord:
    """A new run that takes a parent's settings and those of its finished stages that the request leaves as they are."""
    old = read_run_toml(parent)
    if preset is not None and preset.name != old.preset:
        raise ConfigError(
            f"run {parent.name!r} was made with preset {old.preset}, so --from cannot go with {preset.name}"
        )
    resolved = resolve_on(old, request, environ)
    differing = [change for change in differences(old.config, resolved.config) if change.name not in UNTIL_FINISHED]
    if request.target != "run":
        differing = [change for change in differing if change.name not in COMMON]
    redone = {stage for change in differing for stage in change.stages} | {"eval"}
    redone |= set() if request.target == "run" else {request.target}
    redone |= {later for stage in tuple(redone) for later in dependents(stage)}
    shared = {stage: parent.finished(stage) for stage in STAGES if stage not in redone}
    entries = {
        stage: {"run": parent.name, "path": os.path.relpath(path, rundir.path), "sha256": hash_path(path)}
        for stage, path in shared.items()
        if path is not None
    }
    link = {"path": os.path.relpath(parent.path, rundir.path), "sha256": hash_path(parent.run_toml)}
    return RunRecord(
        old.preset,
        resolved.config,
        resolved.origins,
        old.preset_file,
        handed(request.receiver, request.inputs, old.inputs, parent.path.parent),
        entries,
        {parent.name: link},
    )


def _changed_record(
    request: RunRequest,
    preset: Preset | None,
    rundir: RunDir,
    before: RunRecord,
    home: Path,
    environ: Mapping[str, str],
) -> tuple[RunRecord, tuple[str, ...]]:
    """The record of an existing run with the request's changes, and the stages that are to be done afresh.

    Other stages that have started take no change.
    """
    if preset is not None and (preset.name, str(preset.file or "")) != (before.preset, before.preset_file):
        shown = before.preset_file or before.preset
        raise RunConflictError(f"run {rundir.name!r} was made with preset {shown}; use --run NEW")
    if request.parent is not None and request.parent not in before.parents:
        raise RunConflictError(
            f"run {rundir.name!r} exists already; --from makes a new run, so name another with --run"
        )
    resolved = resolve_on(before, request, environ)
    changes = differences(before.config, resolved.config)
    given = handed(request.receiver, request.inputs, before.inputs, home)
    dropped = _dropped(request.target, given, changes) if request.fresh else ()
    fixed = (rundir.started() | set(before.shared)) - set(dropped)
    begun = {stage for stage in fixed if not _is_done(stage, rundir, before)}
    refuse_settings(rundir.name, changes, resolved.origins, fixed, begun)
    if request.receiver in fixed:
        recorded = before.inputs.get(request.receiver, {})
        refuse_inputs(rundir.name, request.receiver, recorded, request.inputs, home)
    return replace(before, config=resolved.config, origins=resolved.origins, inputs=given), dropped


def _with_inputs_of_now(
    record: RunRecord, todo: Iterable[str], begun: Iterable[str], request: RunRequest, run: str, home: Path
) -> RunRecord:
    """The record with the inputs of the stages to do read again.

    What a stage has begun with may not have changed, nor what it reads of an earlier stage that is done. Models of this
    very run are left to the stages, which make them.
    """
    todo, inputs, begun = tuple(todo), dict(record.inputs), set(begun)
    for stage in todo:
        given = inputs.get(stage, {})
        typed = request.inputs if stage == request.receiver else {}
        names = [name for name in input_names(given) if name not in typed and not given[name].startswith(f"{run}:")]
        now = read_again(stage, given, names, home, newest=stage not in begun)
        if stage in begun:
            refuse_changed(run, stage, given, now, names)
        inputs[stage] = now
        for owner, name in borrowed(stage, inputs):
            if owner not in todo and name in inputs.get(owner, {}):
                now = read_again(owner, inputs[owner], [name], home)
                refuse_changed(run, owner, inputs[owner], now, [name])
    return replace(record, inputs={stage: given for stage, given in inputs.items() if given})


def _with_threads(resolved: Resolved, environ: Mapping[str, str]) -> Resolved:
    """The same with the number of threads filled in: they change sums, so a run keeps what it began with."""
    if resolved.config.threads is not None:
        return resolved
    threads = decide(None, False, environ).threads
    origin = "OMP_NUM_THREADS" if "OMP_NUM_THREADS" in environ else "this machine's cores"
    config = resolved.config.model_copy(update={"threads": threads})
    return Resolved(config, {**resolved.origins, "threads": origin})


def _dropped(target: str, inputs: Inputs, changes: Iterable[Change]) -> tuple[str, ...]:
    """What --fresh does again: the target and what builds on it; a reward model's own comparisons where they change."""
    if target == "run":
        return STAGES
    drawn = target == "rm" and "data" not in inputs.get("rm", {})
    anew = drawn and any(change.stages and change.stages[0] == "comparisons" for change in changes)
    first = "comparisons" if anew else target
    return (first, *dependents(first))


def _is_done(stage: str, rundir: RunDir, record: RunRecord) -> bool:
    return stage in record.shared or rundir.finished(stage) is not None


def _check_shared(rundir: RunDir, record: RunRecord) -> None:
    for stage, entry in record.shared.items():
        path = (rundir.path / entry["path"]).resolve()
        if not path.is_dir() or hash_path(path) != entry["sha256"]:
            state = "has changed" if path.is_dir() else "is gone"
            raise FileError(f"the {NAMES[stage]} that run {rundir.name!r} shares with {entry['run']!r} {state}: {path}")


def _delete_stage(rundir: RunDir, stage: str) -> None:
    """Takes a stage's directory out of the way in one move, then deletes it."""
    directory = rundir.stage_dir(stage)
    if directory.exists():
        doomed = directory.with_name(f".{directory.name}.deleted")
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(directory, doomed)
        shutil.rmtree(doomed)
    if stage == "eval":
        rundir.result.unlink(missing_ok=True)
        rundir.eval.unlink(missing_ok=True)
