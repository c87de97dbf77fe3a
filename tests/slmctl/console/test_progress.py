"""Events become bars on a terminal and lines off it, with rate, time left and the numbers that matter."""

import io

import pytest
from rich.console import Console

from engine.core.events import (
    AlertRaised,
    ControlAcknowledged,
    EvalCompleted,
    Event,
    PhaseProgress,
    RunResumed,
    StageFinished,
    StageStarted,
    StepCompleted,
)
from engine.core.metrics import headline
from engine.rundir.directory import STAGES
from slmctl.console.progress import EventLines, LineReporter, StageProgress, duration
from slmctl.console.progress_bars import BarReporter

EVENTS: list[Event] = [
    StageStarted("ppo", 40, {"prompts": 1500}, 100.0),
    *(
        StepCompleted("ppo", n, {"ppo/score": n / 10, "ppo/kl_nats": 0.5, "ppo/lr": 1.0}, 100.0 + 2 * n)
        for n in range(1, 41)
    ),
    StageFinished("ppo", 40, {"ppo/score": 4.0}, 181.0),
]


def test_pace_knows_rate_and_time_left() -> None:
    progress = StageProgress("tiny")
    for event in EVENTS[:12]:
        progress.take(event)
    assert progress.pace.step_s() == 2.0
    assert progress.time_left() == "0.5/s 58 s left"
    assert progress.headline() == "reward 1.1  KL 0.5"


def test_pace_after_a_resume_counts_its_own_steps_only() -> None:
    progress = StageProgress("tiny")
    progress.take(StageStarted("rm", 100, {}, 0.0))
    progress.take(StepCompleted("rm", 51, {}, 10.0))
    progress.take(StepCompleted("rm", 52, {}, 10.5))
    assert progress.time_left() == "2/s 24 s left"


def test_held_out_numbers_are_shown_with_the_steps() -> None:
    progress = StageProgress("tiny")
    progress.take(StageStarted("rm", 9, {}, 0.0))
    progress.take(EvalCompleted("rm", 1, {"rm/validation_accuracy": 0.75}, 1.0))
    assert progress.headline() == "held-out 0.75"


def test_plain_lines_come_every_few_seconds_and_at_the_end() -> None:
    out = io.StringIO()
    lines = LineReporter(out, EventLines("tiny", every_s=10.0))
    for event in EVENTS:
        lines.show(event)
    written = out.getvalue().splitlines()
    assert written[0] == "ppo: 40 steps (prompts 1,500)"
    assert written[1] == "ppo 5/40  reward 0.5  KL 0.5  0.5/s 1:10 min left"
    assert written[-2].startswith("ppo 40/40")
    assert written[-1] == "ppo: finished  reward 4"
    assert len(written) == 2 + 8


def test_notes_are_lines_of_their_own() -> None:
    out = io.StringIO()
    for event in (
        RunResumed("rm", 0, 1.0),
        RunResumed("ppo", 20, 1.0),
        AlertRaised("ppo", 21, "kl", "KL is\x1b[2J 12 nats", 2.0),
    ):
        LineReporter(out, EventLines("tiny")).show(event)
    assert out.getvalue() == "ppo: resuming after step 20\nalert at ppo step 21: KL is␛[2J 12 nats\n"


PAUSE: list[Event] = [
    *EVENTS[:4],
    ControlAcknowledged(1, "pause", 107.0),
    ControlAcknowledged(2, "save", 108.0),
    ControlAcknowledged(3, "resume", 907.0),
    *EVENTS[4:6],
]


def test_a_pause_is_told_with_the_way_to_end_it() -> None:
    out = io.StringIO()
    lines = LineReporter(out, EventLines("my run"))
    for event in PAUSE:
        lines.show(event)
    assert out.getvalue().splitlines()[2:5] == [
        "ppo: paused after step 3; to resume, press p in slmctl watch 'my run'; Ctrl-C saves and stops",
        "ppo: saving after step 3",
        "ppo: resumed after step 3",
    ]


def test_bars_show_a_pause_and_leave_it_out_of_the_pace() -> None:
    out = io.StringIO()
    bars = BarReporter("tiny", Console(file=out, force_terminal=True, width=120, color_system=None))

    def shown() -> str:
        return "".join(segment.text for segment in Console(width=120).render(bars.frame()))

    for event in PAUSE[:6]:
        bars.show(event)
    assert "3/40" in shown() and shown().rstrip().endswith("paused")
    for event in PAUSE[6:]:
        bars.show(event)
    bars.close()
    assert "5/40" in shown() and "0.5/s 1:10 min left" in shown()
    assert "p in slmctl watch tiny" in out.getvalue()


def test_bars_show_the_stage_and_alerts_without_markup() -> None:
    out = io.StringIO()
    bars = BarReporter("tiny", Console(file=out, force_terminal=True, width=120, color_system=None))
    for event in [*EVENTS[:5], AlertRaised("ppo", 4, "kl", "[/nope] 12 nats", 110.0), *EVENTS[5:]]:
        bars.show(event)
    bars.close()
    text = out.getvalue()
    assert "[/nope] 12 nats" in text
    assert "40/40" in text and "reward 4" in text and "ppo" in text


def test_the_bars_of_a_whole_run_are_whole_on_eighty_columns() -> None:
    out = io.StringIO()
    bars = BarReporter("tiny", Console(file=out, force_terminal=True, width=80, color_system=None))
    shown = {stage: [metric.name for metric in headline(stage)] for stage in STAGES}
    for stage, names in shown.items():
        bars.show(StageStarted(stage, 1600, {}, 0.0))
        for step in range(1, 20):
            bars.show(StepCompleted(stage, step, dict.fromkeys(names, 12.34), step * 0.06))
    frame = "".join(segment.text for segment in Console(width=80).render(bars.frame()))
    bars.close()
    assert "…" not in frame
    assert [line.split()[0] for line in frame.splitlines()] == list(shown)
    assert frame.count("19/1600") == frame.count("17/s 1:35 min left") == len(shown)
    assert frame.count("12.3") == sum(map(len, shown.values()))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (185, "3:05 min"), (7800, "2:10 h")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_phase_is_shown_beside_its_bar_and_as_a_line() -> None:
    progress = PhaseProgress("rm", "normalization", 3, 11, 50.0)
    out = io.StringIO()
    lines = LineReporter(out, EventLines("tiny", every_s=5.0, stages=("sft", "rm")))
    for event in (StageStarted("rm", 9, {}, 1.0), progress, PhaseProgress("rm", "normalization", 4, 11, 51.0)):
        lines.show(event)
    assert out.getvalue() == "2/2 rm: 9 steps\nrm normalization 3/11\n"
    drawn = io.StringIO()
    bars = BarReporter("tiny", Console(file=drawn, force_terminal=True, width=120), ("sft", "rm"))
    bars.show(StageStarted("rm", 9, {}, 1.0))
    bars.show(progress)
    bars.close()
    assert "2/2 rm" in drawn.getvalue() and "normalization 3/11" in drawn.getvalue()
