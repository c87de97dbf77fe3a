"""The run directory: append-only files that survive crashes, one writer, and what a resume supersedes."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core.errors import ConfigError, FileError, RunConflictError
from engine.core.events import (
    AlertRaised,
    CheckpointSaved,
    EvalCompleted,
    Event,
    RunFinished,
    RunResumed,
    RunStarted,
    SamplesDrawn,
    StageFinished,
    StageStarted,
    StepCompleted,
    to_json,
)
from engine.rundir.directory import RunDir, check_name, effective, find_run, heal, list_runs, runs_home, write_text


def step(stage: str, number: int, at: float = 0.0) -> StepCompleted:
    return StepCompleted(stage, number, {f"{stage}/loss": 1.0 / number}, at)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    rundir = RunDir(tmp_path / "tiny")
    rundir.path.mkdir()
    return rundir


def test_paths_are_those_of_the_design(run: RunDir) -> None:
    names = [run.run_toml, run.events, run.samples, run.eval, run.status, run.control, run.log]
    expected = ["run.toml", "events.jsonl", "samples.jsonl", "eval.jsonl", "status.json", "control.jsonl", "log.txt"]
    assert [path.name for path in names] == expected
    assert run.final("pretrain") == run.path / "base" / "final"
    assert run.step_dir("ppo", 200) == run.path / "ppo" / "step-000200"


def test_events_come_back_in_order_and_samples_apart(run: RunDir) -> None:
    written: list[Event] = [RunStarted("tiny", 0, {}), StageStarted("sft", 2), step("sft", 1), step("sft", 2)]
    drawn = SamplesDrawn("sft", 1, [{"prompt": "a", "response": "b"}])
    for event in (*written, drawn):
        run.append(event)
    assert run.read_events() == written
    assert run.read_samples() == [drawn]
    assert "prompt" not in run.events.read_text()


def test_a_torn_last_line_is_ignored_and_then_healed(run: RunDir) -> None:
    run.append(step("sft", 1))
    with run.events.open("a") as file:
        file.write(to_json(step("sft", 2))[:-7])
    assert run.read_events() == [step("sft", 1)]
    fresh = RunDir(run.path)
    fresh.append(step("sft", 2, at=5.0))
    assert fresh.read_events() == [step("sft", 1), step("sft", 2, at=5.0)]
    assert run.events.read_text().count("\n") == 2


def test_a_line_torn_within_a_character_is_healed(run: RunDir) -> None:
    run.events.write_bytes((to_json(step("sft", 1)) + "\n").encode() + '{"x":"é'.encode()[:-1])
    assert run.read_events() == [step("sft", 1)]
    heal(run.events)
    assert run.events.read_bytes().endswith(b"}\n")


def test_a_file_that_is_one_torn_line_becomes_empty(run: RunDir) -> None:
    run.events.write_text('{"schema"')
    heal(run.events)
    assert run.events.read_bytes() == b""


def test_a_resume_takes_back_what_lay_past_it(run: RunDir) -> None:
    kept: list[Event] = [
        StageStarted("sft", 9),
        step("sft", 9),
        StageStarted("rm", 5),
        step("rm", 1),
        step("rm", 2),
        CheckpointSaved("rm", 2, "rm/step-000002"),
    ]
    dropped: list[Event] = [
        step("rm", 3),
        EvalCompleted("rm", 3, {}),
        AlertRaised("rm", 3, "nan", "x"),
        CheckpointSaved("rm", 3, "y"),
        StageFinished("rm", 3, {}),
    ]
    again: list[Event] = [RunResumed("rm", 2), StageStarted("rm", 5, at=1.0), step("rm", 3, at=1.0)]
    for event in kept + dropped + again:
        run.append(event)
    assert run.read_events() == [*kept, again[0], again[2]]


def test_a_resume_from_nothing_takes_back_the_whole_stage() -> None:
    said: list[Event] = [StageStarted("rm", 5), EvalCompleted("rm", 0, {}), step("rm", 1)]
    again: list[Event] = [RunResumed("rm", 0), StageStarted("rm", 7), step("rm", 1)]
    assert effective([*said, *again]) == again


def test_a_resume_leaves_other_stages_alone() -> None:
    said: list[Event] = [step("sft", 8), StageFinished("sft", 8, {}), step("rm", 4)]
    assert effective([*said, RunResumed("rm", 2)]) == [*said[:2], RunResumed("rm", 2)]


def test_a_later_resume_from_an_earlier_step_takes_back_more() -> None:
    events: list[Event] = [step("rm", n) for n in (1, 2, 3)]
    assert effective([*events, RunResumed("rm", 2), step("rm", 3), RunResumed("rm", 1)]) == [
        events[0],
        RunResumed("rm", 2),
        RunResumed("rm", 1),
    ]


def test_samples_are_superseded_too(run: RunDir) -> None:
    first, second, third = (SamplesDrawn("ppo", n, [{"n": n}]) for n in (1, 2, 2))
    for event in (first, second, RunResumed("ppo", 1), third):
        run.append(event)
    assert run.read_samples() == [first, third]


def test_two_writers_are_refused_and_the_first_is_named(run: RunDir) -> None:
    busy = f"'tiny' is being written by process {os.getpid()} on"
    with run.lock(), pytest.raises(RunConflictError, match=busy), RunDir(run.path).lock():
        pass
    with run.lock():
        pass


def test_the_lock_ends_with_a_killed_process(run: RunDir) -> None:
    code = (
        "import sys, time; from pathlib import Path; from engine.rundir.directory import RunDir\n"
        "with RunDir(Path(sys.argv[1])).lock():\n    print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    with pytest.raises(RunConflictError, match=f"process {child.pid}"), run.lock():
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with run.lock():
        pass


def append_many(path: Path, name: str) -> None:
    rundir = RunDir(path)
    for number in range(1, 201):
        rundir.append(step(name, number))


def test_each_event_is_one_write_that_does_not_mix_with_others(run: RunDir) -> None:
    run.events.touch()
    spawned = multiprocessing.get_context("spawn")
    children = [spawned.Process(target=append_many, args=(run.path, name)) for name in ("a", "b")]
    for child in children:
        child.start()
    for child in children:
        child.join()
    events = run.read_events()
    assert len(events) == 400
    for name in ("a", "b"):
        assert [event.step for event in events if isinstance(event, StepCompleted) and event.stage == name] == list(
            range(1, 201)
        )


def test_ten_thousand_rows_are_all_read(run: RunDir) -> None:
    run.events.write_text("".join(to_json(step("ppo", number)) + "\n" for number in range(1, 10_001)))
    assert len(run.read_events()) == 10_000


def test_started_and_finished_stages(run: RunDir) -> None:
    run.append(StageStarted("sft", 3))
    assert run.started() == set(), "it has nothing to lose yet"
    run.append(step("sft", 1))
    assert run.started() == {"sft"}
    assert run.finished("sft") is None
    run.final("sft").mkdir(parents=True)
    run.final("rm").mkdir(parents=True)
    assert run.started() == {"sft", "rm"}
    assert run.finished("sft") == run.final("sft")
    assert run.finished("eval") is None
    run.result.write_text("{}")
    assert run.finished("eval") is not None


@pytest.mark.parametrize(
    "text",
    ["schema = ", "shared = 3", "[shared]\nsft = 4", "[shared.sft]\npath = 5", f"[shared.sft]\npath = '{'x' * 6000}'"],
)
def test_a_run_toml_that_is_damaged_shares_nothing(run: RunDir, text: str) -> None:
    run.final("rm").mkdir(parents=True)
    run.run_toml.write_text(text)
    assert (run.finished("sft"), run.finished("rm")) == (None, run.final("rm"))


def test_saved_steps_are_listed_oldest_first(run: RunDir) -> None:
    for number in (20, 5, 100):
        run.step_dir("ppo", number).mkdir(parents=True)
    (run.stage_dir("ppo") / "step-000007.tmp").mkdir()
    (run.stage_dir("ppo") / "final").mkdir()
    assert run.saved_steps("ppo") == [5, 20, 100]
    assert run.saved_steps("rm") == []


def test_a_replaced_file_is_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.json"
    write_text(target, "one")
    write_text(target, "two")
    assert target.read_text() == "two"
    assert list(target.parent.iterdir()) == [target]


def test_runs_are_found_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_text(tmp_path / name / "run.toml", "schema = 2\n")
    (tmp_path / "other").mkdir()
    assert [run.name for run in list_runs(tmp_path)] == ["a", "b"]
    assert list_runs(tmp_path / "none") == []
    assert find_run(tmp_path, "a").name == "a"
    with pytest.raises(FileError, match=r"no run named 'c' .*existing runs: a, b"):
        find_run(tmp_path, "c")


def test_a_file_is_no_folder_of_runs(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    for look in (list_runs, lambda home: find_run(home, "tiny")):
        with pytest.raises(FileError, match=r"runs is a file, not a folder of runs: move it, or set SLMCTL_RUNS"):
            look(tmp_path / "runs")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "-x", "a:b", "a@1", "a\nb", "a\0", " a", "a ", "a\x1b"])
def test_names_that_are_no_directory_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid run name"):
        check_name(name)


@pytest.mark.parametrize("name", ["a b", "[b]x", "a.b", "é", "a" * 200])
def test_other_names_can_be_a_runs(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (" a", "white space"),
        ("a/b", r"contain / \\ : @"),
        (".a", "start with"),
        ("a" * 201, "200 bytes"),
        ("hf", "hf or pocket"),
    ],
)
def test_a_refused_name_is_answered_with_the_rule_it_breaks(name: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=f"is not a valid run name: it must not .*{rule}"):
        check_name(name)


def test_the_home_of_runs() -> None:
    assert runs_home({}) == runs_home({"SLMCTL_RUNS": ""}) == Path("runs")
    assert runs_home({"SLMCTL_RUNS": "/data/runs"}) == Path("/data/runs")


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FileError, match=r"cannot write to .*file/run: Not a directory"),
        RunDir(tmp_path / "file/run").lock(),
    ):
        pass


def test_a_stage_owes_words_until_the_run_says_that_it_finished(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert not run.lacks_ending("sft")
    run.append(StageFinished("sft", 3, {}))
    assert run.lacks_ending("sft")
    assert not run.lacks_ending("pretrain")
    run.append(RunFinished("sft"))
    assert not run.lacks_ending("sft")
