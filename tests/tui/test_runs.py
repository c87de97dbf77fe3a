"""The runs at a glance: states, changes, the chosen run, the filter, and what an empty folder offers."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import OptionList

from engine.events import AlarmRaised, Event, RunFailed, RunResumed, StageStarted, StepCompleted
from engine.planning import RunRequest, prepare
from engine.pulse import pending_requests, process_start, read_status
from engine.rundir import RunDir, write_text
from slmctl.report import Lines
from slmctl.runs.launch import Launched
from slmctl.runs.overview import Overview, Standing
from slmctl.runs.particulars import Particulars, particulars
from slmctl.tui.app import Playground
from slmctl.tui.messages import OpenChat, OpenLabel, OpenRuns
from slmctl.tui.safe import clean
from slmctl.tui.screens.form import FormScreen
from slmctl.tui.start import Start
from slmctl.tui.widgets.run_detail import detail_rows
from slmctl.tui.widgets.runs_table import COLUMNS, RunsTable, ago, arranged, bar, cell_of
from slmctl.watching.follower import Follower
from tests.tui.playing import played, screen_text, until

NOW = 1_000_000.0
GONE = 2**22 + 1


def make(home: Path, name: str, state: str = "", *finished: str, **status: object) -> RunDir:
    """A run whose heartbeat says `state`; its process is this one."""
    run = prepare(RunRequest("run", run=name), home, {"OMP_NUM_THREADS": "1"}).rundir
    for stage in finished:
        run.final(stage).mkdir(parents=True)
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": process_start(os.getpid())}
    row = {"stage": "ppo", "step": 3, "steps": 12, "progress": 0.0, "eta_s": 60.0, "at": NOW, "state": state}
    if state:
        write_text(run.status, json.dumps({"schema": 1, **mine, **row, **status}))
    return run


def standings(home: Path, now: float = NOW) -> dict[str, Standing]:
    return {row.run: row for row in Overview(home).rows(now)}


@pytest.mark.parametrize(
    ("state", "status", "now", "word"),
    [
        ("running", {}, NOW + 1, "running"),
        ("running", {}, NOW + 60, "slow"),
        ("paused", {}, NOW + 1, "paused"),
        ("running", {"pid": GONE}, NOW + 1, "dead"),
        ("paused", {"pid": GONE}, NOW + 1, "dead"),
        ("finished", {}, NOW + 60, "finished"),
        ("failed", {}, NOW + 60, "failed"),
        ("stopped", {}, NOW + 60, "stopped"),
        ("", {}, NOW, "not begun"),
        ("\x1b[2J", {}, NOW, "ended"),
        ("running", {"step": "\x1b[2J"}, NOW + 1, "not begun"),
        ("running", {"at": float("nan")}, NOW + 1, "not begun"),
        ("running", {"pid": "x"}, NOW + 1, "not begun"),
        ("running", {"at": 10**400}, NOW + 1, "not begun"),
        ("running", {"step": 10**400}, NOW + 1, "not begun"),
        ("running", {"eta_s": float("inf")}, NOW + 1, "not begun"),
    ],
)
def test_every_state_has_its_word(tmp_path: Path, state: str, status: dict[str, object], now: float, word: str) -> None:
    make(tmp_path, "a", state, **status)
    assert standings(tmp_path, now)["a"].state == word
    watched = Follower(RunDir(tmp_path / "a"), clock=lambda: now).pulse().word
    assert watched == word, "the same word wherever a person reads it"


@pytest.mark.parametrize(
    "text",
    ["x = [", "schema = 1\nshared = 3", 'schema = 1\n[shared.sft]\npath = "\\u0000"', "schema = 1\n[shared.sft]"],
)
def test_a_damaged_run_is_named_and_the_others_are_listed(tmp_path: Path, text: str) -> None:
    make(tmp_path, "good", "finished")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.toml").write_text(text)
    found = standings(tmp_path)
    assert (found["good"].state, found["bad"].state) == ("finished", "damaged")
    assert found["bad"].error


def test_what_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [make(tmp_path, name, "finished") for name in "abc"]
    overview = Overview(tmp_path)
    before = overview.rows(NOW)
    read: list[Path] = []
    text_of = Path.read_text

    def noted(path: Path, encoding: str | None = None) -> str:
        read.append(path)
        return text_of(path, encoding)

    monkeypatch.setattr(Path, "read_text", noted)
    assert overview.rows(NOW) == before
    assert read == []
    write_text(runs[1].result, json.dumps({"win_rate": 0.5}))
    runs[2].final("sft").mkdir(parents=True)
    after = {row.run: row for row in overview.rows(NOW)}
    assert (after["b"].win_rate, after["c"].finished) == (0.5, ("sft",))
    assert {path.parent.name for path in read} == {"b", "c"}


def test_the_runs_at_work_stand_first_and_no_heartbeat_moves_a_row() -> None:
    runs = [Standing("z", "running", at=1.0), Standing("a", "slow", at=9.0), Standing("n", "finished", at=8.0)]
    assert [run.run for run in arranged([Standing("o", "failed", at=5.0), *runs])] == ["a", "z", "n", "o"]


def test_small_words() -> None:
    assert [ago(s) for s in (-1, 0.5, 59, 60, 7199, 7200, 86400 * 3, 1e12)] == [
        "0 s",
        "0 s",
        "59 s",
        "1 m",
        "1 h",
        "2 h",
        "3 d",
        "-",
    ]
    assert (bar(0.5, 4, True), bar(0.99, 4, True), bar(7.0, 4, True)) == ("##..", "###.", "####")
    assert bar(1.0, 2, False) == "██"


def test_the_last_alarm_that_holds_and_the_error_are_found(tmp_path: Path) -> None:
    run = make(tmp_path, "a", "failed", "sft")
    run.step_dir("ppo", 20).mkdir(parents=True)
    run.append(AlarmRaised("ppo", 3, "kl", "KL is 9"))
    run.append(AlarmRaised("ppo", 9, "kl", "KL is 12"))
    run.append(RunResumed("ppo", 5))
    run.append(RunFailed("ppo", "a loss is no number"))
    with run.events.open("a") as file:
        file.write('{"event":"AlarmRaised", torn\n')
    found = particulars(run, standings(tmp_path)["a"])
    assert (found.alarm, found.alarms, found.failure) == ("ppo step 3: KL is 9", 1, "a loss is no number")
    assert found.models == ("a:sft", "a:ppo@20")


def test_of_a_dead_run_the_log_has_the_last_word(tmp_path: Path) -> None:
    run = make(tmp_path, "a", "running", pid=GONE)
    run.log.write_text("one\nKilled\n\n")
    assert particulars(run, standings(tmp_path)["a"]).failure == "Killed"


def test_what_a_run_told_of_its_progress_is_not_why_it_is_dead(tmp_path: Path) -> None:
    run = make(tmp_path, "a", "running", pid=GONE)
    said: list[Event] = [StageStarted("ppo", 200, at=1.0), StepCompleted("ppo", 66, {"ppo/score": 0.4}, at=9.0)]
    said += [AlarmRaised("ppo", 66, "kl", "KL is 9", at=9.5), RunResumed("ppo", 60)]
    for number in range(1, len(said) + 1):
        with run.log.open("w") as file:
            lines = Lines(file, "a")
            for event in said[:number]:
                lines.show(event)
        assert len(run.log.read_text().splitlines()) == number
        assert particulars(run, standings(tmp_path)["a"]).failure == ""


def test_a_process_that_was_killed_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path, "a", "stopped")

    def kills_itself(words: tuple[str, ...], run: RunDir, environ: object) -> Launched:
        code = "import os; os.kill(os.getpid(), 9)"
        return Launched(words, run, subprocess.Popen([sys.executable, "-c", code]), run.log)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        monkeypatch.setattr("slmctl.tui.launches.launch", kills_itself)
        monkeypatch.setattr(Launched, "begun", lambda _: True)
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
        await until(pilot, lambda: "2 runs, 1 at work" in screen_text(app), "the runs")
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
        assert app.screen.query_one(RunsTable).chosen() == "broken"

    played(playground(tmp_path), script)


def test_enter_c_and_l_open_the_chosen_run_in_another_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a", "finished", "pretrain", "sft", "ppo")
    said: list[object] = []

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        async def keep(mode: str, note: object = None) -> None:
            said.append(note)

        await until(pilot, lambda: app.screen.query_one(RunsTable).chosen() == "a", "the run")
        monkeypatch.setattr(app, "open_mode", keep)
        await pilot.press("enter", "c", "l", "y")
        assert app.clipboard == "a"

    played(playground(tmp_path), script)
    assert said == [OpenRuns(("a",)), OpenChat(("a:sft", "a:ppo")), OpenLabel(("a:ppo",))]


def test_g_goes_on_with_what_was_asked_for_ends_a_pause_and_else_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        await until(pilot, lambda: standings(tmp_path)["a"].last == "eval", "the other target")
        await pilot.pause(1.2)
        assert await presses_g("stopped") == "starting: slmctl run --run a"
        make(tmp_path, "a", "paused", **at)
        await presses_g("paused")
        await until(pilot, lambda: bool(pending_requests(run, 0)), "the request")
        assert [request.request for request in pending_requests(run, 0)] == ["resume"]
        make(tmp_path, "a", "running", **at)
        assert await presses_g("running") == "nothing to go on with in a: it is at work"
        make(tmp_path, "a", "finished", last="eval")
        assert await presses_g("finished") == "nothing to go on with in a: it is finished"

    played(playground(tmp_path), script)
    assert begun == [("ppo", "--run", "a"), ("run", "--run", "a")]


def test_the_cursor_comes_back_on_the_run_that_was_watched(tmp_path: Path) -> None:
    make(tmp_path, "old", "finished", at=NOW + 9)
    make(tmp_path, "new", "finished")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.chosen() == "old", "the runs")
        await app.open_train(("new",))
        await until(pilot, lambda: " new  " in screen_text(app), "the watched run")
        await pilot.press("q")
        await until(pilot, lambda: app.current_mode == "runs" and table.chosen() == "new", "the cursor")
        await pilot.press("up", "f5", "f2")
        await pilot.pause(1.2)
        assert table.chosen() == "old"

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
        await until(pilot, lambda: "starting: its process is loading" in screen_text(app), "the start")
        await until(pilot, lambda: app.current_mode == "train", "the run at work")

    try:
        played(playground(tmp_path), script)
    finally:
        status = read_status(run)
        if status is not None:
            os.kill(status["pid"], signal.SIGKILL)


@given(st.text(), st.text(), st.text(), st.floats(-1e15, 1e15), st.integers(-(10**15), 10**15))
@example("\x1b]0;x\x07", "[/]", "\x9b", 0.0, 3)
def test_no_text_of_a_run_gets_through_as_it_is(name: str, stage: str, error: str, at: float, step: int) -> None:
    run = Standing(name, "failed", stage, 0, stage, step, step, at, (), (name,), 0.5, {"ppo": ""}, at, error)
    found = Particulars(name, (f"{name}:ppo",), error, 2, error)
    cells = [cell_of(column, run, 1.0, False).plain for column in COLUMNS]
    details = [text.plain for _, text in detail_rows(run, found, 1.0)]
    for text in (*cells, *details):
        assert clean(text) == text and "\n" not in text
    assert all(len(text) <= column.width for text, column in zip(cells, COLUMNS, strict=True))


def test_hundreds_of_runs_do_not_stall_the_loop(tmp_path: Path) -> None:
    text = make(tmp_path, "r000", "finished").run_toml.read_text()
    for number in range(1, 200):
        (tmp_path / f"r{number:03}").mkdir()
        (tmp_path / f"r{number:03}" / "run.toml").write_text(text)
    threads: set[str] = set()

    class Watched(Overview):
        def rows(self, now: float) -> list[Standing]:
            threads.add(threading.current_thread().name)
            return super().rows(now)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 200, "the runs")
        await pilot.press("end")
        assert table.chosen() is not None

    app = playground(tmp_path)
    app.overview = Watched(tmp_path)
    played(app, script)
    assert threads and "MainThread" not in threads


def test_what_files_say_of_a_run_is_harmless_in_the_table_and_the_detail(tmp_path: Path) -> None:
    evil = "\x1b]0;pwned\x07[@click=app.quit()]x[/]"
    run = make(tmp_path, "[bold]\x1b[31mred", "failed", stage=evil)
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


def test_keys_that_come_before_the_runs_are_known_go_to_no_hidden_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
