"""A run that was killed, interrupted, paused or refused ends as one that never was: bit for bit.

Real processes, real SIGKILL: at file operations that matter (chains below, each kill of a chain hits the same run), at
random ones, and from outside at random steps.
"""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.core.events import (
    AlertRaised,
    CheckpointSaved,
    ControlAcknowledged,
    Event,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    StageFinished,
    StepCompleted,
    stamp,
)
from engine.rundir.directory import STAGES, RunDir
from engine.rundir.heartbeat import liveness, make_request, read_status
from tests.end_to_end.conftest import (
    Kill,
    Nursery,
    Reference,
    arguments,
    assert_same_files,
    assert_same_stage,
    at_step,
    cut_before,
    ended,
    kill_nine,
    result_of,
    rows,
    slmctl,
    wait_for,
)

KILLED = -signal.SIGKILL
SAYS = "write .*/events.jsonl"


def saves(directory: str, first: int, every: int) -> list[Kill]:
    """Kills around saved steps: while one is written, before and after it has its name, and while an old one goes."""
    return [
        Kill(f"write .step-{first:06d}.writing/state.json"),
        Kill(f"rename {directory}/step-{first:06d}"),
        Kill(f"rename {directory}/step-{first:06d}", after=1),
        Kill(f"rename {directory}/step-{first + every:06d}", after=2),
        Kill(f"rename {directory}/.step-{first:06d}.deleted", after=3),
    ]


def ends(directory: str) -> list[Kill]:
    """Kills around the end of a stage: before and after final/ has its name, and between its last two events."""
    return [
        Kill(f"rename {directory}/final"),
        Kill(f"rename {directory}/final", after=1),
        Kill(SAYS, nth=3),  # the resume is said, final/ is, and the end of the stage is not yet
    ]


CHAINS: dict[str, list[Kill]] = {
    "pretrain": [
        Kill("rename .*/run.toml"),
        Kill(SAYS),
        Kill(SAYS, nth=4),
        *saves("base", 3, 3),
        *ends("base"),
    ],
    "sft": [
        Kill(SAYS, nth=5),
        *saves("sft", 3, 3)[:3],
        Kill("rename sft/.best.replaced", after=1),
        *saves("sft", 3, 3)[4:],
        *ends("sft"),
    ],
    "comparisons": [Kill(SAYS, nth=4), *saves("comparisons", 5, 5)[:3], *ends("comparisons")],
    "rm": [Kill(SAYS, nth=4), *saves("rm", 3, 3), *ends("rm")],
    "ppo": [
        Kill("write .*/samples.jsonl", nth=2),
        *saves("ppo", 2, 2),
        *ends("ppo"),
    ],
    "eval": [
        Kill(SAYS, nth=4),
        Kill("rename .*/eval.jsonl"),
        Kill("rename .*/eval.jsonl", after=1),
        Kill(SAYS, nth=9),
        Kill("write .*/.result.json.*tmp"),
        Kill("rename .*/result.json"),
        Kill("rename .*/result.json", after=1),
    ],
}


def command(stage: str, run: str) -> tuple[str, ...]:
    """The shortest command that does `stage` with what comes before it done."""
    return arguments(run, {"comparisons": "rm", "eval": "run"}.get(stage, stage))


@pytest.mark.parametrize("stage", STAGES)
def test_kill_nine_at_every_place_that_matters(stage: str, nursery: Nursery, reference: Reference) -> None:
    name = f"killed-{stage}"
    run = RunDir(nursery.home / name)
    if stage != "pretrain":
        cut_before(reference.run, run.path, stage)
    for kill in CHAINS[stage]:
        assert nursery.run(*command(stage, name), kill=kill).code == KILLED, f"{kill} did not come"
    outcome = nursery.run(*command(stage, name))
    assert outcome.code == 0, outcome.err
    assert_same_stage(reference.run, run, stage)
    assert isinstance(run.read_events()[-1], RunFinished)


