"""One frame of what `slmctl watch` shows, as plain rows of any width: for a pipe, a log, or a look in passing."""

from collections.abc import Sequence

from slmctl.console.safe import one_line
from slmctl.plots.rows import Row, fit_to_width, side_by_side, wrap
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
ALARMS = 5
NUMBERS = 22  # cells of score, KL and tokens before the texts


def frame(stories: Sequence[RunHistory], now: float, width: int, view: ChartView) -> list[Row]:
    """The header, every panel of the stage that matters, and the newest samples of the first run."""
    first = stories[0]
    stage = stage_to_show(first)
    several = len(stories) > 1
    rows = [
        run_row(story, now, width, LETTERS[place] if several else "", view.ascii) for place, story in enumerate(stories)
    ]
    rows += _wrapped("".join(text for _, text, _ in stage_parts(first, stage, width, view.ascii)), width)
    for story in stories:
        if text := explanation(story, now):
            rows += _wrapped(f"{story.name}: {text}" if several else text, width)
    alarms = alert_texts(stories)
    for text in alarms[:ALARMS]:
        rows += _wrapped(f"! {text}", width)
    if len(alarms) > ALARMS:
        rows += _wrapped(f"! and {len(alarms) - ALARMS} earlier alarms", width)
    return [*rows, [], *_panels(stories, stage, view, width), *_samples(first, stage, width, several)]


def _panels(stories: Sequence[RunHistory], stage: str, view: ChartView, width: int) -> list[Row]:
    panels = panels_of(stage, stories)
    across = max(1, min(3, width // LEAST_PANEL, len(panels)))
    each = (width - (across - 1)) // across
    rows: list[Row] = []
    for start in range(0, len(panels), across):
        line = panels[start : start + across]
        height = TABLE_HEIGHT if any(panel.kind == "table" for panel in line) else PANEL_HEIGHT
        blocks = [panel_rows(panel, stage, stories, view, each, height) for panel in line]
        rows += [*side_by_side(blocks, [each] * len(line)), []]
    return rows


def _samples(story: RunHistory, stage: str, width: int, named: bool) -> list[Row]:
    drawn = story.stage(stage).drawn
    samples = parse_samples(drawn[-1]) if drawn else []
    if not samples:
        return []
    whose = f" of {one_line(story.name, NAME)}" if named else ""
    title = f" samples{whose} of step {drawn[-1].step}, the first {min(SAMPLES, len(samples))} of {len(samples)}"
    rows: list[Row] = [fit_to_width([(title, "title")], width), [("  score     KL  tokens", "axis")]]
    for sample in samples[:SAMPLES]:
        numbers = f"{sample.score:>7.2f} {sample.kl_nats:>6.2f} {sample.tokens:>7.0f}"
        room = max(10, width - NUMBERS - 2)
        prompt, *more = [*_wrapped(sample.prompt, room), *_wrapped(f"> {one_line(sample.response)}", room)]
        rows += [[(f"{numbers}  ", "note"), *prompt], *([(" " * (NUMBERS + 2), ""), *row] for row in more)]
    return rows


def _wrapped(text: str, width: int) -> list[Row]:
    return wrap([(one_line(text), "")], width)
