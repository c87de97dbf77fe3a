"""Stopping, renaming and deleting a run, for the command line and the playground.

A run that a process is writing stays as it is, and so does one whose files another run shares. Links are never followed
out of the folder of the runs.
"""

import os
import shutil
from pathlib import Path

from engine.core.errors import ConfigError, FileError, RunConflictError
from engine.rundir.directory import RunDir, check_name, find_run, list_runs
from engine.rundir.heartbeat import make_request
from engine.rundir.runtoml import read_run_toml
from slmctl.runs.overview import Overview, RunSummary


def stop_run(home: Path, name: str, now: float) -> None:
    """Requests that a run finish its step, save and end.

    Raises: ConfigError if no process is working on the run; FileError if it does not exist or cannot be written to.
    """
    run = find_run(home, name)
    if not (found := _summary(home, name, now)).active:
        raise ConfigError(f"run {name!r} is not running (its state: {found.state})")
    try:
        make_request(run, "stop")
    except OSError as error:
        raise FileError(f"cannot write to {run.path}: {error.strerror}") from error


def delete_run(home: Path, name: str, now: float) -> None:
    """Deletes a run with its models and labels. Raises: as `check_unused`; FileError if a file cannot be deleted."""
    run = find_run(home, name)
    check_unused(home, name, now)
    hidden = run.path.with_name(f".deleted-{os.getpid()}-{name}")
    with run.lock():
        _move(run.path, hidden)
    try:
        RunDir(hidden).run_toml.unlink()  # what may remain is no run
        shutil.rmtree(hidden)
    except OSError as error:
        raise FileError(f"run {name!r} is deleted, but {error.filename} remains: {error.strerror}") from error


def rename_run(home: Path, old: str, new: str, now: float) -> None:
    """Gives a run another name. Raises: as `check_unused`; ConfigError for a name that is taken or not allowed."""
    run, target = find_run(home, old), home / check_name(new)
    if os.path.lexists(target):
        raise ConfigError(f"cannot rename {old!r} to {new!r}: {target} exists; choose another name")
    check_unused(home, old, now)
    with run.lock():
        _move(run.path, target)


def check_unused(home: Path, name: str, now: float) -> None:
    """Checks that nothing needs a run where it is.

    Raises: RunConflictError naming the process that writes it, or the runs that use its files; ConfigError for a link.
    """
    path = home / name
    if path.is_symlink():
        raise ConfigError(f"{path} is a link to {os.readlink(path)}; change it yourself, slmctl does not follow links")
    if (found := _summary(home, name, now)).active:
        raise RunConflictError(f"run {name!r} is {found.state}; stop it first: slmctl stop {name}")
    if users := runs_using(home, name):
        raise RunConflictError(f"run {name!r} shares its stages with {', '.join(users)}; delete those runs first")


def runs_using(home: Path, name: str) -> list[str]:
    """The other runs that share stages of a run, or were given its files as inputs."""
    root = (home / name).resolve()
    others = (run for run in list_runs(home) if run.name != name)
    return [run.name for run in others if any(path.is_relative_to(root) for path in _used_paths(run))]


def _used_paths(run: RunDir) -> list[Path]:
    paths = list(run.shared().values())
    try:
        inputs = [given for options in read_run_toml(run).inputs.values() for given in options.values()]
    except FileError:
        return paths  # a damaged run cannot be resumed
    return paths + [Path(given.reference).resolve() for given in inputs if given.kind in ("file", "labels", "model")]


def _summary(home: Path, name: str, now: float) -> RunSummary:
    return next(run for run in Overview(home).rows(now) if run.run == name)


def _move(path: Path, target: Path) -> None:
    try:
        os.rename(path, target)
    except OSError as error:
        raise FileError(f"cannot rename {path}: {error.strerror}") from error
