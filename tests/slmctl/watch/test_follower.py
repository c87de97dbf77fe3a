"""What a follower reads: torn, cut, replaced, damaged and strange files; and how the process stands."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.core.events import AlertRaised, StageStarted
from engine.rundir.directory import RunDir
from slmctl.watch.follower import Follower, Steps, Update
from slmctl.watch.history import RunHistory
from tests.support.recorded_runs import alert, beat, begin_ppo, drawn, lines_of, make_run, ppo_step, sample, say

AIMS = 'kl_controller = "adaptive"\nkl_target = 2.0\nkl_horizon = 9999\n'


def steps_in(news: Update) -> list[int]:
    return [step for item in news.events if isinstance(item, Steps) for step in item.steps]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path)


def test_each_poll_says_only_what_is_new(run: RunDir) -> None:
    follower = Follower(run)
    assert follower.poll().events == []
    begin_ppo(run)
    say(run, ppo_step(1), ppo_step(2), alert(2))
    news = follower.poll()
    assert [type(item).__name__ for item in news.events] == ["RunStarted", "StageStarted", "Steps", "AlertRaised"]
    assert (steps_in(news), news.restarted) == ([1, 2], False)
    assert follower.poll().events == []
    say(run, ppo_step(3))
    assert steps_in(follower.poll()) == [3]


def test_a_torn_last_line_waits(run: RunDir) -> None:
    follower, line = Follower(run), lines_of(ppo_step(1))
    run.events.write_bytes(line + lines_of(ppo_step(2))[:-20])
    assert steps_in(follower.poll()) == [1]
    assert follower.poll().events == []
    run.events.write_bytes(line + lines_of(ppo_step(2), ppo_step(3)))
    assert steps_in(follower.poll()) == [2, 3]


def test_a_torn_line_that_is_healed_away_resets_nothing(run: RunDir) -> None:
    follower = Follower(run)
    run.events.write_bytes(lines_of(ppo_step(1)) + b'{"schema":1,"ev')
    follower.poll()
    say(RunDir(run.path), ppo_step(2))
    news = follower.poll()
    assert (steps_in(news), news.restarted) == ([2], False)


@pytest.mark.parametrize("how", ["shorter", "same length", "longer", "another file", "gone"])
def test_a_file_that_is_not_the_one_read_before_begins_anew(run: RunDir, how: str) -> None:
    follower = Follower(run)
    begin_ppo(run)
    say(run, ppo_step(1), ppo_step(2), drawn(1, sample("a", "b")))
    follower.poll()
    before = run.events.read_bytes()
    if how == "gone":
        run.events.unlink()
        assert follower.poll().restarted
        say(RunDir(run.path), ppo_step(7))
        assert steps_in(follower.poll()) == [7]
        return
    if how == "another file":
        run.events.rename(run.path / "old")
        run.events.write_bytes(before)
    else:
        first = lines_of(ppo_step(5))
        pad = {"shorter": b"", "same length": before[len(first) :], "longer": before}[how]
        run.events.write_bytes(first + pad.replace(b'"at":102', b'"at":103'))
    news = follower.poll()
    assert news.restarted
    assert (1 if how == "another file" else 5) in steps_in(news)
    assert len(news.samples) == 1, "the samples are told again, for all before is void"


def test_damaged_lines_and_unknown_kinds_are_skipped(run: RunDir) -> None:
    bad = [
        b'{"schema":1,"event":"Moon","stage":"ppo"}',
        b'{"schema":9,"event":"StepCompleted","stage":"ppo","step":8,"metrics":{},"at":1.0}',
        b'{"schema":1,"event":"StepCompleted","stage":"ppo","step":8,"metrics":{"a":1,{"schema":1,"event":"x"}},"at":1.0}',
        b'{"schema":1,"event":"StepCompleted","stage":"ppo","step":"8","metrics":{},"at":1.0}',
        b'{"schema":1,"event":"AlertRaised","stage":["ppo"],"step":1,"alert":"a","message":"b","at":1.0}',
        b'{"schema":1,"event":"AlertRaised","stage":"ppo"}',
        b'{"schema":1,"event":"StepCompleted","stage":"ppo","step":8,"metrics":[],"at":1.0}',
        b"\x00\x00\xff\xfe",
        b"[1]",
        b"",
        b"[" * 100_000,
    ]
    run.events.write_bytes(b"\n".join([lines_of(ppo_step(1)).strip(), *bad, lines_of(ppo_step(2))]))
    news = Follower(run).poll()
    assert steps_in(news) == [1, 2]
    assert all(getattr(item, "stage", "ppo") == "ppo" and not isinstance(item, AlertRaised) for item in news.events)


def test_a_line_in_another_spelling_is_read_as_well(run: RunDir) -> None:
    row = json.loads(lines_of(ppo_step(1, score=float("nan"))))
    run.events.write_text(json.dumps(row, indent=None) + "\n")
    story = RunHistory("tiny")
    story.add(Follower(run).poll())
    assert story.stage("ppo").steps == [1]
    assert story.stage("ppo").column("ppo/kl_nats")[1] == [0.05]
    assert str(story.stage("ppo").column("ppo/score")[1]) == "[nan]"


def test_what_a_parent_said_of_shared_stages_comes_first(tmp_path: Path) -> None:
    parent = make_run(tmp_path, "old")
    say(parent, StageStarted("sft", 9, at=1.0))
    begin_ppo(parent)
    say(parent, ppo_step(1))
    (parent.path / "sft" / "final").mkdir(parents=True)
    toml = '[shared.sft]\nrun = "old"\npath = "../old/sft/final"\nsha256 = "0"\n'
    child = make_run(tmp_path, "new", toml)
    begin_ppo(child, steps=7)
    story = RunHistory("new")
    story.add(Follower(child).poll())
    assert (story.stage("sft").total_steps, story.stage("ppo").total_steps, story.stage("ppo").steps) == (9, 7, [])
    assert story.info.shared == {"sft": parent.path.resolve()}


def test_a_stage_that_is_shared_no_more_begins_anew(tmp_path: Path) -> None:
    make_run(tmp_path, "old")
    child = make_run(tmp_path, "new", '[shared.sft]\nrun = "old"\npath = "../old/sft/final"\nsha256 = "0"\n')
    begin_ppo(child)
    follower = Follower(child)
    follower.poll()
    make_run(tmp_path, "new")
    os.utime(child.run_toml, ns=(1, 1))
    news = follower.poll()
    assert (news.restarted, dict(news.info.shared), len(news.events)) == (True, {}, 2)


@pytest.mark.parametrize(("text", "limits"), [
    ("", {"alert_kl_nats": 8.0}),
    ("[config.ppo]\nalert_kl_nats = 3.0\n", {"alert_kl_nats": 3.0}),
    (f"[config.ppo]\n{AIMS}", {"alert_kl_nats": 8.0, "kl_target": 2.0}),
    ("[config.ppo]\nalert_kl_nats = -3.0\n", {}),
])  # fmt: skip
def test_the_limits_that_matter_are_read(tmp_path: Path, text: str, limits: dict[str, float]) -> None:
    about = Follower(make_run(tmp_path, toml=text)).poll().info
    assert about.limits == limits
    assert bool(about.error) == (not limits)


def test_how_the_process_stands(run: RunDir) -> None:
    now = time.time()
    follower = Follower(run, clock=lambda: now)
    assert follower.poll().process.state == "not begun"
    beat(run, step=3)
    assert (follower.poll().process.state, follower.poll().process.step) == ("running", 3)
    now += 60
    assert follower.poll().process.state == "slow"
    now -= 60
    for state in ("paused", "finished", "failed", "stopped"):
        beat(run, state=state)
        assert follower.poll().process.state == state
    run.status.write_text('{"state": "running", "at": "soon", "pid": []}')
    assert follower.poll().process.state == "not begun"


def test_a_killed_process_is_dead(run: RunDir) -> None:
    code = "import sys; from pathlib import Path; from engine.rundir.directory import RunDir\n"
    code += "from tests.support.recorded_runs import beat\n"
    code += "beat(RunDir(Path(sys.argv[1])), step=4)"
    subprocess.run([sys.executable, "-c", code, str(run.path)], check=True)
    process = Follower(run).poll().process
    assert (process.state, process.step) == ("dead", 4)


def test_a_run_that_is_taken_away_is_gone(run: RunDir) -> None:
    begin_ppo(run)
    follower = Follower(run)
    follower.poll()
    run.path.rename(run.path.with_name("elsewhere"))
    news = follower.poll()
    assert (news.process.state, news.restarted, news.events) == ("gone", True, [])
