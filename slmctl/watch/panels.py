"""What is shown of each stage, and each panel as rows of text: a heading with the values, a chart below.

The same for a screen and for one printed frame. What the numbers mean stands in engine.core.metrics.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from math import isnan

from engine.core.events import is_clock
from engine.core.metrics import charts, describe_any
from slmctl.console.safe import one_line
from slmctl.plots.axes import PlotOptions, format_number, is_drawable
from slmctl.plots.chart import Curve, DrawnChart, TargetLine, draw_chart, empty_rows, line_pen, smooth
from slmctl.plots.plane import DrawnPlane, Path, draw_plane
from slmctl.plots.rows import Row, cell_width, fit_to_width, join_ends, wrap
from slmctl.watch.history import RunHistory, StageHistory

LETTERS = "ABCD"
NOTHING_HERE = "none at this step"
KL, SCORE = "ppo/kl_nats", "ppo/score"
SMOOTHING = (0.0, 0.6, 0.9)
NARROWEST = 4  # steps


@dataclass(frozen=True)
class ChartView:
    """`cursor` is a step, None for the newest and to go on with it; `window` a range of steps, None for all."""

    cursor: int | None = None
    window: tuple[float, float] | None = None
    smoothing: float = 0.0
    log: bool = False
    ascii: bool = False

    def moved(self, by: int, steps: Sequence[int], columns: int) -> "ChartView":
        """The cursor `by` columns further, of `columns` over the range; past the last step it follows the newest."""
        if not steps:
            return self
        low, high = self.window or (steps[0], steps[-1])
        stride = max(1, round((high - low) / max(1, columns)))
        wanted = (steps[-1] if self.cursor is None else self.cursor) + by * stride
        return self.at(wanted, steps)

    def at(self, step: float, steps: Sequence[int]) -> "ChartView":
        """The cursor at the nearest of the steps, the range moved with it; past the last it follows the newest."""
        if not steps or step > steps[-1]:
            return replace(self, cursor=None, window=self._around(steps[-1] if steps else 0))
        place = bisect_left(steps, step)
        near = min(steps[max(0, place - 1) : place + 1], key=lambda known: abs(known - step))
        return replace(self, cursor=near, window=self._around(near))

    def zoomed(self, factor: float, steps: Sequence[int]) -> "ChartView":
        """The range `factor` times as wide, around the cursor, within what there is; all of it is no range."""
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
        """The next degree of smoothing."""
        known = SMOOTHING.index(self.smoothing) if self.smoothing in SMOOTHING else 0
        return replace(self, smoothing=SMOOTHING[(known + 1) % len(SMOOTHING)])

    def place_in(self, drawn: Sequence[int]) -> int:
        """Which of the steps with samples is the newest at or before the cursor; -1 before the first of them."""
        return len(drawn) - 1 if self.cursor is None else bisect_right(drawn, self.cursor) - 1

    def _around(self, step: float) -> tuple[float, float] | None:
        """The range, moved no more than it must be to hold a step."""
        if self.window is None or self.window[0] <= step <= self.window[1]:
            return self.window
        low, high = self.window
        shift = step - high if step > high else step - low
        return low + shift, high + shift


@dataclass(frozen=True)
class Panel:
    """One picture: a chart of metrics of one unit, the main one first; the plane; or one of two tables.

    `kind` is chart, plane, table (the contestants of the evaluation) or end (numbers that are said once, at the end).
    """

    title: str
    metrics: tuple[str, ...]
    kind: str = "chart"


def panel_of(*metrics: str) -> Panel:
    """The panel of one metric, and of others that belong beside it."""
    return Panel(title_of(metrics[0]), metrics)


def title_of(metric: str) -> str:
    """A metric's title, as charts, pickers and tables show it."""
    return one_line(describe_any(metric).title)


PLANE = Panel("reward vs √KL", (SCORE, KL), "plane")
TABLE = Panel("side by side", ("eval/utility",), "table")
END = Panel("at the end of the stage", (), "end")


def default_panels(stage: str) -> list[Panel]:
    """The panels of a stage by the registry of metrics; the plane stands beside KL, the evaluation has its table."""
    found = [TABLE] if stage == "eval" else []
    for names in charts(stage):
        found += [panel_of(*names), PLANE] if names == (KL,) else [panel_of(*names)]
    return found


def panels_of(stage: str, stories: Sequence[RunHistory]) -> list[Panel]:
    """The panels of a stage; where a metric was never said in any run, not that one, unless nothing was said at all."""
    known = metrics_of(stage, stories)
    usual = default_panels(stage) or [panel_of(name) for name in known]
    said = [panel for panel in usual if panel.kind == "table" or set(panel.metrics) & set(known)] or usual
    ended = TABLE not in usual and any(_ends_with(story.stage(stage)) for story in stories)
    return [*said, END] if ended else said