def test_an_early_stop_of_ppo_is_found_again_after_kill_nine(nursery: Nursery, reference: Reference) -> None:
    settings = ("ppo.lr=0.05", "ppo.alert_kl_nats=0.5", "ppo.stop_kl_nats=0.5", "ppo.save_every=1")
    typed = [word for setting in settings for word in ("--set", setting)]
    runs = [cut_before(reference.run, nursery.home / name, "ppo") for name in ("early", "early-killed")]
    assert nursery.run(*command("ppo", "early"), *typed).code == 0
    for kill in (Kill("rename ppo/final"), Kill("rename ppo/final", after=1)):
        assert nursery.run(*command("ppo", "early-killed"), *typed, kill=kill).code == KILLED
    assert nursery.run(*command("ppo", "early-killed"), *typed).code == 0
    assert_same_stage(runs[0], runs[1], "ppo")
    finished = [event for event in runs[0].read_events() if isinstance(event, StageFinished)][-1]
    assert 1 < finished.step < 8
    assert any(isinstance(event, AlertRaised) for event in runs[0].read_events())


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_nine_at_random_operations_of_a_whole_run(seed: int, nursery: Nursery, reference: Reference) -> None:
    rng, name = random.Random(seed), f"random-{seed}"
    kills = 0
    while nursery.run(*arguments(name), kill=Kill("", nth=rng.randint(1, 120))).code == KILLED:
        kills += 1
        assert kills < 200
    assert kills >= 3
    assert_same_run(reference.run, RunDir(nursery.home / name))


def test_kill_nine_from_outside_at_random_steps(nursery: Nursery, reference: Reference) -> None:
    rng, run = random.Random(7), RunDir(nursery.home / "outside")
    for stage in STAGES[:-1]:
        last = max(x.step for x in reference.run.read_events() if isinstance(x, StepCompleted) and x.stage == stage)
        reached = at_step(run, stage, rng.randint(1, last))
        pid = nursery.start(*arguments("outside"))
        wait_for(reached, stage)
        kill_nine(pid)
        assert nursery.finish().code == KILLED
        assert liveness(read_status(run), 0.0) == "dead"
    assert nursery.run(*arguments("outside")).code == 0
    assert_same_run(reference.run, run)
    assert {event.stage for event in run.all_events() if isinstance(event, RunResumed)} >= set(STAGES[1:-1])


def assert_same_run(reference: RunDir, run: RunDir) -> None:
    """Two finished runs hold the same, and said the same."""
    for stage in STAGES:
        assert_same_stage(reference, run, stage)
    said, others = rows(run.read_events()), rows(reference.read_events())
    assert [{**row, "run": ""} for row in said] == [{**row, "run": ""} for row in others]


@pytest.mark.parametrize("stage", ["pretrain", "sft", "comparisons", "rm", "ppo"])
def test_ctrl_c_finishes_the_step_and_the_same_command_goes_on(
    stage: str, nursery: Nursery, reference: Reference
) -> None:
    name = f"ctrl-c-{stage}"
    run = RunDir(nursery.home / name)
    if stage != "pretrain":
        cut_before(reference.run, run.path, stage)
    pid = nursery.start(*command(stage, name))
    wait_for(at_step(run, stage, 2), stage)
    os.kill(pid, signal.SIGINT)
    outcome = nursery.finish()
    assert (outcome.code, outcome.out) == (130, "")
    assert "rerun the same command to resume" in outcome.err
    stopped = run.read_events()[-1]
    assert isinstance(stopped, RunPaused)
    assert (stopped.stage, stopped.reason) == (stage, "by a signal")
    assert run.saved_steps(stage)[-1] == stopped.step
    assert nursery.run(*command(stage, name)).code == 0
    assert_same_files(reference.run.final(stage), run.final(stage))
    said, whole = (
        [row for row in rows(each.read_events(), stage) if row["event"] in ("StepCompleted", "StageFinished")]
        for each in (run, reference.run)
    )
    assert said == whole


