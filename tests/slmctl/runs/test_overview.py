"""How runs stand, as far as their files tell: a word for each state, alerts and errors, and what is shown of them."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.core.events import AlertRaised, Event, RunFailed, RunFinished, RunResumed, StageStarted, StepCompleted
from engine.rundir.directory import RunDir, write_text
from slmctl.console.progress import EventLines, LineReporter
from slmctl.console.safe import clean
from slmctl.runs.overview import Overview, RunDetails, RunSummary, read_details
from slmctl.tui.runs.runs_table import COLUMNS, ago, bar, cell_of, detail_rows, sorted_runs
from slmctl.watch.follower import Follower
from tests.support.heartbeats import GONE, NOW, make, summaries


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
    assert summaries(tmp_path, now)["a"].state == word
    watched = Follower(RunDir(tmp_path / "a"), clock=lambda: now).process_state().state
    assert watched == word, "the same word wherever a person reads it"


@pytest.mark.parametrize(("said", "word"), [(RunFinished("eval"), "finished"), (StepCompleted("ppo", 3, {}), "ended")])
def test_where_the_heartbeat_cannot_be_read_the_last_event_tells(tmp_path: Path, said: Event, word: str) -> None:
    run = RunDir(tmp_path / "a")
    make(tmp_path, "a", "finished")
    run.append(said)
    run.status.write_text("{")
    assert (summaries(tmp_path)["a"].state, Follower(run).process_state().state) == (word, word)


@pytest.mark.parametrize(
    "text",
    ["x = [", "schema = 2\nshared = 3", 'schema = 2\n[shared.sft]\npath = "\\u0000"', "schema = 2\n[shared.sft]"],
)
def test_a_damaged_run_is_named_and_the_others_are_listed(tmp_path: Path, text: str) -> None:
    make(tmp_path, "good", "finished")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.toml").write_text(text)
    found = summaries(tmp_path)
    assert (found["good"].state, found["bad"].state) == ("finished", "damaged")
    assert found["bad"].error


def test_what_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [make(tmp_path, name, "finished") for name in "abc"]
    overview = Overview(tmp_path)
    before = overview.rows(NOW)
    read: list[Path] = []
    setting_text = Path.read_text

    def noted(path: Path, encoding: str | None = None) -> str:
        read.append(path)
        return setting_text(path, encoding)

    monkeypatch.setattr(Path, "read_text", noted)
    assert overview.rows(NOW) == before
    assert read == []
    write_text(runs[1].result, json.dumps({"win_rate": 0.5}))
    runs[2].final("sft").mkdir(parents=True)
    after = {row.run: row for row in overview.rows(NOW)}
    assert (after["b"].win_rate, after["c"].finished) == (0.5, ("sft",))
    assert {path.parent.name for path in read} == {"b", "c"}


def test_active_runs_come_first_and_heartbeats_move_no_row() -> None:
    runs = [RunSummary("z", "running", at=1.0), RunSummary("a", "slow", at=9.0), RunSummary("n", "finished", at=8.0)]
    assert [run.run for run in sorted_runs([RunSummary("o", "failed", at=5.0), *runs])] == ["a", "z", "n", "o"]


def test_small_words() -> None:
    assert [ago(s) for s in (-1, 0.5, 59, 60, 7199, 7200, 86400 * 3, 1e12)] == [
        "0 s",
        "0 s",
        "59 s",
        "1 min",
        "1 h",
        "2 h",
        "3 d",
        "-",
    ]
    assert (bar(0.5, 4), bar(0.99, 4), bar(7.0, 4)) == ("██░░", "███░", "████")


def test_the_last_alert_that_holds_and_the_error_are_found(tmp_path: Path) -> None:
    run = make(tmp_path, "a", "failed", "sft")
    run.step_dir("ppo", 20).mkdir(parents=True)
    run.append(AlertRaised("ppo", 3, "kl", "KL is 9"))
    run.append(AlertRaised("ppo", 9, "kl", "KL is 12"))
    run.append(RunResumed("ppo", 5))
    run.append(RunFailed("ppo", "a loss is no number"))
    with run.events.open("a") as file:
        file.write('{"event":"AlertRaised", torn\n')
    found = read_details(run, summaries(tmp_path)["a"])
    assert (found.alert, found.alerts, found.failure) == ("ppo step 3: KL is 9", 1, "a loss is no number")
    assert found.models == ("a:sft", "a:ppo@20")


def test_of_a_dead_run_the_log_has_the_last_word(tmp_path: Path) -> None:
    run = make(tmp_path, "a", "running", pid=GONE)
    run.log.write_text("one\nKilled\n\n")
    assert read_details(run, summaries(tmp_path)["a"]).failure == "Killed"


def test_what_a_run_told_of_its_progress_is_not_why_it_is_dead(tmp_path: Path) -> None:
    run = make(tmp_path, "a", "running", pid=GONE)
    said: list[Event] = [StageStarted("ppo", 200, at=1.0), StepCompleted("ppo", 66, {"ppo/score": 0.4}, at=9.0)]
    said += [AlertRaised("ppo", 66, "kl", "KL is 9", at=9.5), RunResumed("ppo", 60)]
    for number in range(1, len(said) + 1):
        with run.log.open("w") as file:
            lines = LineReporter(file, EventLines("a"))
            for event in said[:number]:
                lines.show(event)
        assert len(run.log.read_text().splitlines()) == number
        assert read_details(run, summaries(tmp_path)["a"]).failure == ""


@given(st.text(), st.text(), st.text(), st.floats(-1e15, 1e15), st.integers(-(10**15), 10**15))
@example("\x1b]0;x\x07", "[/]", "\x9b", 0.0, 3)
def test_no_text_of_a_run_gets_through_as_it_is(name: str, stage: str, error: str, at: float, step: int) -> None:
    run = RunSummary(name, "failed", stage, 0, stage, step, step, at, (), (name,), 0.5, {"ppo": ""}, at, error)
    found = RunDetails(name, (f"{name}:ppo",), error, 2, error)
    cells = [cell_of(column, run, 1.0).plain for column in COLUMNS]
    details = [text.plain for _, text in detail_rows(run, found, 1.0)]
    for text in (*cells, *details):
        assert clean(text) == text and "\n" not in text
    assert all(len(text) <= column.width for text, column in zip(cells, COLUMNS, strict=True))
