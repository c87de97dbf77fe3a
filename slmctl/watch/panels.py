"""The panels of each stage as rows of text: a heading with the values, a chart below.

The same for a screen and for one printed frame. Titles, units and meanings come from engine.core.metrics.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from math import isnan

from engine.core.events import is_clock
from engine.core.metrics import charts, describe_any
from slmctl.console.safe import one_line
from slmctl.plots.axes import PlotOptions, format_number, is_drawable
from slmctl.plots.chart import (
    Curve,
    DrawnChart,
    DrawnPlane,
    PlanePath,
    TargetLine,
    draw_chart,
    draw_plane,
    empty_rows,
    line_pen,
    smooth,
)
from slmctl.plots.styled_rows import Row, cell_width, fit_to_width, join_ends, wrap
from slmctl.watch.history import RunHistory, StageHistory

LETTERS = "ABCD"
KL, SCORE = "ppo/kl_nats", "ppo/score"
SMOOTHING = (0.0, 0.6, 0.9)
NARROWEST = 4  # steps


@dataclass(frozen=True)
class ChartView:
    """How charts are viewed. `cursor` is a step, None to follow the newest; `window` a range of steps, None for all."""

    cursor: int | None = None
    window: tuple[float, float] | None = None
    smoothing: float = 0.0
    log: bool = False
    ascii: bool = False

    def moved(self, by: int, steps: Sequence[int], columns: int) -> "ChartView":
        """The view with the cursor moved by columns of a chart with `columns`; past the end it follows the run."""
        if not steps:
            return self
        low, high = self.window or (steps[0], steps[-1])
        stride = max(1, round((high - low) / max(1, columns)))
        wanted = (steps[-1] if self.cursor is None else self.cursor) + by * stride
        return self.at(wanted, steps)

    def at(self, step: float, steps: Sequence[int]) -> "ChartView":
        """The view with the cursor at the nearest step and the range around it; past the end it follows the run."""
        if not steps or step > steps[-1]:
            return replace(self, cursor=None, window=self._around(steps[-1] if steps else 0))
        index = bisect_left(steps, step)
        near = min(steps[max(0, index - 1) : index + 1], key=lambda known: abs(known - step))
        return replace(self, cursor=near, window=self._around(near))

    def zoomed(self, factor: float, steps: Sequence[int]) -> "ChartView":
        """The view with a range `factor` times as wide around the cursor; a range of all steps is None."""
        if not steps:
            return self
        low, high = self.window or (steps[0], steps[-1])
        middle = steps[-1] if self.cursor is None else self.cursor
        width = max(float(NARROWEST), (high - low) * factor)
        if width >= steps[-1] - steps[0]:
            return replace(self, window=None)
        start = min(max(steps[0], middle - width / 2), steps[-1] - width)
        return replace(self, window=(start, start + width))

    def smoother(self) -> "ChartView":
        """The view with the next degree of smoothing, after the last with none."""
        known = SMOOTHING.index(self.smoothing) if self.smoothing in SMOOTHING else 0
        return replace(self, smoothing=SMOOTHING[(known + 1) % len(SMOOTHING)])

    def _around(self, step: float) -> tuple[float, float] | None:
        """The range, moved just far enough to include a step."""
        if self.window is None or self.window[0] <= step <= self.window[1]:
            return self.window
        low, high = self.window
        shift = step - high if step > high else step - low
        return low + shift, high + shift


@dataclass(frozen=True)
class Panel:
    """One picture: a chart of metrics with one unit, the main one first; the plane; or one of two tables.

    `kind` is chart, plane, table (the evaluated policies) or end (metrics that are reported once, at the end).
    """

    title: str
    metrics: tuple[str, ...]
    kind: str = "chart"


def panel_of(*metrics: str) -> Panel:
    """The chart of a metric, and of others that share it."""
    return Panel(title_of(metrics[0]), metrics)


def title_of(metric: str) -> str:
    """A metric's title on screens."""
    return one_line(describe_any(metric).title)


PLANE = Panel("reward vs √KL", (SCORE, KL), "plane")
TABLE = Panel("side by side", ("eval/utility",), "table")
END = Panel("end of the stage", (), "end")


def default_panels(stage: str) -> list[Panel]:
    """The panels of a stage by the registry of metrics; the plane follows KL, and the evaluation has its table."""
    found = [TABLE] if stage == "eval" else []
    for names in charts(stage):
        found += [panel_of(*names), PLANE] if names == (KL,) else [panel_of(*names)]
    return found


def panels_of(stage: str, runs: Sequence[RunHistory]) -> list[Panel]:
    """The panels of a stage, without metrics that no run reported, unless nothing was reported yet."""
    known = metrics_of(stage, runs)
    usual = default_panels(stage) or [panel_of(name) for name in known]
    reported = [panel for panel in usual if panel.kind == "table" or set(panel.metrics) & set(known)] or usual
    ended = TABLE not in usual and any(_end_metrics(run.stage(stage)) for run in runs)
    return [*reported, END] if ended else reported