def test_ctrl_c_during_the_evaluation_begins_it_again(nursery: Nursery, reference: Reference) -> None:
    run = cut_before(reference.run, nursery.home / "ctrl-c-eval", "eval")
    pid = nursery.start(*command("eval", run.name))
    wait_for(at_step(run, "eval", 1), "eval")
    os.kill(pid, signal.SIGINT)
    assert nursery.finish().code == 130
    assert not run.result.exists()
    assert nursery.run(*command("eval", run.name)).code == 0
    assert result_of(run) == result_of(reference.run)


def test_a_second_ctrl_c_leaves_at_once(nursery: Nursery, reference: Reference) -> None:
    run = cut_before(reference.run, nursery.home / "twice", "ppo")
    endless = ("ppo.rollout_batch=20000", "ppo.kl_horizon=100000", "ppo.steps=9")
    process = slmctl(nursery.home, *command("ppo", "twice"), *(word for each in endless for word in ("--set", each)))
    wait_for(lambda: any(getattr(event, "stage", "") == "ppo" for event in run.read_events()), "ppo")
    process.send_signal(signal.SIGINT)
    wait_for(lambda: process.stderr is not None and "again to quit" in process.stderr.readline(), "the first answer")
    process.send_signal(signal.SIGINT)
    assert ended(process).code == 130
    assert not isinstance(run.read_events()[-1], (RunPaused, StepCompleted))


def test_a_second_process_is_refused_and_told_which_has_the_run(nursery: Nursery, reference: Reference) -> None:
    run = cut_before(reference.run, nursery.home / "shared", "ppo")
    pid = nursery.start(*command("ppo", "shared"), "--set", "ppo.steps=400")
    wait_for(at_step(run, "ppo", 1), "ppo")
    outcome = ended(slmctl(nursery.home, *command("ppo", "shared"), "--set", "ppo.steps=400"))
    assert (outcome.code, outcome.out) == (2, "")
    assert f"run 'shared' is being written by process {pid}" in outcome.err
    assert outcome.err.count("\n") == 1
    os.kill(pid, signal.SIGTERM)
    assert nursery.finish().code == 130


def test_requests_of_a_screen_are_heeded_and_acknowledged(nursery: Nursery, reference: Reference) -> None:
    run = cut_before(reference.run, nursery.home / "asked", "ppo")
    nursery.start(*command("ppo", "asked"), "--set", "ppo.steps=400", "--set", "ppo.save_every=1000")
    wait_for(at_step(run, "ppo", 1), "ppo")
    for number, request in enumerate(("save", "pause", "resume", "stop"), start=1):
        assert make_request(run, request) == number
        wait_for(acknowledged(run, number, request), request)
        if request == "save":
            wait_for(lambda: bool(run.saved_steps("ppo")), "the save")
        if request == "pause":
            wait_for(lambda: (read_status(run) or {}).get("state") == "paused", "the pause")
            assert (read_status(run) or {})["last"] == "ppo"
            before = len(run.all_events())
            wait_for(lambda: (read_status(run) or {}).get("state") == "paused", "another look")
            assert len(run.all_events()) == before
    assert nursery.finish().code == 130
    stopped = run.read_events()[-1]
    assert isinstance(stopped, RunPaused)
    assert (stopped.reason, run.saved_steps("ppo")[-1]) == ("as requested", stopped.step)


