"""One frame of what `slmctl watch` shows, as plain rows of any width: for a pipe, a log, or a quick look."""

from collections.abc import Sequence

from slmctl.console.safe import one_line
from slmctl.plots.styled_rows import Row, fit_to_width, side_by_side, wrap
from slmctl.watch.headline import alert_texts, explanation, run_row, stage_parts
from slmctl.watch.history import RunHistory
from slmctl.watch.panels import LETTERS, ChartView, panel_rows, panels_of
from slmctl.watch.samples import parse_samples
from slmctl.watch.state import stage_to_show

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
