"""`watch` off a terminal: one frame, one object, and sentences where neither was asked for."""

import io
import json
import sys
from pathlib import Path

import pytest

from engine.core.errors import ConfigError
from engine.core.events import RunFailed, StageFinished, StageStarted
from slmctl.commands.watch import watch
from tests.slmctl.conftest import Cli
from tests.support.recorded_runs import alert, beat, begin_ppo, drawn, make_run, ppo_step, sample, say

NASTY = "[@click=app.quit()]x[/]\x1b]0;owned\x07\n\u202eevil"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_one_frame(cli: Cli, home: Path) -> None:
    run = make_run(home)
    begin_ppo(run)
    say(run, *(ppo_step(step) for step in (1, 2, 3)), alert(3), drawn(3, sample("Who?", "Me.", score=0.25)))
    beat(run, step=3)
    outcome = cli("watch", "--once")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith(" tiny  ppo 3/50") and lines[0].endswith("running")
    assert "[5 ppo ▸]" in lines[1]
    assert lines[2] == "! ppo step 3: KL is 9.0 nats per response, above 8: raise kl_coef or lower lr."
    for title in (
        " reward  0.3 ",
        " KL to the reference  0.15",
        " reward vs √KL  0.3 at 0.15 nats",
        " throughput  900",
    ):
        assert title in outcome.out
    assert "   0.25   0.50       4  Who?" in outcome.out and "> Me." in outcome.out
    assert cli("watch", "tiny", "--once").out.splitlines()[1:] == lines[1:]


def test_the_frame_follows_width_and_ascii_options(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(home)
    begin_ppo(run)
    say(run, ppo_step(1), ppo_step(2))
    for columns in ("140", "40", "20"):
        monkeypatch.setenv("COLUMNS", columns)
        lines = cli("watch", "--once", "--ascii").out.splitlines()
        assert cli("--ascii", "watch", "--once").out.splitlines() == lines
        assert max(map(len, lines)) <= int(columns)
        assert all(line.isascii() for line in lines)
    monkeypatch.setenv("COLUMNS", "80")
    assert not cli("watch", "--once").out.isascii()


def test_one_object_for_scripts(cli: Cli, home: Path) -> None:
    run = make_run(home)
    say(run, StageStarted("sft", 9, at=1.0), StageFinished("sft", 9, {"sft/validation_loss": 0.5}, at=2.0))
    begin_ppo(run)
    say(run, ppo_step(1, score=float("nan")), ppo_step(2, kl_nats=9.0), alert(2))
    beat(run, step=2)
    told = json.loads(cli("watch", "--json").out)
    assert told["home"] == str(home)
    (row,) = told["runs"]
    assert {name: row[name] for name in ("run", "state", "stage", "step", "steps", "finished", "error")} == {
        "run": "tiny", "state": "running", "stage": "ppo", "step": 2, "steps": 50, "finished": ["sft"], "error": None,
    }  # fmt: skip
    assert 0 < row["eta_s"] <= 48
    assert (row["metrics"]["ppo/kl_nats"], row["metrics"]["ppo/score"]) == (9.0, 0.2)
    assert row["alerts"] == [{"stage": "ppo", "step": 2, "alert": "kl_runaway", "message": alert(2).message}]
    say(run, ppo_step(3, score=float("inf")), RunFailed("ppo", "out of memory", at=9.0))
    beat(run, state="failed")
    (row,) = json.loads(cli("watch", "tiny", "--json").out)["runs"]
    assert (row["state"], row["error"], row["metrics"]["ppo/score"]) == ("failed", "out of memory", None)


def test_the_default_run_is_the_active_one_or_the_newest(cli: Cli, home: Path) -> None:
    def shown() -> str:
        return str(json.loads(cli("watch", "--json").out)["runs"][0]["run"])

    make_run(home, "b")
    a = make_run(home, "a")
    begin_ppo(a)
    assert shown() == "a"
    beat(a, state="finished")
    late = make_run(home, "z")
    begin_ppo(late)
    assert shown() == "z"
    beat(a, state="running")
    begin_ppo(late)
    assert shown() == "a"


def test_several_runs_lie_over_each_other(cli: Cli, home: Path) -> None:
    for name, score in (("one", 0.25), ("two", 0.75)):
        run = make_run(home, name)
        begin_ppo(run)
        say(run, ppo_step(1), ppo_step(2, score=score))
    out = cli("watch", "one", "two", "--once").out
    assert out.splitlines()[0].startswith(" A one  ppo 2/50") and out.splitlines()[1].startswith(" B two")
    assert " reward  A 0.25 B 0.75" in out
    assert [row["run"] for row in json.loads(cli("watch", "two", "one", "--json").out)["runs"]] == ["two", "one"]


def test_sentences_where_it_cannot_show_anything(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "type: slmctl run --preset tiny" in cli("watch", "--once").out
    assert json.loads(cli("watch", "--json").out) == {"home": str(home), "runs": []}
    make_run(home)
    for arguments, code, hint in (
        (["watch"], 2, "watch needs a terminal; type: slmctl watch --once"),
        (["watch", "tiny"], 2, "type: slmctl watch tiny --once for one frame, or --json for scripts"),
        (["watch", "tony", "--once"], 3, "did you mean 'tiny'?"),
        (["watch", "../x", "--json"], 2, "is not a valid run name"),
        (["watch", *"abcde", "--once"], 2, "at most 4 runs at once, got 5"),
    ):
        outcome = cli(*arguments)
        assert (outcome.code, outcome.out) == (code, "")
        assert hint in outcome.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_that_obeys_nothing_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(home)
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(ConfigError, match=r"needs a terminal; type: slmctl watch tiny --once"):
        watch(["tiny"], json=False, ascii=False)


def test_what_models_and_files_say_does_no_harm(cli: Cli, home: Path) -> None:
    run = make_run(home, "a[@click=app.quit()]b")
    begin_ppo(run)
    say(run, ppo_step(1), alert(1, NASTY), drawn(1, sample(NASTY, NASTY)), RunFailed("ppo", NASTY))
    beat(run, state="failed")
    out = cli("watch", "--once").out
    assert not set(out) & {"\x1b", "\x07", "\u202e", "\r"}
    assert out.count("[@click=app.quit()]x[/]␛]0;owned␇") >= 3
    assert " a[@click=app.quit()…" in out.splitlines()[0]
