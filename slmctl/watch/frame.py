"""A run in words, and one frame of what `slmctl watch` shows, as rows of any width for a pipe, a log or a quick look.

The lines above the charts are also those of the screen: name and progress of a run, its stages, what went wrong, and
the command to continue. All text that we did not write passes console.safe here.
"""

from collections.abc import Sequence
from math import isfinite

from engine.core.events import RunFailed, RunPaused
from engine.run.pipeline import NAMES
from engine.rundir.heartbeat import NOT_BEGUN
from slmctl.console.progress import duration
from slmctl.console.safe import one_line
from slmctl.plots.styled_rows import Row, cell_width, fit_to_width, side_by_side, truncate, wrap
from slmctl.runs.launch import command_line, resume_words
from slmctl.watch.history import RunHistory
from slmctl.watch.panels import LETTERS, ChartView, panel_rows, panels_of
from slmctl.watch.samples import parse_samples
from slmctl.watch.state import stage_to_show

LONGEST_NAME = 20
LEAST_BAR, MOST_BAR = 8, 60


def run_row(run: RunHistory, now: float, width: int, letter: str = "", ascii: bool = False) -> Row:
    """One run in one line: name, stage, step, bar, percentage, pace, time left and state."""
    stage = run.current
    step, steps = run.stage(stage).step, run.steps_of(stage)
    state = run.process.state
    left: Row = [(f" {letter} " if letter else " ", "letter"), (truncate(one_line(run.name), LONGEST_NAME), "name")]
    left.append((f"  {one_line(stage)} {step}/{steps}" if steps else f"  {one_line(stage)}", "step"))
    right: Row = [(f" {one_line(state, 12)} ", f"state-{state}")]
    eta_s, step_s = run.eta_s(now), run.step_s()
    extras = [
        (f"  {duration(eta_s)} left" if eta_s is not None else "", "eta"),
        (f" {min(1.0, step / steps):4.0%} " if steps else "", "step"),
        (f"  {_pace(step_s)}" if step_s and state == "running" else "", "note"),
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
    if width <= cell_width(right):
        return fit_to_width(right, width)
    return [*fit_to_width(row, width - cell_width(right)), *right]


def stage_parts(run: RunHistory, shown: str, width: int, ascii: bool = False) -> list[tuple[str, str, str]]:
    """The stages as (name, text, role): number, name, a mark, and brackets around the one that is shown.

    If they do not fit, the others lose their names.
    """
    parts = [_stage_part(run, name, number, shown, ascii) for number, name in enumerate(run.stage_names, start=1)]
    if sum(len(text) for _, text, _ in parts) <= width:
        return parts
    return [
        (name, text if name == shown else text.replace(f" {one_line(name, 12)}", "").rstrip(), role)
        for name, text, role in parts
    ]


def _stage_part(run: RunHistory, name: str, number: int, shown: str, ascii: bool) -> tuple[str, str, str]:
    done, current = ("+", ">") if ascii else ("✓", "▸")
    finished = run.stage(name).finished is not None or name in run.info.shared
    now = name == run.current and not finished
    mark = f" {done}" if finished else f" {current}" if now else ""
    text = f"{number} {one_line(name, 12)}{mark}"
    role = "stage-done" if finished else "stage-now" if now else "stage-later"
    return name, f"[{text}]" if name == shown else f" {text} ", f"{role} shown" if name == shown else role


def explanation(run: RunHistory, now: float) -> str:
    """The state of a run in one or two sentences, with the command to continue; "" while it simply runs."""
    state, again = run.process.state, command_line(resume_words(run.name, run.process.last_stage))
    saved = _last_checkpoint(run)
    texts = {
        "paused": f"Paused after {run.current} step {run.stage(run.current).step}.",
        "slow": f"No heartbeat for {duration(max(0.0, now - run.process.heartbeat_at))}, but its process exists.",
        "dead": f"Its process is gone; {saved}. To resume: {again}",
        "ended": f"Its process ended unexpectedly; {saved}. To resume: {again}",
        "stopped": f"Stopped and saved{_after(run)}. To resume: {again}",
        "failed": f"Failed: {_error(run)} To resume: {again}",
        NOT_BEGUN: f"It has not begun. To start it: {again}",
        "gone": "The folder of this run no longer exists.",
        "finished": result(run),
    }
    return one_line(texts.get(state, "") or run.info.error)


def result(run: RunHistory) -> str:
    """The result of the evaluation, or which stage is finished."""
    metrics = run.stage("eval").latest()
    rates = [metrics.get(f"eval/{name}", float("nan")) for name in ("win_rate", "win_rate_low", "win_rate_high")]
    if all(map(isfinite, rates)):
        return "PPO against SFT on test prompts: win rate {:.1%} ({:.1%} to {:.1%}).".format(*rates)
    return f"The {NAMES.get(run.current, run.current)} is finished." if run.current else ""


def alert_texts(runs: Sequence[RunHistory]) -> list[str]:
    """Every alert in words, the newest first, with the name of its run if there are several."""
    several = len(runs) > 1
    found = [(alert, run.name) for run in runs for alert in run.alerts]
    found.sort(key=lambda pair: pair[0].at, reverse=True)
    return [
        one_line(f"{name + ', ' if several else ''}{alert.stage} step {alert.step}: {alert.message}")
        for alert, name in found
    ]


def _bar(step: int, steps: int, width: int, ascii: bool) -> Row:
    full = round(width * min(1.0, step / steps))
    done, rest = "#-" if ascii else "━─"
    return [(done * full, "bar"), (rest * (width - full), "rest")]


def _pace(step_s: float) -> str:
    return f"{step_s:.2g} s/step" if step_s >= 1 else f"{1 / step_s:.2g} steps/s"


def _last_checkpoint(run: RunHistory) -> str:
    if saved := run.stage(run.current).checkpoints:
        return f"last checkpoint after {saved[-1].stage} step {saved[-1].step}"
    return f"no checkpoint of {run.current} yet" if run.current else "no checkpoint yet"


def _after(run: RunHistory) -> str:
    return f" after {run.ending.stage} step {run.ending.step}" if isinstance(run.ending, RunPaused) else ""


def _error(run: RunHistory) -> str:
    text = run.ending.error if isinstance(run.ending, RunFailed) else "no error was recorded"
    return text if text.endswith((".", "!", "?")) else text + "."


PANEL_HEIGHT = 11
TABLE_HEIGHT = 20
LEAST_PANEL = 38
SAMPLES = 5
NAME = 20  # characters of a run in a heading
ALERTS = 5
NUMBERS = 22  # cells of reward, KL and tokens before the texts


def frame(runs: Sequence[RunHistory], now: float, width: int, view: ChartView) -> list[Row]:
    """The header, every panel of the most interesting stage, and the newest samples of the first run."""
    first, several = runs[0], len(runs) > 1
    stage = stage_to_show(first)
    rows = [run_row(run, now, width, LETTERS[i] if several else "", view.ascii) for i, run in enumerate(runs)]
    rows += _wrapped("".join(text for _, text, _ in stage_parts(first, stage, width, view.ascii)), width)
    for run in runs:
        if text := explanation(run, now):
            rows += _wrapped(f"{run.name}: {text}" if several else text, width)
    alerts = alert_texts(runs)
    for text in alerts[:ALERTS]:
        rows += _wrapped(f"! {text}", width)
    if len(alerts) > ALERTS:
        rows += _wrapped(f"! and {len(alerts) - ALERTS} earlier alerts", width)
    return [*rows, [], *_panels(runs, stage, view, width), *_samples(first, stage, width, several)]


def _panels(runs: Sequence[RunHistory], stage: str, view: ChartView, width: int) -> list[Row]:
    panels = panels_of(stage, runs)
    across = max(1, min(3, width // LEAST_PANEL, len(panels)))
    each = (width - (across - 1)) // across
    rows: list[Row] = []
    for start in range(0, len(panels), across):
        line = panels[start : start + across]
        height = TABLE_HEIGHT if any(panel.kind == "table" for panel in line) else PANEL_HEIGHT
        blocks = [panel_rows(panel, stage, runs, view, each, height) for panel in line]
        rows += [*side_by_side(blocks, [each] * len(line)), []]
    return rows


def _samples(run: RunHistory, stage: str, width: int, named: bool) -> list[Row]:
    steps = run.stage(stage).samples
    samples = parse_samples(steps[-1]) if steps else []
    if not samples:
        return []
    whose = f" of {one_line(run.name, NAME)}" if named else ""
    title = f" samples{whose}, step {steps[-1].step}, {min(SAMPLES, len(samples))} of {len(samples)}"
    rows: list[Row] = [fit_to_width([(title, "title")], width), [(" reward     KL  tokens", "axis")]]
    for sample in samples[:SAMPLES]:
        numbers = f"{sample.score:>7.2f} {sample.kl_nats:>6.2f} {sample.tokens:>7.0f}"
        room = max(10, width - NUMBERS - 2)
        prompt, *more = [*_wrapped(sample.prompt, room), *_wrapped(f"> {one_line(sample.response)}", room)]
        rows += [[(f"{numbers}  ", "note"), *prompt], *([(" " * (NUMBERS + 2), ""), *row] for row in more)]
    return rows


def _wrapped(text: str, width: int) -> list[Row]:
    return wrap([(one_line(text), "")], width)