def metrics_of(stage: str, stories: Sequence[RunHistory]) -> list[str]:
    """All metrics that a stage has said in any of the runs."""
    return list(dict.fromkeys(name for story in stories for name in story.stage(stage).metrics()))


def curves_of(panel: Panel, stage: str, stories: Sequence[RunHistory], smoothing: float = 0.0) -> list[Curve]:
    """The lines of a panel: of one run each metric has a rank of its own, of several runs each run."""
    found = []
    several = len(stories) > 1
    for place, story in enumerate(stories):
        told = story.stage(stage)
        known = {*told.metrics(), *told.end_metrics}
        for number, metric in enumerate(panel.metrics):
            if metric not in known:
                continue
            steps, values = told.column(metric)
            own = steps is told.done
            rank, letter = (place, LETTERS[place % len(LETTERS)]) if several else (number, "")
            if own and smoothing:
                found.append(Curve(steps, smooth(values, smoothing), rank, values, letter=letter, metric=metric))
            else:
                found.append(Curve(steps, values, rank, sparse=not own, letter=letter, metric=metric))
    return found


@dataclass(frozen=True)
class DrawnPanel:
    """A panel that was drawn for a size; to point at another step in it costs little."""

    panel: Panel
    width: int
    sketch: DrawnChart | DrawnPlane
    curves: Sequence[Curve] = ()
    paths: Sequence[Path] = ()

    def rows_at(self, cursor: int | None, keys: str = "") -> list[Row]:
        """Its heading with the values at a step, and as room allows `keys`, and its picture with that step marked."""
        if self.panel.kind == "plane":
            head = _plane_heading(self.panel, self.paths, cursor, self.width)
        else:
            head = heading(self.panel, self.curves, cursor, self.width, keys)
        return [head, *self.sketch.rows_at(cursor)]


def draw_panel(
    panel: Panel, stage: str, stories: Sequence[RunHistory], view: ChartView, width: int, height: int
) -> DrawnPanel:
    """A panel as chart, plane or table, in `height` rows of `width` cells with its heading."""
    look = PlotOptions(width, height - 1, view.log, view.ascii, view.window)
    if view.ascii:
        panel = replace(panel, title=panel.title.replace("√", "sqrt "))
    if panel.kind == "table":
        return DrawnPanel(panel, width, DrawnChart(_table(stage, stories[0], width, height - 1)))
    if panel.kind == "end":
        return DrawnPanel(panel, width, DrawnChart(_end(stage, stories, width, height - 1)))
    if panel.kind == "plane":
        paths = _paths(stage, stories)
        return DrawnPanel(panel, width, draw_plane(paths, look, next(iter(limits_of(KL, stories)), None)), paths=paths)
    curves = curves_of(panel, stage, stories, view.smoothing)
    alarms = [alarm.step for alarm in stories[0].stage(stage).alarms]
    return DrawnPanel(panel, width, draw_chart(curves, look, limits_of(panel.metrics[0], stories), alarms), curves)


def panel_rows(
    panel: Panel, stage: str, stories: Sequence[RunHistory], view: ChartView, width: int, height: int
) -> list[Row]:
    """A panel in exactly `height` rows of `width` cells: its heading, then its chart, plane or table."""
    if height < 1 or width < 1:
        return []
    return draw_panel(panel, stage, stories, view, width, height).rows_at(view.cursor)


def explain_panel(panel: Panel, stage: str, stories: Sequence[RunHistory], view: ChartView, width: int) -> list[Row]:
    """What the numbers of a panel mean, and for each line its last, lowest and highest value with their steps."""
    rows: list[Row] = []
    for metric in panel.metrics:
        entry = describe_any(metric)
        formula = f"= {entry.formula}" if entry.formula else ""
        if text := "; ".join(filter(None, (entry.meaning, entry.unit, formula))):
            rows.append([(f" {title_of(metric)}: ", "name"), (text, "note")])
        if entry.healthy:
            rows.append([(" healthy: ", "name"), (entry.healthy, "note")])
    for place, story in enumerate(stories):
        for metric in panel.metrics:
            steps, values = story.stage(stage).column(metric)
            known = [(value, step) for step, value in zip(steps, values, strict=True) if is_drawable(value)]
            if known and (view.window is None or (known := _within(known, view.window))):
                (low, low_at), (high, high_at) = (
                    (format_number(value), step) for value, step in (min(known), max(known))
                )
                last = format_number(known[-1][0])
                letter = f"{LETTERS[place]} {one_line(story.name, 20)}, " if len(stories) > 1 else ""
                text = f"lowest {low} at {low_at}, highest {high} at {high_at}, last {last}"
                rows.append([(f" {letter}{title_of(metric)}: ", "name"), (text, "")])
    return [line for row in rows for line in wrap(row, width)]


