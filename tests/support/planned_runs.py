"""Runs with stages marked as started or finished, for tests of planning."""

from pathlib import Path
from typing import Any

from engine.core.events import StageStarted, StepCompleted
from engine.run.planning import Prepared, RunRequest, begin_fresh, prepare
from engine.rundir.directory import RunDir

ROWS = '[{"prompt": "a", "completion": "b", "chosen": "c", "rejected": "d"}]'
"""The text of a file that is valid as demonstrations and as comparisons."""
OTHER_ROWS = ROWS.replace('"a"', '"e"')


def plan(home: Path, target: str = "run", environ: dict[str, str] | None = None, **fields: Any) -> Prepared:
    prepared = prepare(RunRequest(target, **fields), home, environ or {"OMP_NUM_THREADS": "2"})
    if prepared.dropped:
        begin_fresh(prepared)
    return prepared


def start(run: RunDir, *stages: str) -> None:
    for stage in stages:
        run.append(StageStarted(stage, 10))
        run.append(StepCompleted(stage, 1, {}))


def finish(run: RunDir, *stages: str) -> None:
    start(run, *stages)
    for stage in stages:
        run.final(stage).mkdir(parents=True)
        (run.final(stage) / "model.safetensors").write_text(f"{run.name} {stage}")
    if "eval" in stages:
        run.result.write_text("{}")


def model_in(home: Path) -> str:
    """A directory that looks like a model."""
    (home / "model").mkdir(exist_ok=True)
    (home / "model" / "config.json").write_text("{}")
    return str(home / "model")


def own_preset(home: Path) -> str:
    file = home / "bare.toml"
    file.write_text("[ppo]\nsteps = 3\n")
    return str(file)
