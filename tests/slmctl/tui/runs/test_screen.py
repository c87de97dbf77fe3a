"""The runs at a glance, on the screen: the chosen run, the filter, what keys start, and what an empty folder offers."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from engine.core.events import RunFailed
from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import pending_requests, read_status
from slmctl.runs.launch import LaunchedCommand
from slmctl.runs.overview import Overview, RunSummary
from slmctl.tui.app import Playground
from slmctl.tui.messages import OpenChat, OpenLabel, OpenRuns
from slmctl.tui.playground import Start
from slmctl.tui.runs.form import FormScreen
from slmctl.tui.runs.runs_table import RunsTable
from slmctl.tui.runs.screen import RunsScreen
from tests.support.heartbeats import NOW, make
from tests.support.pilot import played, screen_text, until


def test_a_process_that_was_killed_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path, "a", "stopped")

    def kills_itself(words: tuple[str, ...], run: RunDir, environ: object) -> LaunchedCommand:
        code = "import os; os.kill(os.getpid(), 9)"
        return LaunchedCommand(words, run, subprocess.Popen([sys.executable, "-c", code]), run.log)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        monkeypatch.setattr("slmctl.tui.runs.launches.launch", kills_itself)
        monkeypatch.setattr(LaunchedCommand, "begun", lambda _: True)
        run.log.write_text("ppo 66/200  score 0.4\n")
        await app.launches.start(("ppo",), run, app)
        await until(pilot, lambda: bool(app._notifications), "the note")
        assert [note.message for note in app._notifications] == ["a was killed (signal 9)"]

    played(playground(tmp_path), script)


def playground(home: Path) -> Playground:
    return Playground(Start(home))


def test_a_glance_tells_how_the_runs_stand_and_follows_them(tmp_path: Path) -> None:
    at = {"at": time.time() + 3600}
    make(tmp_path, "going", "running", "pretrain", "sft", **at)
    failed = make(tmp_path, "broken", "failed", "pretrain")
    failed.append(RunFailed("ppo", "a loss is no number"))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "2 runs, 1 active" in screen_text(app), "the runs")
        await until(pilot, lambda: "going:sft" in screen_text(app), "the models")
        text = screen_text(app)
        for words in ("running", "ppo 3/12", "██░░", "failed", "1:00 min left", "going:base"):
            assert words in text
        make(tmp_path, "going", "running", step=9, **at)
        await until(pilot, lambda: "ppo 9/12" in screen_text(app), "the next step")
        await pilot.press("down")
        await until(pilot, lambda: "a loss is no number" in screen_text(app), "the error")
        make(tmp_path, "third", "finished")
        await until(pilot, lambda: "3 runs" in screen_text(app), "another run")
        assert app.screen.query_one(RunsTable).selected() == "broken"

    played(playground(tmp_path), script)


def test_enter_c_and_l_open_the_chosen_run_in_another_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a", "finished", "pretrain", "sft", "ppo")
    said: list[object] = []

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        async def keep(mode: str, note: object = None) -> None:
            said.append(note)

        await until(pilot, lambda: app.screen.query_one(RunsTable).selected() == "a", "the run")
        monkeypatch.setattr(app, "open_mode", keep)
        await pilot.press("enter", "c", "l", "y")
        assert app.clipboard == "a"

    played(playground(tmp_path), script)
    assert said == [OpenRuns(("a",)), OpenChat(("a:sft", "a:ppo")), OpenLabel(("a:ppo",))]


def test_g_resumes_a_run_or_explains_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, at = make(tmp_path, "a", "stopped", last="ppo"), {"at": time.time() + 3600}
    begun: list[tuple[str, ...]] = []

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        async def keep(words: tuple[str, ...], *_: object) -> None:
            begun.append(words)

        async def presses_g(state: str) -> str:
            await until(pilot, lambda: f"{state}: " in screen_text(app), f"the {state} run")
            await pilot.press("g")
            await pilot.pause()
            return [note.message for note in app._notifications][-1]

        monkeypatch.setattr(app.launches, "start", keep)
        assert await presses_g("stopped") == "starting: slmctl ppo --run a"
        make(tmp_path, "a", "stopped", last="eval")
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await until(pilot, lambda: screen._runs[0].last == "eval", "the other target")
        assert await presses_g("stopped") == "starting: slmctl run --run a"
        make(tmp_path, "a", "paused", **at)
        await presses_g("paused")
        await until(pilot, lambda: bool(pending_requests(run, 0)), "the request")
        assert [request.request for request in pending_requests(run, 0)] == ["resume"]
        make(tmp_path, "a", "running", **at)
        assert await presses_g("running") == "nothing to resume in a: it is running"
        make(tmp_path, "a", "finished", last="eval")
        assert await presses_g("finished") == "nothing to resume in a: it is finished"

    played(playground(tmp_path), script)
    assert begun == [("ppo", "--run", "a"), ("run", "--run", "a")]


def test_the_cursor_comes_back_on_the_run_that_was_watched(tmp_path: Path) -> None:
    make(tmp_path, "old", "finished", at=NOW + 9)
    make(tmp_path, "new", "finished")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.selected() == "old", "the runs")
        await app.open_train(("new",))
        await until(pilot, lambda: " new  " in screen_text(app), "the watched run")
        await pilot.press("q")
        await until(pilot, lambda: app.current_mode == "runs" and table.selected() == "new", "the cursor")
        await pilot.press("up", "f5", "f2")
        await pilot.pause(1.2)
        assert table.selected() == "old"

    played(playground(tmp_path), script)


def test_the_filter_narrows_the_table_and_escape_drops_it(tmp_path: Path) -> None:
    for name in ("warm", "cold", "war"):
        make(tmp_path, name, "finished")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 3, "the runs")
        await pilot.press("slash", *"war", "enter")
        assert table.row_count == 2
        assert '2 of 3 runs for "war"' in screen_text(app)
        assert app.focused is table
        await pilot.press("slash", "m", "escape")
        assert table.row_count == 3 and app.focused is table and app.current_mode == "runs"
        await pilot.press("slash", *"cold", "enter")
        await until(pilot, lambda: "(esc shows all)" in screen_text(app), "the way back")
        await pilot.press("escape")
        assert table.row_count == 3 and app.focused is table and app.current_mode == "runs"
        await until(pilot, lambda: "(esc" not in screen_text(app), "no filter")

    played(playground(tmp_path), script)


def test_an_empty_folder_offers_tiny_and_no_key_that_needs_a_run(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "run tiny" in screen_text(app), "the welcome")
        text = screen_text(app)
        for words in ("human feedback", "about five minutes, no download", "t Run tiny", "n New"):
            assert words in text
        assert "Chat" not in text.splitlines()[-1]
        await pilot.press("c", "l", "y", "g", "slash")
        make(tmp_path, "first", "finished")
        await until(pilot, lambda: "first" in screen_text(app), "the run")
        await until(pilot, lambda: "c Chat" in screen_text(app).splitlines()[-1], "the keys")

    played(playground(tmp_path), script)


def test_a_name_that_is_no_text_can_be_shown_and_copied(tmp_path: Path) -> None:
    make(tmp_path, "a", "finished")
    os.rename(tmp_path / "a", os.fsencode(tmp_path) + b"/x\xff")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "x\ufffd" in screen_text(app), "the run")
        await pilot.press("y", "g")
        assert app.clipboard == "x?"

    played(playground(tmp_path), script)


def test_one_key_starts_the_first_run_and_shows_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "tiny")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "run tiny" in screen_text(app), "the welcome")
        await pilot.press("t")
        await until(pilot, lambda: "starting: loading" in screen_text(app), "the start")
        await until(pilot, lambda: app.current_mode == "train", "the run at work")

    try:
        played(playground(tmp_path), script)
    finally:
        status = read_status(run)
        if status is not None:
            os.kill(status["pid"], signal.SIGKILL)


def test_hundreds_of_runs_do_not_stall_the_loop(tmp_path: Path) -> None:
    text = make(tmp_path, "r000", "finished").run_toml.read_text()
    for number in range(1, 200):
        (tmp_path / f"r{number:03}").mkdir()
        (tmp_path / f"r{number:03}" / "run.toml").write_text(text)
    threads: set[str] = set()

    class Watched(Overview):
        def rows(self, now: float) -> list[RunSummary]:
            threads.add(threading.current_thread().name)
            return super().rows(now)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 200, "the runs")
        await pilot.press("end")
        assert table.selected() is not None

    app = playground(tmp_path)
    app.overview = Watched(tmp_path)
    played(app, script)
    assert threads and "MainThread" not in threads


def test_hostile_run_files_are_harmless_in_table_and_detail(tmp_path: Path) -> None:
    evil = "\x1b]0;pwned\x07[@click=app.quit()]x[/]"
    named = make(tmp_path, "red", "failed", stage=evil)
    run = RunDir(named.path.rename(tmp_path / "[bold]\x1b[31mred"))  # no run of ours has such a name
    run.append(RunFailed("ppo", evil))
    run.run_toml.write_text(run.run_toml.read_text().replace('preset = "tiny"', 'preset = "\\u001b[2J[/nope]"'))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "␛]0;pwned␇[@click=app.quit()]x[/]" in screen_text(app), "the error")
        assert "\x1b" not in screen_text(app)
        await pilot.press("y", "c")
        await pilot.press("ctrl+p", *"red")
        await pilot.pause(0.3)
        assert "\x1b" not in screen_text(app)
        assert "[bold]␛[31mred" in screen_text(app)

    played(playground(tmp_path), script, (140, 45))


def test_early_keys_select_no_hidden_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, known = Playground(Start(tmp_path)), threading.Event()
    rows = app.overview.rows
    monkeypatch.setattr(app.overview, "rows", lambda now: rows(now) if known.wait() else [])

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        try:
            await pilot.press("x", "slash", "n")
            assert isinstance(app.screen, FormScreen)
            await pilot.press("escape")
        finally:
            known.set()
        await until(pilot, lambda: isinstance(app.focused, OptionList), "the welcome")

    played(app, script)


def test_a_run_is_renamed_and_deleted_after_asking(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path, name, "finished", "pretrain")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.selected() == "a", "the runs")
        await pilot.press("r")
        await until(pilot, lambda: "Rename a" in screen_text(app), "the line")
        await pilot.press("slash", "enter")
        await until(pilot, lambda: "is not a valid run name" in screen_text(app), "why not")
        await pilot.press("backspace", "backspace", *"new", "enter")
        await until(pilot, lambda: table.selected() == "new", "the new name under the cursor")
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["b", "new"]
        await pilot.press("d")
        await until(pilot, lambda: "Delete new?" in screen_text(app), "the question")
        await pilot.press("escape", "d")
        await until(pilot, lambda: "Delete new?" in screen_text(app), "the question again")
        await pilot.press("y")
        await until(pilot, lambda: "1 run," in screen_text(app), "one run less")
        assert [entry.name for entry in tmp_path.iterdir()] == ["b"]

    played(playground(tmp_path), script)


def test_a_running_run_is_stopped_and_not_deleted(tmp_path: Path) -> None:
    run = make(tmp_path, "a", "running", at=time.time() + 3600)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "1 active" in screen_text(app), "the run")
        await pilot.press("d", "r")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        await pilot.press("x")
        await until(pilot, lambda: "Stop a?" in screen_text(app), "the question")
        await pilot.press("y")
        await until(pilot, lambda: bool(pending_requests(run, 0)), "the request")
        assert [request.request for request in pending_requests(run, 0)] == ["stop"]

    played(playground(tmp_path), script)
