"""The heartbeat tells a dead run from a slow one; requests are numbered and survive torn lines."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.core.errors import ConfigError
from engine.core.events import Event, RunFailed, RunFinished, RunPaused, RunResumed, StepCompleted
from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import (
    ALMOST_DONE,
    Heartbeat,
    Request,
    last_word,
    liveness,
    make_request,
    pending_requests,
    process_start,
    read_status,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def test_the_heartbeat_says_where_the_run_is(run: RunDir) -> None:
    with Heartbeat(run, "eval", interval_s=0.01) as beat:
        beat.update(stage="ppo", step=3, steps=40, step_s=1000.0)
        deadline = time.time() + 5
        while (read_status(run) or {}).get("step") != 3 and time.time() < deadline:
            time.sleep(0.01)
        status = read_status(run)
        assert status is not None
        assert {name: status[name] for name in ("stage", "last", "step", "steps", "state")} == {
            "stage": "ppo", "last": "eval", "step": 3, "steps": 40, "state": "running",
        }  # fmt: skip
        assert 0 < status["progress"] < 0.1
        assert 36 * 1000 < status["eta_s"] < 37 * 1000
        assert (status["host"], status["pid"]) == (socket.gethostname(), os.getpid())
        assert liveness(status, time.time()) == "running"
    assert liveness(read_status(run), time.time()) == "ended"


def test_progress_within_a_step_grows_and_begins_again(run: RunDir) -> None:
    def progress(beat: Heartbeat) -> float:
        beat._write()
        return float((read_status(run) or {})["progress"])

    beat = Heartbeat(run)
    assert progress(beat) == 0
    beat.update(step=1, step_s=1e-9)
    assert progress(beat) == ALMOST_DONE
    beat.update(step=2, step_s=1e6)
    first = progress(beat)
    assert 0 < first < progress(beat) < 0.1


def test_the_time_left_follows_pace_and_clock(run: RunDir) -> None:
    now = 100.0
    beat = Heartbeat(run, clock=lambda: now)
    beat.update("ppo", step=3, steps=10, step_s=2.0)
    assert (read_status(run) or {})["eta_s"] == 14.0
    now = 101.5
    beat.update()
    assert (read_status(run) or {})["eta_s"] == 12.5
    beat.update(state="paused")
    assert (read_status(run) or {})["eta_s"] is None
    beat.update("eval", step=0, steps=0, step_s=0.0, state="running")
    status = read_status(run) or {}
    assert (status["eta_s"], status["progress"]) == (None, 0.0)


def test_an_end_that_was_named_is_kept(run: RunDir) -> None:
    with Heartbeat(run) as beat:
        beat.update(state="finished")
    assert liveness(read_status(run), time.time()) == "finished"


def test_a_run_without_a_beat_is_slow_and_a_killed_one_is_dead(run: RunDir) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from engine.rundir.heartbeat import Heartbeat; from engine.rundir.directory import RunDir\n"
        "with Heartbeat(RunDir(Path(sys.argv[1]))):\n    print('up', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "up\n"
    status = read_status(run)
    assert status is not None
    assert liveness(status, time.time()) == "running"
    assert liveness(status, time.time() + 60) == "slow"
    child.kill()
    child.wait()
    child.stdout.close()
    assert liveness(status, time.time()) == "dead"


def test_a_pid_used_again_is_another_process() -> None:
    status = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": "1",
        "state": "running",
        "at": time.time(),
    }
    assert liveness(status, time.time()) == "dead"


def test_a_run_on_another_machine_is_known_by_its_beat_alone() -> None:
    status = {"host": "elsewhere", "pid": 1, "pid_started": "1", "state": "running", "at": 100.0}
    assert (liveness(status, 105.0), liveness(status, 200.0)) == ("running", "slow")


def test_no_heartbeat_and_a_damaged_one(run: RunDir) -> None:
    assert read_status(run) is None
    assert liveness(None, 0.0) == "not begun"
    run.status.write_text("{")
    assert read_status(run) is None


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ([], "not begun"),
        ([StepCompleted("ppo", 3, {})], "ended"),
        ([StepCompleted("ppo", 3, {}), RunFinished("eval")], "finished"),
        ([RunFinished("ppo"), RunResumed("eval", 0)], "ended"),
        ([RunPaused("ppo", 3, "asked")], "stopped"),
        ([RunFailed("ppo", "It failed.")], "failed"),
    ],
)
@pytest.mark.parametrize("status", ["{", "", None])
def test_where_no_heartbeat_tells_a_run_stands_as_it_said_last(
    run: RunDir, said: list[Event], word: str, status: str | None
) -> None:
    for event in said:
        run.append(event)
    with run.events.open("ab") as file:
        file.write(b'{"schema":1,"event":"RunSt')  # as a crash leaves it
    if status is not None:
        run.status.write_text(status)
    assert liveness(read_status(run), 0.0, last_word(run)) == word


def test_process_start_tells_processes_apart() -> None:
    assert process_start(os.getpid()) is not None
    assert process_start(2**22 + 1) is None
    assert process_start(-1) is None


def test_a_folder_taken_away_does_not_end_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with Heartbeat(RunDir(folder), interval_s=0.01):
        (folder / "status.json").unlink()
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()
        time.sleep(0.05)


def test_requests_are_numbered_and_read_once(run: RunDir) -> None:
    assert [make_request(run, word) for word in ("pause", "resume", "stop")] == [1, 2, 3]
    assert pending_requests(run, 1) == [Request(2, "resume"), Request(3, "stop")]
    assert pending_requests(run, 3) == []


def test_torn_and_unknown_requests_are_skipped(run: RunDir) -> None:
    run.control.write_text('{"number": 1, "request": "save"}\n{"number": 2, "request": "dance"}\n[]\n{"number": 3')
    assert pending_requests(run, 0) == [Request(1, "save")]
    assert make_request(run, "stop") == 2
    assert pending_requests(run, 1) == [Request(2, "stop")]


def test_a_request_that_no_run_understands_is_refused(run: RunDir) -> None:
    with pytest.raises(ConfigError, match="'explode' is not a request"):
        make_request(run, "explode")
