"""Which run a command means, and which of its stages are left to do.

Turns a request into a prepared run directory: resolves the configuration, reads the inputs, refuses what contradicts a
started stage (checks.py), shares a parent's finished stages, and lists the stages to do. Running them is driver.py's
job, and the dependencies between stages are in pipeline.py.
"""

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from engine.core.config import Config
from engine.core.errors import ConfigError, FileError, RunConflictError
from engine.core.events import RunResumed
from engine.core.settings import Preset, Resolved, flatten, load_preset, resolve
from engine.core.threads import decide
from engine.data.readers import LoadedRecords
from engine.run import checks
from engine.run.inputs import InputReader, with_typed
from engine.run.pipeline import (
    COMMON,
    NAMES,
    READS,
    UNTIL_FINISHED,
    Change,
    borrowed,
    changed_settings,
    dependents,
    required,
)
from engine.rundir.directory import STAGES, RunDir, check_name, find_run
from engine.rundir.runtoml import Input, RunRecord, StageInputs, hash_path, read_run_toml, write_run_toml

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

    @property
    def options(self) -> set[str]:
        """The options of `inputs`; a field map counts as the option of its rows."""
        return {READS[self.receiver][0] if name == "map" else name for name in self.inputs}


@dataclass(frozen=True)
class Prepared:
    """A run directory that is ready, and the stages to do in it, in order; none where everything is finished.

    `made` are those of `stages` that were not asked for but that the target needs; `typed` are the options of this
    command, in contrast to those of an earlier one. The results of `dropped` are deleted first, by `begin_fresh`.
    `before` is the record that the directory holds, None for a new run.
    """

    rundir: RunDir
    record: RunRecord
    reader: InputReader = field(compare=False)
    target: str
    stages: tuple[str, ...]
    made: tuple[str, ...] = ()
    typed: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    before: RunRecord | None = None

    @property
    def last(self) -> str:
        """The last stage of the target."""
        return "eval" if self.target == "run" else self.target

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return self.record.config

    def inputs(self, stage: str) -> Mapping[str, Input]:
        """What a stage was given, by option: data, prompts, init, ref, reward, judge."""
        return self.record.inputs.get(stage, {})

    def records(self, stage: str, option: str, last: bool = False) -> LoadedRecords[Any] | None:
        """The rows that a stage was given as data or prompts, parsed, and freed at the `last` use; None without any."""
        given = self.record.input(stage, option)
        return None if given is None else self.reader.records(stage, given, last)


def prepare(request: RunRequest, home: Path, environ: Mapping[str, str]) -> Prepared:
    """The run that a request means, its directory written or updated once everything is checked.

    Where --fresh deletes something, nothing is written yet: that is left to `begin_fresh`.

    Raises: as `plan`; DataError for a row that cannot be used; RunConflictError where another process writes the run.
    """
    prepared = plan(request, home, environ, keep_rows=True)
    for stage in prepared.stages:
        if stage in READS:
            prepared.records(stage, READS[stage][0])
    for stage, entry in prepared.record.shared.items() if prepared.stages else ():
        path = (prepared.rundir.path / entry["path"]).resolve()
        if not path.is_dir() or hash_path(path) != entry["sha256"]:
            state = "has changed" if path.is_dir() else "is gone"
            run, parent = prepared.rundir.name, entry["run"]
            raise FileError(f"the {NAMES[stage]} that run {run!r} shares with {parent!r} {state}: {path}")
    if prepared.record != prepared.before and not prepared.dropped:
        with prepared.rundir.lock():
            write_run_toml(prepared.rundir, prepared.record)
    return prepared