def metrics_of(stage: str, runs: Sequence[RunHistory]) -> list[str]:
    """All metrics that a stage reported in any of the runs."""
    return list(dict.fromkeys(name for run in runs for name in run.stage(stage).metrics()))


def curves_of(panel: Panel, stage: str, runs: Sequence[RunHistory], smoothing: float = 0.0) -> list[Curve]:
    """The lines of a panel; their ranks tell apart the metrics of one run, or several runs."""
    found = []
    several = len(runs) > 1
    for index, run in enumerate(runs):
        history = run.stage(stage)
        known = {*history.metrics(), *history.end_metrics}
        for number, metric in enumerate(panel.metrics):
            if metric not in known:
                continue
            steps, values = history.column(metric)
            every_step = steps is history.steps
            rank, letter = (index, LETTERS[index % len(LETTERS)]) if several else (number, "")
            if every_step and smoothing:
                found.append(Curve(steps, smooth(values, smoothing), rank, values, letter=letter, metric=metric))
            else:
                found.append(Curve(steps, values, rank, sparse=not every_step, letter=letter, metric=metric))
    return found


@dataclass(frozen=True)
class DrawnPanel:
    """A panel drawn for a size, in which pointing at another step costs little."""

    panel: Panel
    width: int
    picture: DrawnChart | DrawnPlane
    curves: Sequence[Curve] = ()
    paths: Sequence[PlanePath] = ()

    def rows_at(self, cursor: int | None, keys: str = "") -> list[Row]:
        """The rows with the values at a step in the heading, that step marked, and `keys` if there is room."""
        if self.panel.kind == "plane":
            head = _plane_heading(self.panel, self.paths, cursor, self.width)
        else:
            head = heading(self.panel, self.curves, cursor, self.width, keys)
        return [head, *self.picture.rows_at(cursor)]


def draw_panel(
    panel: Panel, stage: str, runs: Sequence[RunHistory], view: ChartView, width: int, height: int
) -> DrawnPanel:
    """The panel for `height` rows of `width` cells, heading included."""
    options = PlotOptions(width, height - 1, view.log, view.ascii, view.window)
    if view.ascii:
        panel = replace(panel, title=panel.title.replace("√", "sqrt "))
    if panel.kind == "table":
        return DrawnPanel(panel, width, DrawnChart(_table(stage, runs[0], width, height - 1)))
    if panel.kind == "end":
        return DrawnPanel(panel, width, DrawnChart(_end(stage, runs, width, height - 1)))
    if panel.kind == "plane":
        paths = _paths(stage, runs)
        return DrawnPanel(panel, width, draw_plane(paths, options, next(iter(limits_of(KL, runs)), None)), paths=paths)
    curves = curves_of(panel, stage, runs, view.smoothing)
    alerts = [alert.step for alert in runs[0].stage(stage).alerts]
    return DrawnPanel(panel, width, draw_chart(curves, options, limits_of(panel.metrics[0], runs), alerts), curves)


def panel_rows(
    panel: Panel, stage: str, runs: Sequence[RunHistory], view: ChartView, width: int, height: int
) -> list[Row]:
    """A panel in exactly `height` rows of `width` cells: its heading, then its picture."""
    if height < 1 or width < 1:
        return []
    return draw_panel(panel, stage, runs, view, width, height).rows_at(view.cursor)


def explain_panel(panel: Panel, stage: str, runs: Sequence[RunHistory], view: ChartView, width: int) -> list[Row]:
    """What the metrics of a panel mean, and the last, lowest and highest value of each line with their steps."""
    rows: list[Row] = []
    for metric in panel.metrics:
        entry = describe_any(metric)
        formula = f"= {entry.formula}" if entry.formula else ""
        if text := "; ".join(filter(None, (entry.meaning, entry.unit, formula))):
            rows.append([(f" {title_of(metric)}: ", "name"), (text, "note")])
        if entry.healthy:
            rows.append([(" healthy: ", "name"), (entry.healthy, "note")])
    for index, run in enumerate(runs):
        for metric in panel.metrics:
            steps, values = run.stage(stage).column(metric)
            known = [(value, step) for step, value in zip(steps, values, strict=True) if is_drawable(value)]
            if known and (view.window is None or (known := _within(known, view.window))):
                (low, low_at), (high, high_at) = (
                    (format_number(value), step) for value, step in (min(known), max(known))
                )
                last = format_number(known[-1][0])
                letter = f"{LETTERS[index]} {one_line(run.name, 20)}, " if len(runs) > 1 else ""
                text = f"lowest {low} at {low_at}, highest {high} at {high_at}, last {last}"
                rows.append([(f" {letter}{title_of(metric)}: ", "name"), (text, "")])
    return [line for row in rows for line in wrap(row, width)]


def _within(known: list[tuple[float, int]], window: tuple[float, float]) -> list[tuple[float, int]]:
    return [(value, step) for value, step in known if window[0] <= step <= window[1]]


