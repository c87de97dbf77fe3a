"""`slmctl watch` in a real terminal: sizes, a screen that is killed, text that would command it, no colour."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.core.events import ControlAcknowledged
from engine.rundir.directory import RunDir
from tests.slmctl.tui.conftest import Open
from tests.support.recorded_runs import alert, begin_ppo, drawn, make_run, ppo_step, sample, say
from tests.support.tmux import colors_in

NASTY = "[@click=app.quit()]x[/]\x1b]2;owned\x07\x1b[2J"
WORKER = """
import sys, time
from pathlib import Path
from engine.rundir.heartbeat import Heartbeat
from engine.rundir.directory import RunDir
with Heartbeat(RunDir(Path(sys.argv[1])), interval_s=0.2) as beat:
    beat.update(stage="ppo", step=2, steps=50)
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(home: Path) -> Iterator[RunDir]:
    """A run that another process works on, until the test ends."""
    run = make_run(home)
    begin_ppo(run)
    say(run, ppo_step(1), ppo_step(2), alert(2, NASTY), drawn(2, sample(NASTY, NASTY)))
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == "up\n"
        yield run
        worker.kill()


def test_a_screen_is_killed_and_comes_back_where_the_run_is(terminal: Open, run: RunDir) -> None:
    first = terminal("watch", "tiny", columns=140, rows=45)
    first.wait("tiny  ppo 2/50", "running", "samples of step 2", "ALERT")
    first.press("p")
    first.wait("pause requested: takes effect when ppo step 3 ends")
    subprocess.run(["kill", "-9", str(first.pid())], check=True)
    say(run, ppo_step(3, score=0.75), ControlAcknowledged(1, "pause"))
    again = terminal("watch")
    again.wait("tiny  ppo 3/50", "reward  0.75")
    for columns, rows in ((200, 60), (40, 10), (80, 24)):
        again.resize(columns, rows)
        again.wait("reward  0.75", "running", "tab Next" if rows > 10 else "▸reward")
    again.press("q")
    assert again.ended() == 0
    assert b"tiny is still running; to return, type: slmctl watch tiny" in again.written()


def test_nothing_that_a_run_says_commands_the_terminal(terminal: Open, run: RunDir) -> None:
    opened = terminal("watch", columns=140, rows=45, NO_COLOR="1")
    opened.wait("samples of step 2", "[@click=app.quit()]x[/]␛]2;owned␇␛[2J")
    opened.press("a")
    opened.wait("esc closes")
    opened.press("q", "BTab")
    opened.wait("▸samples")
    opened.press("Enter")
    opened.wait("esc closes", "response")
    opened.press("q", "q")
    assert opened.ended() == 0
    assert "owned" not in opened.title()
    written = opened.written()
    assert b"\x1b]2;" not in written and b"owned\x07" not in written
    assert not colors_in(written)
