"""Real terminals for the tests of screens."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support import tmux
from tests.support.paths import ROOT

Open = Callable[..., tmux.Terminal]
SLMCTL = (sys.executable, "-c", "from slmctl.cli import main; main()")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of the runs of `terminal`."""
    return tmp_path / "runs"


@pytest.fixture
def terminal(tmp_path: Path, home: Path) -> Iterator[Open]:
    """Opens terminals in which slmctl, or another program, runs with `words`, one stream redirected if asked; skipped
    without tmux."""
    if reason := tmux.missing():
        pytest.skip(reason)
    opened: list[tmux.Terminal] = []

    def open_(
        *words: str,
        columns: int = 80,
        rows: int = 24,
        redirect: str = "",
        program: Sequence[str] = SLMCTL,
        **environ: str,
    ) -> tmux.Terminal:
        command = ["env", *(f"{name}={value}" for name, value in environ.items()), *program, *words]
        if redirect:
            (tmp_path / "file").touch()
            command = ["sh", "-c", f'"$@" {redirect}', "sh", *command]
        opened.append(tmux.Terminal(command, _environ(home, tmp_path), tmp_path, columns, rows))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def _environ(home: Path, folder: Path) -> dict[str, str]:
    """A clean environment: its runs, its configuration and its one thread."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "XDG_CONFIG_HOME": str(folder / "config"),
        "SLMCTL_RUNS": str(home),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
    }