def begin_fresh(prepared: Prepared) -> None:
    """Deletes the stages to be restarted, and writes the run's record; the caller holds the run's lock."""
    rundir = prepared.rundir
    started = rundir.started()
    for stage in reversed(prepared.dropped):  # later stages build on earlier ones, so they go first
        if (directory := rundir.stage_dir(stage)).exists():
            deleted = directory.with_name(f".{directory.name}.deleted")
            shutil.rmtree(deleted, ignore_errors=True)
            os.replace(directory, deleted)  # renamed first, so that no half of it keeps the name
            shutil.rmtree(deleted)
        if stage == "eval":
            rundir.result.unlink(missing_ok=True)
            rundir.eval.unlink(missing_ok=True)
        if stage in started:
            rundir.append(RunResumed(stage, 0, fresh=True, at=time.time()))
    write_run_toml(rundir, prepared.record)


def plan(request: RunRequest, home: Path, environ: Mapping[str, str], *, keep_rows: bool = False) -> Prepared:
    """What a request would do; nothing is written, and rows are only read to be kept.

    Raises: ConfigError for a setting or usage that is not allowed; RunConflictError for a change to a stage that has
    started; FileError for a missing file, run or parent stage.
    """
    preset = load_preset(request.preset) if request.preset else None
    rundir = RunDir(home / _run_name(request, preset))
    before = read_run_toml(rundir) if rundir.exists() else None
    reader = InputReader(home, keep_rows)
    dropped: tuple[str, ...] = ()
    if before is not None:
        record, dropped = _changed_record(request, preset, rundir, before, reader, environ)
    elif request.parent is not None:
        record = _child_record(request, preset, rundir, find_run(home, request.parent), reader, environ)
    else:
        record = _new_record(request, preset or load_preset(DEFAULT_PRESET), reader, environ)
    record = replace(record, shared={name: entry for name, entry in record.shared.items() if name not in dropped})
    needed = required(request.target, record.inputs)
    todo = tuple(name for name in needed if name in dropped or not _is_done(name, rundir, record))
    made = () if request.target == "run" else tuple(name for name in todo if name != request.target)
    started = rundir.started() - set(dropped) if before is not None else set()
    record = _with_current_inputs(record, todo, started, request, rundir.name, reader)
    checks.check_supplies(todo, rundir.name, record)
    checks.refuse_deleted(rundir, todo, record.inputs, dropped)
    checks.check_settings(record.config, record.inputs, request.inputs, todo)
    return Prepared(rundir, record, reader, request.target, todo, made, request.inputs, dropped, before)


def resolve_on(record: RunRecord, request: RunRequest, environ: Mapping[str, str]) -> Resolved:
    """The settings of a run with the request's changes, each with its origin. Raises: as `resolve`."""
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
        raise ConfigError(f"--from {request.parent} creates a new run; name it with --run NEW")
    if request.run is not None:
        return check_name(request.run)
    return check_name(preset.name if preset else DEFAULT_PRESET)


def _new_record(request: RunRequest, preset: Preset, reader: InputReader, environ: Mapping[str, str]) -> RunRecord:
    """A new run with the settings of a preset."""
    resolved = resolve(preset, request.overrides, request.flags, environ)
    config, origins = resolved.config, resolved.origins
    if config.threads is None:  # the number of threads changes sums, so a run keeps the one it started with
        config = config.model_copy(update={"threads": decide(None, False, environ).threads})
        origin = "OMP_NUM_THREADS" if "OMP_NUM_THREADS" in environ else "this machine's cores"
        origins = {**origins, "threads": origin}
    file = str(preset.file) if preset.file else ""
    inputs = with_typed(request.receiver, request.inputs, {}, reader)
    return RunRecord(preset.name, config, origins, file, inputs, day=date.today().isoformat())


def _child_record(
    request: RunRequest,
    preset: Preset | None,
    rundir: RunDir,
    parent: RunDir,
    reader: InputReader,
    environ: Mapping[str, str],
) -> RunRecord:
    """A new run with a parent's settings that shares those of its finished stages that the request does not change."""
    old = read_run_toml(parent)
    if preset is not None and preset.name != old.preset:
        raise ConfigError(
            f"run {parent.name!r} was made with preset {old.preset}, so --from cannot go with {preset.name}"
        )
    resolved = resolve_on(old, request, environ)
    differing = [
        change for change in changed_settings(old.config, resolved.config) if change.name not in UNTIL_FINISHED
    ]
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
    return replace(
        old,
        config=resolved.config,
        origins=resolved.origins,
        inputs=with_typed(request.receiver, request.inputs, old.inputs, reader),
        shared=entries,
        parents={parent.name: link},
        day=date.today().isoformat(),
    )


