"""Stopping, renaming and deleting runs by the command line."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core.events import RunFailed
from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import RunDir, write_text
from engine.rundir.heartbeat import Heartbeat, pending_requests
from tests.slmctl.conftest import Cli

THREADS = {"OMP_NUM_THREADS": "1"}


def make_run(home: Path, name: str, parent: str | None = None) -> RunDir:
    run = prepare(RunRequest("run", run=name, parent=parent), home, THREADS).rundir
    if parent is None:
        write_text(run.final("pretrain") / "config.json", "{}")
    return run


def names(home: Path) -> list[str]:
    return sorted(entry.name for entry in home.iterdir())


def test_a_running_run_can_be_stopped_but_not_deleted_or_renamed(cli: Cli, home: Path) -> None:
    run = make_run(home, "a")
    with run.lock(), Heartbeat(run):
        stopped = cli("stop", "a")
        assert stopped.code == 0 and "slmctl watch a" in stopped.out
        assert [request.request for request in pending_requests(run, 0)] == ["stop"]
        for words in (("--delete", "a", "--yes"), ("--rename", "a", "b")):
            refused = cli("runs", *words)
            assert (refused.code, refused.out) == (2, "")
            assert refused.err == "error: run 'a' is running; stop it first: slmctl stop a\n"
    assert names(home) == ["a"]


def test_a_run_that_another_process_locks_stays(cli: Cli, home: Path) -> None:
    run = make_run(home, "a")
    with run.lock():
        refused = cli("runs", "--delete", "a", "--yes")
    assert refused.code == 2 and "is being written by process" in refused.err and names(home) == ["a"]


def test_what_does_not_run_cannot_be_stopped(cli: Cli, home: Path) -> None:
    make_run(home, "a")
    outcome = cli("stop", "a")
    assert (outcome.code, outcome.err) == (2, "error: run 'a' is not running (its state: not begun)\n")
    assert cli("stop", "b").code == 3


def test_deleting_removes_the_folder_but_not_linked_files(cli: Cli, home: Path, tmp_path: Path) -> None:
    run = make_run(home, "a")
    make_run(home, "b")
    write_text(tmp_path / "outside" / "precious.txt", "kept")
    (run.path / "link").symlink_to(tmp_path / "outside")
    (run.path / "dangling").symlink_to(tmp_path / "none")
    assert cli("runs", "--delete", "a", "--yes").out == "deleted a\n"
    assert names(home) == ["b"]
    assert (tmp_path / "outside" / "precious.txt").read_text() == "kept"


def test_a_run_that_is_a_link_is_left_alone(cli: Cli, home: Path, tmp_path: Path) -> None:
    make_run(home, "a")
    os.rename(home / "a", tmp_path / "elsewhere")
    (home / "a").symlink_to(tmp_path / "elsewhere")
    for words in (("--delete", "a", "--yes"), ("--rename", "a", "b")):
        refused = cli("runs", *words)
        assert refused.code == 2 and "is a link to" in refused.err
    assert names(home) == ["a"] and (tmp_path / "elsewhere" / "run.toml").exists()


def test_a_run_whose_stages_others_share_stays(cli: Cli, home: Path) -> None:
    make_run(home, "a")
    child = make_run(home, "b", "a")
    assert child.shared()
    for words in (("--delete", "a", "--yes"), ("--rename", "a", "c")):
        refused = cli("runs", *words)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err == "error: run 'a' shares its stages with b; delete those runs first\n"
    assert cli("runs", "--delete", "b", "--yes").code == 0
    assert cli("runs", "--delete", "a", "--yes").code == 0 and names(home) == []


def test_a_renamed_run_is_whole_under_its_new_name(cli: Cli, home: Path) -> None:
    run = make_run(home, "a")
    write_text(run.result, json.dumps({"run": "a", "win_rate": 0.5}))
    assert cli("runs", "--rename", "a", "b").out == "renamed a to b\n"
    row = json.loads(cli("runs", "b", "--json").out)
    assert (row["run"], row["win_rate"], list(row["models"])) == ("b", 0.5, ["pretrain"])
    assert names(home) == ["b"]


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (("--rename", "a", "b"), 2, "b exists; choose another name"),
        (("--rename", "a", "x/y"), 2, "is not a valid run name"),
        (("--rename", "a", ".."), 2, "is not a valid run name"),
        (("--delete", "../a", "--yes"), 2, "is not a valid run name"),
        (("--delete", "c", "--yes"), 3, "no run named 'c'"),
        (("--delete", "a"), 2, "add --yes"),
        (("b", "--delete", "a", "--yes"), 2, "exclude each other"),
        (("--rename", "a"), 2, "requires 2 arguments"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(cli: Cli, home: Path, words: tuple[str, ...], code: int, hint: str) -> None:
    make_run(home, "a")
    write_text(home / "b" / "notes.txt", "not a run")
    outcome = cli("runs", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert hint in outcome.err and names(home) == ["a", "b"]


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", []), (b"n\n", ["a"])])
def test_deleting_asks_on_a_terminal(home: Path, answer: bytes, left: list[str]) -> None:
    make_run(home, "a")
    control, terminal = pty.openpty()
    os.write(control, answer)
    command = [sys.executable, "-m", "slmctl", "runs", "--delete", "a"]
    done = subprocess.run(command, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    os.close(control)
    assert done.returncode == 0 and names(home) == left


def test_a_failed_run_says_why(cli: Cli, home: Path) -> None:
    run = make_run(home, "a")
    with Heartbeat(run, "rm") as beat:
        beat.update(stage="rm", step=3, steps=9, state="failed")
    run.append(RunFailed("rm", "the loss of rm became nan"))
    assert "error       the loss of rm became nan\n" in cli("runs", "a").out
    assert json.loads(cli("runs", "a", "--json").out)["error"] == "the loss of rm became nan"