def _within(known: list[tuple[float, int]], window: tuple[float, float]) -> list[tuple[float, int]]:
    return [(value, step) for value, step in known if window[0] <= step <= window[1]]


def limits_of(metric: str, stories: Sequence[RunHistory]) -> list[TargetLine]:
    """The limits to draw beside a metric: where KL raises the alarm, and what the adaptive controller aims at."""
    if metric != KL or not stories:
        return []
    limits = stories[0].about.limits
    words = (("alert_kl_nats", "alarm"), ("kl_target", "aim"))
    return [TargetLine(limits[name], f"{word} {format_number(limits[name])}") for name, word in words if name in limits]


def heading(panel: Panel, curves: Sequence[Curve], cursor: int | None, width: int, keys: str = "") -> Row:
    """Title and values, at the cursor or the newest; at the right unit, better way and keys, as room allows."""
    row: Row = [(f" {panel.title} ", "title")]
    at = f" at {cursor}" if cursor is not None and curves else ""
    for curve in curves:
        value = _shown(curve, cursor)
        name = _name_beside(panel, curve)
        if value is not None:
            nothing = "-" if len(curves) > 1 else "none" if at else NOTHING_HERE
            _add(
                row,
                f" {name}{nothing if isnan(value) else format_number(value)}",
                line_pen(curve.rank).role,
                width - len(at),
            )
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
    """Adds a part that fits whole; a number that is cut would be another number."""
    if cell_width(row) + len(text) <= width:
        row.append((text, role))


def _name_beside(panel: Panel, curve: Curve) -> str:
    """What a value is called where there are several."""
    return (f"{curve.letter} " if curve.letter else "") + ("held-out " if curve.metric != panel.metrics[0] else "")


def _shown(curve: Curve, cursor: int | None) -> float | None:
    """The raw value at the cursor, or the newest."""
    raw = Curve(curve.xs, curve.faint or curve.ys)
    if not len(raw.xs):
        return None
    return raw.ys[-1] if cursor is None else raw.at(cursor)


def _paths(stage: str, stories: Sequence[RunHistory]) -> list[Path]:
    found = []
    for place, story in enumerate(stories):
        told = story.stage(stage)
        (steps, kl), (_, scores) = told.column(KL), told.column(SCORE)
        found.append(Path(steps, kl, scores, place, LETTERS[place % len(LETTERS)] if len(stories) > 1 else ""))
    return found


def _plane_heading(panel: Panel, paths: Sequence[Path], cursor: int | None, width: int) -> Row:
    row: Row = [(f" {panel.title} ", "title")]
    for path in paths:
        points = [point for point in path.points() if cursor is None or point[0] <= cursor]
        if points:
            text, unit = (f" {path.letter} ", "") if path.letter else (" ", " nats")
            text += f"{format_number(points[-1][2])} at {format_number(points[-1][1] ** 2)}{unit}"
            _add(row, text, line_pen(path.rank).role, width)
    return fit_to_width(row, width)


def _ends_with(told: StageHistory) -> dict[str, float]:
    """What a stage says at its end alone, the machine's numbers left out."""
    return {name: value for name, value in told.end_metrics.items() if not is_clock(name)}


def _end(stage: str, stories: Sequence[RunHistory], width: int, height: int) -> list[Row]:
    """The numbers that are said at the end of a stage, with their meanings where there is room."""
    ends = [_ends_with(story.stage(stage)) for story in stories]
    names = list(dict.fromkeys(name for said in ends for name in said))
    label = max((len(title_of(name)) for name in names), default=0)
    rows: list[Row] = []
    for name in names:
        row: Row = [(f"  {title_of(name):<{label}}", "")]
        for place, said in enumerate(ends):
            row.append(
                (f" {format_number(said[name]):>7}" if name in said else f" {'-':>7}", f"line{place % len(LETTERS)}")
            )
        rows.append(fit_to_width([*row, (f"  {describe_any(name).meaning}", "note")], width))
    return [*rows, *[[(" " * width, "")] for _ in range(height)]][:height]


def _table(stage: str, story: RunHistory, width: int, height: int) -> list[Row]:
    """The contestants of the evaluation side by side."""
    from rich.console import Console

    from slmctl.console.results import comparison_table

    said = {name.removeprefix("eval/"): value for name, value in story.stage(stage).latest().items()}
    if "win_rate" not in said:
        return empty_rows(width, height)
    console = Console(file=StringIO(), width=max(40, width), color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(comparison_table(said))
    lines = [line for line in captured.get().splitlines() if line.strip()]
    return [fit_to_width([(line, "")], width) for line in [*lines, *[""] * height][:height]]
