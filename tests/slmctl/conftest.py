"""A command line that runs in this process, its runs in a temporary folder."""

import io
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.core.events import Event, RunPaused
from slmctl.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command ended with."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]
Script = Callable[[Any, Callable[[], bool]], Iterator[Event]]
Execute = Callable[[Any, Callable[[], bool], Callable[[Event], None]], bool]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the runs; the environment holds no setting of the machine's."""
    for name in [name for name in os.environ if name.startswith(("SLMCTL_", "OMP_WAIT", "GOMP_", "KMP_"))]:
        monkeypatch.delenv(name)
    for name, value in (("SLMCTL_RUNS", str(tmp_path / "runs")), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, value)
    for name in ("MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.delenv("OMP_WAIT_POLICY")
    return tmp_path / "runs"


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Calls slmctl with arguments and a text on stdin."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 0 if code is None else 1, captured.out, captured.err)

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def engine_says(monkeypatch: pytest.MonkeyPatch) -> Callable[[Script], None]:
    """Puts a script in place of the engine's driver, so that no test of the command line trains or loads torch."""

    def install(script: Script) -> None:
        module = types.ModuleType("engine.run.driver")
        vars(module)["execute"] = driver_of(script)
        monkeypatch.setitem(sys.modules, "engine.run.driver", module)

    return install


def driver_of(script: Script) -> Execute:
    """An engine.run.driver.execute that tells what a script says."""

    def execute(prepared: Any, should_stop: Callable[[], bool], tell: Callable[[Event], None]) -> bool:
        done = True
        for event in script(prepared, should_stop):
            tell(event)
            done = not isinstance(event, RunPaused)
        return done

    return execute
