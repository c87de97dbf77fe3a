"""Real slmctl processes with their runs in a temporary folder, and ways to compare two runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from engine.core.events import Event, RunFinished, RunResumed, StageFinished, StepCompleted, to_row, without_clock
from engine.rundir.directory import STAGES, RunDir
from tests.support.paths import SMALL_PRESET

PRESET = str(SMALL_PRESET)
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative for a signal) and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kill:
    """Where a child is killed: before the file operation `after` places past the `nth` that matches `pattern`."""

    pattern: str
    nth: int = 1
    after: int = 0


class Nursery:
    """Forks slmctl processes from one that has torch loaded; one at a time."""

    def __init__(self, home: Path) -> None:
        self.home = home
        command = [sys.executable, "-m", "tests.support.forks"]
        self._process = subprocess.Popen(
            command, env=environ(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *arguments: str, kill: Kill | None = None, log: Path | None = None) -> int:
        """Start a child; its pid. `finish` must be called before the next one."""
        command = {
            "arguments": arguments,
            "out": str(self.home / "out.txt"),
            "err": str(self.home / "err.txt"),
            "log": None if log is None else str(log),
            "kill": None if kill is None else (kill.pattern, kill.nth, kill.after),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def finish(self) -> Ended:
        """Wait for the child to end."""
        code = int(self._line())
        return Ended(code, (self.home / "out.txt").read_text(), (self.home / "err.txt").read_text())

    def run(self, *arguments: str, kill: Kill | None = None, log: Path | None = None) -> Ended:
        """Start a child and wait for it to end."""
        self.start(*arguments, kill=kill, log=log)
        return self.finish()

    def close(self) -> None:
        """End the process; it has no child by now."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def environ(home: Path) -> dict[str, str]:
    """The environment of every process: one thread, its runs in `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLMCTL_", "OMP_", "GOMP_"))}
    settings = {"SLMCTL_RUNS": str(home), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    return kept | settings | {"TOKENIZERS_PARALLELISM": "false"}


def slmctl(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process exactly as a person starts it."""
    command = [sys.executable, "-c", "from slmctl.cli import main; main()", *arguments]
    return subprocess.Popen(
        command, env=environ(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


def ended(process: subprocess.Popen[str]) -> Ended:
    """How a process of `slmctl` ended."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return Ended(process.returncode, out, err)


def arguments(run: str, target: str = "run", *more: str) -> tuple[str, ...]:
    """The command that does `target` in a run of the small preset."""
    return (target, "--preset", PRESET, "--run", run, "--threads", "1", "--quiet", *more)


def wait_for(happened: Callable[[], bool], what: str) -> None:
    """Wait until something has happened."""
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until, f"waited for {what}"
        time.sleep(0.002)


def at_step(run: RunDir, stage: str, step: int) -> Callable[[], bool]:
    """Whether `stage` has completed `step`."""

    def reached() -> bool:
        said = run.read_events()
        return any(isinstance(event, StepCompleted) and (event.stage, event.step) == (stage, step) for event in said)

    return reached


def rows(events: list[Event], stage: str | None = None) -> list[dict[str, Any]]:
    """Events to compare two runs by, without clock fields and RunResumed: all, or what one stage itself said."""
    chosen = [event for event in events if not isinstance(event, RunResumed)]
    if stage is not None:
        chosen = [x for x in chosen if getattr(x, "stage", None) == stage and not isinstance(x, RunFinished)]
    return [without_clock(to_row(event)) for event in chosen]


def assert_same_files(one: Path, other: Path) -> None:
    """Two directories hold the same files: tensors bit for bit, JSON value for value, other text byte for byte."""
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(other)) for path in other.rglob("*") if path.is_file())
    for name in names:
        if name.endswith(".safetensors"):
            tensors, others = load_file(one / name), load_file(other / name)
            assert tensors.keys() == others.keys()
            assert all(tensors[key].equal(others[key]) for key in tensors), f"{other / name} has other tensors"
        else:
            assert (one / name).read_bytes() == (other / name).read_bytes(), f"{other / name} differs"


def assert_same_stage(reference: RunDir, run: RunDir, stage: str) -> None:
    """A stage ended in the same state with the same words in both runs."""
    assert_same_files(reference.stage_dir(stage), run.stage_dir(stage))
    assert rows(run.read_events(), stage) == rows(reference.read_events(), stage)
    pairs = [[to_row(event) for event in each.read_samples() if event.stage == stage] for each in (run, reference)]
    assert without_clock(pairs[0]) == without_clock(pairs[1])
    if stage == "eval":
        assert run.eval.read_bytes() == reference.eval.read_bytes()
        assert result_of(run) == result_of(reference)
    assert not list(run.stage_dir(stage).glob(".*")), "leftovers"


def result_of(run: RunDir) -> dict[str, Any]:
    """result.json without the run's name and what the clock says."""
    result = json.loads(run.result.read_text())
    return {name: value for name, value in without_clock(result).items() if name != "run"}


def cut_before(reference: RunDir, path: Path, stage: str) -> RunDir:
    """A copy of a finished run as it was just before `stage` began."""
    shutil.copytree(reference.path, path)
    run = RunDir(path)
    for later in STAGES[STAGES.index(stage) :]:
        shutil.rmtree(run.stage_dir(later), ignore_errors=True)
        run.samples.write_text("".join(x for x in lines(run.samples) if f'"stage":"{later}"' not in x))
    run.result.unlink()
    run.eval.unlink()
    said = reference.all_events()
    earlier = set(STAGES[: STAGES.index(stage)])
    count = 1 + max(i for i, x in enumerate(said) if isinstance(x, StageFinished) and x.stage in earlier)
    run.events.write_text("".join(lines(run.events)[:count]))
    return run


def lines(path: Path) -> list[str]:
    """The lines of a file with their ends, none where there is no file."""
    return path.read_text().splitlines(keepends=True) if path.exists() else []


def kill_nine(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs of these tests."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def nursery(home: Path) -> Iterator[Nursery]:
    """Where children come from."""
    kept = Nursery(home)
    yield kept
    kept.close()


@dataclass(frozen=True)
class Reference:
    """A run that nobody stopped: its directory, what it printed, and its file operations in order."""

    run: RunDir
    ended: Ended
    operations: list[str]


@pytest.fixture(scope="session")
def reference(nursery: Nursery) -> Reference:
    """`slmctl run --json`, never stopped."""
    log = nursery.home / "operations.txt"
    outcome = nursery.run(*arguments("reference", "run", "--json"), log=log)
    assert outcome.code == 0, outcome.err
    return Reference(RunDir(nursery.home / "reference"), outcome, log.read_text().splitlines())
