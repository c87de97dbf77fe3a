"""What is shown of each stage, and each panel as rows of text: a heading with the values, a chart below.

The same for a screen and for one printed frame. What the numbers mean stands in engine.core.metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from math import isnan

from engine.core.events import is_clock
from engine.core.metrics import charts, describe_any
from slmctl.console.safe import one_line
from slmctl.plots.axes import Look
from slmctl.plots.chart import Sketch, Target, draw, empty, pen_of
from slmctl.plots.curves import Curve, smoothed
from slmctl.plots.plane import Path, PlaneSketch, draw_plane
from slmctl.plots.rows import Row, fitted, spread, width_of, wrapped
from slmctl.plots.scale import short, usable
from slmctl.watch.history import Stage, Story
from slmctl.watch.view import View

LETTERS = "ABCD"
NOTHING_HERE = "none at this step"
KL, SCORE = "ppo/kl_nats", "ppo/score"


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


def panels_of(stage: str, stories: Sequence[Story]) -> list[Panel]:
    """The panels of a stage; where a metric was never said in any run, not that one, unless nothing was said at all."""
    known = metrics_of(stage, stories)
    usual = default_panels(stage) or [panel_of(name) for name in known]
    said = [panel for panel in usual if panel.kind == "table" or set(panel.metrics) & set(known)] or usual
    ended = TABLE not in usual and any(_ends_with(story.stage(stage)) for story in stories)
    return [*said, END] if ended else said


def metrics_of(stage: str, stories: Sequence[Story]) -> list[str]:
    """All metrics that a stage has said in any of the runs."""
    return list(dict.fromkeys(name for story in stories for name in story.stage(stage).metrics()))


def curves_of(panel: Panel, stage: str, stories: Sequence[Story], smoothing: float = 0.0) -> list[Curve]:
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
                found.append(Curve(steps, smoothed(values, smoothing), rank, values, letter=letter, metric=metric))
            else:
                found.append(Curve(steps, values, rank, sparse=not own, letter=letter, metric=metric))
    return found


@dataclass(frozen=True)
class Drawing:
    """A panel that was drawn for a size; to point at another step in it costs little."""

    panel: Panel
    width: int
    sketch: Sketch | PlaneSketch
    curves: Sequence[Curve] = ()
    paths: Sequence[Path] = ()

    def pointed(self, cursor: int | None, keys: str = "") -> list[Row]:
        """Its heading with the values at a step, and as room allows `keys`, and its picture with that step marked."""
        if self.panel.kind == "plane":
            head = _plane_heading(self.panel, self.paths, cursor, self.width)
        else:
            head = heading(self.panel, self.curves, cursor, self.width, keys)
        return [head, *self.sketch.pointed(cursor)]


def drawing(panel: Panel, stage: str, stories: Sequence[Story], view: View, width: int, height: int) -> Drawing:
    """A panel as chart, plane or table, in `height` rows of `width` cells with its heading."""
    look = Look(width, height - 1, view.log, view.ascii, view.window)
    if view.ascii:
        panel = replace(panel, title=panel.title.replace("√", "sqrt "))
    if panel.kind == "table":
        return Drawing(panel, width, Sketch(_table(stage, stories[0], width, height - 1)))
    if panel.kind == "end":
        return Drawing(panel, width, Sketch(_end(stage, stories, width, height - 1)))
    if panel.kind == "plane":
        paths = _paths(stage, stories)
        return Drawing(panel, width, draw_plane(paths, look, next(iter(limits_of(KL, stories)), None)), paths=paths)
    curves = curves_of(panel, stage, stories, view.smoothing)
    alarms = [alarm.step for alarm in stories[0].stage(stage).alarms]
    return Drawing(panel, width, draw(curves, look, limits_of(panel.metrics[0], stories), alarms), curves)


def picture(panel: Panel, stage: str, stories: Sequence[Story], view: View, width: int, height: int) -> list[Row]:
    """A panel in exactly `height` rows of `width` cells: its heading, then its chart, plane or table."""
    if height < 1 or width < 1:
        return []
    return drawing(panel, stage, stories, view, width, height).pointed(view.cursor)


def described(panel: Panel, stage: str, stories: Sequence[Story], view: View, width: int) -> list[Row]:
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
            known = [(value, step) for step, value in zip(steps, values, strict=True) if usable(value)]
            if known and (view.window is None or (known := _within(known, view.window))):
                (low, low_at), (high, high_at) = min(known), max(known)
                letter = f"{LETTERS[place]} {one_line(story.name, 20)}, " if len(stories) > 1 else ""
                text = (
                    f"lowest {short(low)} at {low_at}, highest {short(high)} at {high_at}, last {short(known[-1][0])}"
                )
                rows.append([(f" {letter}{title_of(metric)}: ", "name"), (text, "")])
    return [line for row in rows for line in wrapped(row, width)]


def _within(known: list[tuple[float, int]], window: tuple[float, float]) -> list[tuple[float, int]]:
    return [(value, step) for value, step in known if window[0] <= step <= window[1]]


def limits_of(metric: str, stories: Sequence[Story]) -> list[Target]:
    """The limits to draw beside a metric: where KL raises the alarm, and what the adaptive controller aims at."""
    if metric != KL or not stories:
        return []
    limits = stories[0].about.limits
    words = (("alert_kl_nats", "alarm"), ("kl_target", "aim"))
    return [Target(limits[name], f"{word} {short(limits[name])}") for name, word in words if name in limits]


def heading(panel: Panel, curves: Sequence[Curve], cursor: int | None, width: int, keys: str = "") -> Row:
    """Title and values, at the cursor or the newest; at the right unit, better way and keys, as room allows."""
    row: Row = [(f" {panel.title} ", "title")]
    at = f" at {cursor}" if cursor is not None and curves else ""
    for curve in curves:
        value = _shown(curve, cursor)
        name = _name_beside(panel, curve)
        if value is not None:
            nothing = "-" if len(curves) > 1 else "none" if at else NOTHING_HERE
            _add(row, f" {name}{nothing if isnan(value) else short(value)}", pen_of(curve.rank).role, width - len(at))
    if at:
        _add(row, at, "note", width)
    if not curves:
        return fitted(row, width)
    entry = describe_any(panel.metrics[0])
    way = {"up": "higher is better", "down": "lower is better"}.get(entry.better, "")
    choices = ((entry.unit, way, keys), (entry.unit, keys), (keys,), (entry.unit, way), (entry.unit,), (way,))
    hints = [", ".join(filter(None, parts)) for parts in choices]
    room = width - width_of(row) - 2
    hint = next((text for text in hints if text and len(text) <= room), "")
    return spread(row, [(f"{hint} ", "note")] if hint else [], width)


def _add(row: Row, text: str, role: str, width: int) -> None:
    """Adds a part that fits whole; a number that is cut would be another number."""
    if width_of(row) + len(text) <= width:
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


def _paths(stage: str, stories: Sequence[Story]) -> list[Path]:
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
            text += f"{short(points[-1][2])} at {short(points[-1][1] ** 2)}{unit}"
            _add(row, text, pen_of(path.rank).role, width)
    return fitted(row, width)


def _ends_with(told: Stage) -> dict[str, float]:
    """What a stage says at its end alone, the machine's numbers left out."""
    return {name: value for name, value in told.end_metrics.items() if not is_clock(name)}