def _changed_record(
    request: RunRequest,
    preset: Preset | None,
    rundir: RunDir,
    before: RunRecord,
    reader: InputReader,
    environ: Mapping[str, str],
) -> tuple[RunRecord, tuple[str, ...]]:
    """The record of an existing run with the request's changes, and the stages that --fresh restarts.

    Other stages that have started take no change.
    """
    if preset is not None and (preset.name, str(preset.file or "")) != (before.preset, before.preset_file):
        shown = before.preset_file or before.preset
        raise RunConflictError(f"run {rundir.name!r} was made with preset {shown}; use --run NEW")
    if request.parent is not None and request.parent not in before.parents:
        raise RunConflictError(
            f"run {rundir.name!r} exists already; --from creates a new run, so name another with --run"
        )
    resolved = resolve_on(before, request, environ)
    changes = changed_settings(before.config, resolved.config)
    given = with_typed(request.receiver, request.inputs, before.inputs, reader)
    dropped = _dropped(request.target, given, changes) if request.fresh else ()
    fixed = (rundir.started() | set(before.shared)) - set(dropped)
    unfinished = {stage for stage in fixed if not _is_done(stage, rundir, before)}
    checks.refuse_settings(rundir.name, changes, resolved.origins, fixed, unfinished)
    receiver = request.receiver
    if receiver in fixed:
        now = {option: given.get(receiver, {}).get(option) for option in request.options}
        checks.refuse_inputs(rundir.name, receiver, before.inputs.get(receiver, {}), now)
    return replace(before, config=resolved.config, origins=resolved.origins, inputs=given), dropped


def _with_current_inputs(
    record: RunRecord, todo: Iterable[str], started: Iterable[str], request: RunRequest, run: str, reader: InputReader
) -> RunRecord:
    """The record with the inputs of the stages to do as they are now; labels made since count for stages not started.

    The inputs of a stage that has started may not have changed, nor what it reads of an earlier stage that is done.
    Models of this very run are left to the stages, which make them.
    """
    todo, inputs, started = tuple(todo), dict(record.inputs), set(started)
    for stage in todo:
        given = inputs.get(stage, {})
        typed = request.options if stage == request.receiver else set()
        now = {
            option: reader.read(stage, option, one.name if stage in started else one.reference, one.fields)
            for option, one in given.items()
            if option not in typed and not one.reference.startswith(f"{run}:")
        }
        if stage in started:
            checks.refuse_inputs(run, stage, given, now)
        inputs[stage] = {**given, **now}
        for owner, option in borrowed(stage, inputs):
            if owner not in todo and (one := record.input(owner, option)) is not None:
                now_given = {option: reader.read(owner, option, one.name, one.fields)}
                checks.refuse_inputs(run, owner, inputs[owner], now_given)
    return replace(record, inputs={stage: given for stage, given in inputs.items() if given})


def _dropped(target: str, inputs: StageInputs, changes: Iterable[Change]) -> tuple[str, ...]:
    """The stages that --fresh restarts: the target and all later ones; a reward model's comparisons if they change."""
    if target == "run":
        return STAGES
    drawn = target == "rm" and "data" not in inputs.get("rm", {})
    redrawn = drawn and any(change.stages and change.stages[0] == "comparisons" for change in changes)
    first = "comparisons" if redrawn else target
    return (first, *dependents(first))


def _is_done(stage: str, rundir: RunDir, record: RunRecord) -> bool:
    return stage in record.shared or rundir.finished(stage) is not None