def limits_of(metric: str, runs: Sequence[RunHistory]) -> list[TargetLine]:
    """The lines to draw in a metric's chart: the KL that raises an alert, and the adaptive controller's target."""
    if metric != KL or not runs:
        return []
    limits = runs[0].info.limits
    words = (("alert_kl_nats", "alert"), ("kl_target", "target"))
    return [TargetLine(limits[name], f"{word} {format_number(limits[name])}") for name, word in words if name in limits]


def heading(panel: Panel, curves: Sequence[Curve], cursor: int | None, width: int, keys: str = "") -> Row:
    """Title and values, at the cursor or the newest; at the right unit, direction and keys, as room allows."""
    row: Row = [(f" {panel.title} ", "title")]
    at = f" at {cursor}" if cursor is not None and curves else ""
    for curve in curves:
        value, name = _value_at(curve, cursor), _curve_name(panel, curve)
        if value is not None:
            missing = "-" if len(curves) > 1 else "none" if at else f"none at step {curve.xs[-1]:.0f}"
            text = f" {name}{missing if isnan(value) else format_number(value)}"
            _add(row, text, line_pen(curve.rank).role, width - len(at))
    if at:
        _add(row, at, "note", width)
    if not curves:
        return fit_to_width(row, width)
    entry = describe_any(panel.metrics[0])
    way = {"up": "higher is better", "down": "lower is better"}.get(entry.better, "")
    choices = ((entry.unit, way, keys), (entry.unit, keys), (keys,), (entry.unit, way), (entry.unit,), (way,))
    hints = [", ".join(filter(None, parts)) for parts in choices]
    room = width - cell_width(row) - 2
    hint = next((text for text in hints if text and len(text) <= room), "")
    return join_ends(row, [(f"{hint} ", "note")] if hint else [], width)


def _add(row: Row, text: str, role: str, width: int) -> None:
    """Adds a part if it fits as a whole; a truncated number would be another number."""
    if cell_width(row) + len(text) <= width:
        row.append((text, role))


def _curve_name(panel: Panel, curve: Curve) -> str:
    """The label of a value in a heading: the letter of its run, and what its title adds to the panel's."""
    own = title_of(curve.metric).removesuffix(panel.title).strip() if curve.metric != panel.metrics[0] else ""
    return "".join(f"{part} " for part in (curve.letter, own) if part)


def _value_at(curve: Curve, cursor: int | None) -> float | None:
    """The raw value at the cursor, or the newest."""
    raw = Curve(curve.xs, curve.faint or curve.ys)
    if not len(raw.xs):
        return None
    return raw.ys[-1] if cursor is None else raw.at(cursor)


def _paths(stage: str, runs: Sequence[RunHistory]) -> list[PlanePath]:
    found = []
    for index, run in enumerate(runs):
        history = run.stage(stage)
        (steps, kl), (_, scores) = history.column(KL), history.column(SCORE)
        found.append(PlanePath(steps, kl, scores, index, LETTERS[index % len(LETTERS)] if len(runs) > 1 else ""))
    return found


def _plane_heading(panel: Panel, paths: Sequence[PlanePath], cursor: int | None, width: int) -> Row:
    row: Row = [(f" {panel.title} ", "title")]
    for path in paths:
        points = [point for point in path.points() if cursor is None or point[0] <= cursor]
        if points:
            text, unit = (f" {path.letter} ", "") if path.letter else (" ", " nats")
            text += f"{format_number(points[-1][2])} at {format_number(points[-1][1] ** 2)}{unit}"
            _add(row, text, line_pen(path.rank).role, width)
    return fit_to_width(row, width)


def _end_metrics(history: StageHistory) -> dict[str, float]:
    """What a stage reported only at its end, without time and memory."""
    return {name: value for name, value in history.end_metrics.items() if not is_clock(name)}


def _end(stage: str, runs: Sequence[RunHistory], width: int, height: int) -> list[Row]:
    """The metrics reported at the end of a stage, with their meanings if there is room."""
    ends = [_end_metrics(run.stage(stage)) for run in runs]
    names = list(dict.fromkeys(name for values in ends for name in values))
    label = max((len(title_of(name)) for name in names), default=0)
    rows: list[Row] = []
    for name in names:
        row: Row = [(f"  {title_of(name):<{label}}", "")]
        for index, values in enumerate(ends):
            text = format_number(values[name]) if name in values else "-"
            row.append((f" {text:>7}", f"line{index % len(LETTERS)}"))
        rows.append(fit_to_width([*row, (f"  {describe_any(name).meaning}", "note")], width))
    return [*rows, *[[(" " * width, "")] for _ in range(height)]][:height]


def _table(stage: str, run: RunHistory, width: int, height: int) -> list[Row]:
    """The evaluated policies side by side."""
    from rich.console import Console

    from slmctl.console.results import comparison_table

    values = {name.removeprefix("eval/"): value for name, value in run.stage(stage).latest().items()}
    if "win_rate" not in values:
        return empty_rows(width, height)
    console = Console(file=StringIO(), width=max(40, width), color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(comparison_table(values))
    lines = [line for line in captured.get().splitlines() if line.strip()]
    return [fit_to_width([(line, "")], width) for line in [*lines, *[""] * height][:height]]