def _end(stage: str, stories: Sequence[Story], width: int, height: int) -> list[Row]:
    """The numbers that are said at the end of a stage, with their meanings where there is room."""
    ends = [_ends_with(story.stage(stage)) for story in stories]
    names = list(dict.fromkeys(name for said in ends for name in said))
    label = max((len(title_of(name)) for name in names), default=0)
    rows: list[Row] = []
    for name in names:
        row: Row = [(f"  {title_of(name):<{label}}", "")]
        for place, said in enumerate(ends):
            row.append((f" {short(said[name]):>7}" if name in said else f" {'-':>7}", f"line{place % len(LETTERS)}"))
        rows.append(fitted([*row, (f"  {describe_any(name).meaning}", "note")], width))
    return [*rows, *[[(" " * width, "")] for _ in range(height)]][:height]


def _table(stage: str, story: Story, width: int, height: int) -> list[Row]:
    """The contestants of the evaluation side by side."""
    from rich.console import Console

    from slmctl.console.results import comparison_table

    said = {name.removeprefix("eval/"): value for name, value in story.stage(stage).latest().items()}
    if "win_rate" not in said:
        return empty(width, height)
    console = Console(file=StringIO(), width=max(40, width), color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(comparison_table(said))
    lines = [line for line in captured.get().splitlines() if line.strip()]
    return [fitted([(line, "")], width) for line in [*lines, *[""] * height][:height]]