def test_a_pause_starts_after_its_step_and_delays_no_save(nursery: Nursery, reference: Reference) -> None:
    run = cut_before(reference.run, nursery.home / "waiting", "ppo")
    settings = ("ppo.steps=400", "ppo.save_every=1000", "ppo.samples_every=1")
    nursery.start(*command("ppo", "waiting"), *(word for each in settings for word in ("--set", each)))
    wait_for(at_step(run, "ppo", 1), "ppo")
    make_request(run, "pause")
    wait_for(acknowledged(run, 1, "pause"), "the pause")
    step = max(event.step for event in run.read_events() if isinstance(event, StepCompleted) and event.stage == "ppo")
    assert run.read_samples()[-1].step == step
    make_request(run, "save")
    wait_for(lambda: CheckpointSaved("ppo", step, f"ppo/step-{step:06d}") in untimed(run), "the save")
    assert run.saved_steps("ppo") == [step]
    wait_for(lambda: (read_status(run) or {}).get("state") == "paused", "the next heartbeat")
    make_request(run, "stop")
    assert nursery.finish().code == 130
    assert untimed(run)[-1] == RunPaused("ppo", step, "as requested")
    assert [event.step for event in untimed(run) if isinstance(event, CheckpointSaved) and event.stage == "ppo"] == [
        step
    ]


def untimed(run: RunDir) -> list[Event]:
    """The events of a run, their times left out."""
    return [stamp(event, 0.0) for event in run.read_events()]


def acknowledged(run: RunDir, number: int, request: str) -> Callable[[], bool]:
    """Whether the run has said that it heeded a request."""

    def heard() -> bool:
        said = [event for event in run.read_events() if isinstance(event, ControlAcknowledged)]
        return (number, request) in [(event.number, event.request) for event in said]

    return heard


def test_a_loss_that_is_not_finite_keeps_the_last_good_save(nursery: Nursery) -> None:
    run = RunDir(nursery.home / "diverging")
    outcome = nursery.run(
        *arguments("diverging", "pretrain", "--set", "pretrain.weight_decay=3e4", "--set", "pretrain.muon_lr=0")
    )
    assert_diverged(outcome.code, outcome.err, run, "pretrain")
    saved = run.saved_steps("pretrain")
    assert saved
    weights = load_file(run.step_dir("pretrain", saved[-1]) / "model.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    assert not run.final("pretrain").exists()


@pytest.mark.parametrize("stage", ["sft", "rm", "ppo"])
def test_a_model_whose_numbers_overflow_is_exit_4(stage: str, nursery: Nursery, reference: Reference) -> None:
    run = cut_before(reference.run, nursery.home / f"nan-{stage}", stage)
    broken = poisoned(reference.run.final("pretrain" if stage == "sft" else "sft"), nursery.home / f"broken-{stage}")
    outcome = nursery.run(*command(stage, run.name), "--init", str(broken))
    assert_diverged(outcome.code, outcome.err, run, stage)
    assert not any(run.stage_dir(stage).glob("*"))


def assert_diverged(code: int, err: str, run: RunDir, stage: str) -> None:
    """Exit 4 with one sentence, which the events hold too."""
    assert code == 4, err
    assert err.count("\n") == 1
    assert "the last good checkpoint is kept" in err
    alert, last = run.read_events()[-2:]
    assert isinstance(last, RunFailed) and isinstance(alert, AlertRaised)
    assert (last.stage, f"error: {last.error}\n") == (stage, err)
    assert (alert.stage, alert.alert) == (stage, "nan")


def poisoned(model: Path, target: Path) -> Path:
    """A copy of a checkpoint whose last norm makes numbers that no float32 holds."""
    target.mkdir()
    for file in model.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    weights = load_file(target / "model.safetensors")
    weights["model.norm.weight"].fill_(3e38)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_an_unexpected_error_leaves_its_traceback_in_the_log(nursery: Nursery, reference: Reference) -> None:
    run = cut_before(reference.run, nursery.home / "buggy", "sft")
    run.stage_dir("sft").write_text("a file where a directory belongs")
    outcome = nursery.run(*command("sft", "buggy"))
    assert outcome.code == 70, outcome.err
    assert f"traceback in {run.log}" in outcome.err
    assert "Traceback" in run.log.read_text()
    assert "Traceback" not in outcome.err
    last = run.read_events()[-1]
    assert isinstance(last, RunFailed)
    assert "internal error" in last.error
