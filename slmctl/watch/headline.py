"""The lines above the charts: which run, where it is, how it stands, what went wrong, and what to type then.

All text that we did not write passes tui/safe.py here.
"""

from collections.abc import Sequence
from math import isfinite

from engine.core.events import RunFailed, RunPaused
from engine.run.pipeline import NAMES
from engine.rundir.heartbeat import NOT_BEGUN
from slmctl.console.progress import duration
from slmctl.console.safe import one_line
from slmctl.plots.rows import Row, cell_width, fit_to_width, truncate
from slmctl.runs.launch import command_line, resume_words
from slmctl.watch.history import RunHistory

LONGEST_NAME = 20
LEAST_BAR, MOST_BAR = 8, 60


def run_row(story: RunHistory, now: float, width: int, letter: str = "", ascii: bool = False) -> Row:
    """One run in one line: name, stage, step, bar, share, pace, time left, and in a word how it stands."""
    stage = story.current
    step, steps = story.stage(stage).step, story.steps_of(stage)
    word = one_line(story.pulse.word, 12)
    left: Row = [(f" {letter} " if letter else " ", "letter"), (truncate(one_line(story.name), LONGEST_NAME), "name")]
    left.append((f"  {one_line(stage)} {step}/{steps}" if steps else f"  {one_line(stage)}", "step"))
    right: Row = [(f" {word} ", f"state-{story.pulse.word}")]
    eta, pace = story.eta_s(now), story.step_s()
    extras = [
        (f"  {duration(eta)} left" if eta is not None else "", "eta"),
        (f" {min(1.0, step / steps):4.0%} " if steps else "", "step"),
        (f"  {_pace(pace)}" if pace and story.pulse.word == "running" else "", "note"),
    ]
    room = width - cell_width(left) - cell_width(right) - 1
    kept = []
    for text, role in extras:
        if text and len(text) <= room:
            kept.append((text, role))
            room -= len(text)
    bar = min(MOST_BAR, room - 2)
    middle = [(" ", ""), *_bar(step, steps, bar, ascii)] if steps and bar >= LEAST_BAR else []
    order = {"step": 0, "note": 1, "eta": 2}
    row = [*left, *middle, *sorted(kept, key=lambda part: order[part[1]])]
    return (
        [*fit_to_width(row, max(0, width - cell_width(right))), *right]
        if width > cell_width(right)
        else fit_to_width(right, width)
    )


def stage_parts(story: RunHistory, shown: str, width: int, ascii: bool = False) -> list[tuple[str, str, str]]:
    """The stages as (name, text, role): its number, whether it is done, and brackets around the one that is shown.

    Where they do not fit, the others are told by their numbers alone.
    """
    parts = [_stage_part(story, name, number, shown, ascii) for number, name in enumerate(story.names, start=1)]
    if sum(len(text) for _, text, _ in parts) <= width:
        return parts
    return [
        (name, text if name == shown else text.replace(f" {one_line(name, 12)}", "").rstrip(), role)
        for name, text, role in parts
    ]


def _stage_part(story: RunHistory, name: str, number: int, shown: str, ascii: bool) -> tuple[str, str, str]:
    done, going = ("+", ">") if ascii else ("✓", "▸")
    finished = story.stage(name).finished is not None or name in story.about.shared
    now = name == story.current and not finished
    mark = f" {done}" if finished else f" {going}" if now else ""
    text = f"{number} {one_line(name, 12)}{mark}"
    role = "stage-done" if finished else "stage-now" if now else "stage-later"
    return name, f"[{text}]" if name == shown else f" {text} ", f"{role} shown" if name == shown else role


def explanation(story: RunHistory, now: float) -> str:
    """What there is to say of how a run stands, in one or two sentences; nothing while it simply runs."""
    word, again = story.pulse.word, command_line(resume_words(story.name, story.pulse.last))
    at = _last_save(story)
    told = {
        "paused": f"Paused after {story.current} step {story.stage(story.current).step}.",
        "slow": f"No sign of life for {duration(max(0.0, now - story.pulse.beat_at))}, though its process is there.",
        "dead": f"Its process is gone; {at}. To go on: {again}",
        "ended": f"Its process ended without a word; {at}. To go on: {again}",
        "stopped": f"Stopped and saved{_after(story)}. To go on: {again}",
        "failed": f"Failed: {_error(story)} To go on: {again}",
        NOT_BEGUN: f"It has not begun. To begin: {again}",
        "gone": "The run's folder is not there any more.",
        "finished": result(story),
    }
    return one_line(told.get(word, "") or story.about.error)


def result(story: RunHistory) -> str:
    """What the evaluation found, or which stage is done."""
    said = story.stage("eval").latest()
    rates = [said.get(f"eval/{name}", float("nan")) for name in ("win_rate", "win_rate_low", "win_rate_high")]
    if all(map(isfinite, rates)):
        return "PPO beats SFT on {:.1%} of the test prompts ({:.1%} to {:.1%}).".format(*rates)
    return f"The {NAMES.get(story.current, story.current)} is done." if story.current else ""


def alert_texts(stories: Sequence[RunHistory]) -> list[str]:
    """Every alarm in words, the newest first, with its run where there are several."""
    several = len(stories) > 1
    found = [(alarm, story.name) for story in stories for alarm in story.alarms]
    found.sort(key=lambda pair: pair[0].at, reverse=True)
    return [
        one_line(f"{name + ', ' if several else ''}{alarm.stage} step {alarm.step}: {alarm.message}")
        for alarm, name in found
    ]


def _bar(step: int, steps: int, width: int, ascii: bool) -> Row:
    full = round(width * min(1.0, step / steps))
    done, rest = "#-" if ascii else "━─"
    return [(done * full, "bar"), (rest * (width - full), "rest")]


def _pace(step_s: float) -> str:
    return f"{step_s:.2g} s a step" if step_s >= 1 else f"{1 / step_s:.2g} steps/s"


def _last_save(story: RunHistory) -> str:
    saves = story.stage(story.current).saves
    if saves:
        return f"saved last after {saves[-1].stage} step {saves[-1].step}"
    return f"nothing of {story.current} was saved yet" if story.current else "nothing was saved"


def _after(story: RunHistory) -> str:
    return f" after {story.ending.stage} step {story.ending.step}" if isinstance(story.ending, RunPaused) else ""


def _error(story: RunHistory) -> str:
    text = story.ending.error if isinstance(story.ending, RunFailed) else "nobody was told why"
    return text if text.endswith((".", "!", "?")) else text + "."
