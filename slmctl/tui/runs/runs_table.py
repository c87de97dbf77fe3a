"""The table of all runs with their states; as many columns as the width allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from engine.rundir.directory import STAGES
from slmctl.console.safe import one_line
from slmctl.runs.overview import RunSummary

STARTING = "starting"  # started by this playground and not begun yet
STATES = {
    STARTING: "bold yellow",
    "running": "bold green",
    "slow": "bold yellow",
    "paused": "bold yellow",
    "dead": "bold red",
    "failed": "bold red",
    "damaged": "bold red",
    "stopped": "yellow",
}
BAR = 8


@dataclass(frozen=True)
class RunsColumn:
    """A column of the table, shown from a table width of `from_width`."""

    key: str
    title: str
    width: int
    from_width: int = 0
    right: bool = False


COLUMNS = (
    RunsColumn("run", "run", 16),
    RunsColumn("preset", "preset", 9, 96),
    RunsColumn("state", "state", 11),
    RunsColumn("at", "at", 18),
    RunsColumn("bar", "", BAR),
    RunsColumn("wins", "wins", 6, right=True),
    RunsColumn("done", "done", 4, 90, right=True),
    RunsColumn("parents", "from", 14, 112),
    RunsColumn("age", "ago", 6, right=True),
)


class RunsTable(DataTable[Text]):
    """The runs, active ones first, then the latest. The selected row stays selected."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Watch", id="runs.watch")]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", id="runs-table")
        self._cells: dict[str, list[Text]] = {}
        self._columns: tuple[RunsColumn, ...] = ()
        self._last: tuple[Sequence[RunSummary], float] = ((), 0.0)

    def on_resize(self) -> None:
        """Fits the columns to the width."""
        self.show(*self._last)

    def show(self, runs: Sequence[RunSummary], now: float) -> None:
        """Shows these runs; updates only the cells that changed."""
        self._last = (runs, now)
        columns = tuple(column for column in COLUMNS if self.size.width >= column.from_width)
        rows = {run.run: [cell_of(column, run, now) for column in columns] for run in sorted_runs(runs)}
        if columns != self._columns or list(rows) != list(self._cells):
            self._rebuild(columns, rows)
        for name, cells in rows.items():
            for column, cell, old in zip(columns, cells, self._cells[name], strict=True):
                if cell != old:
                    self.update_cell(name, column.key, cell)
        self._cells = rows

    def selected(self) -> str | None:
        """The run under the cursor."""
        names = list(self._cells)
        return names[self.cursor_row] if 0 <= self.cursor_row < len(names) else None

    def select(self, name: str) -> bool:
        """Moves the cursor to a run and returns whether it is in the table."""
        if name in self._cells:
            self.move_cursor(row=list(self._cells).index(name), animate=False)
        return name in self._cells

    def _rebuild(self, columns: tuple[RunsColumn, ...], rows: dict[str, list[Text]]) -> None:
        selected, place = self.selected(), self.cursor_row
        self.clear(columns=True)
        for column in columns:
            self.add_column(
                Text(column.title, justify="right" if column.right else "left"), width=column.width, key=column.key
            )
        for name, cells in rows.items():
            self.add_row(*cells, key=name)
        self._columns, self._cells = columns, rows
        row = list(rows).index(selected) if selected in rows else max(0, min(place, len(rows) - 1))
        self.move_cursor(row=row, animate=False)


def sorted_runs(runs: Sequence[RunSummary]) -> list[RunSummary]:
    """The runs in the order of the table, which no heartbeat changes."""
    return sorted(runs, key=lambda run: (0, 0.0, run.run) if run.active else (1, -run.at, run.run))


def at_of(run: RunSummary) -> str:
    """The stage and step of a run, or how many stages are finished."""
    if run.state == "finished":
        return f"{len(run.finished)} of {len(STAGES)} stages"
    return f"{run.stage} {run.step}/{run.steps}" if run.stage else "-"


def ago(seconds: float) -> str:
    """A time span in one unit, such as 9 min."""
    for unit, size, most in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48), ("d", 86400, 1000)):
        if seconds / size < most:
            return f"{max(0, int(seconds / size))} {unit}"
    return "-"


def bar(fraction: float, width: int) -> str:
    """A small bar of `width` characters."""
    full = max(0, min(width, int(fraction * width)))
    return "█" * full + "░" * (width - full)


def state_of(run: RunSummary) -> Text:
    """The state in its color."""
    return Text(run.state, STATES.get(run.state, ""))


def cell_of(column: RunsColumn, run: RunSummary, now: float) -> Text:
    """The cell of a run in a column."""
    if column.key == "state":
        return state_of(run)
    fraction = run.step / run.steps if run.step is not None and run.steps else 0.0
    texts = {
        "run": run.run,
        "preset": run.preset or "-",
        "at": at_of(run),
        "bar": bar(fraction, BAR) if run.stage and run.state != "finished" else "",
        "wins": "-" if run.win_rate is None else f"{run.win_rate:.1%}",
        "done": f"{len(run.finished)}/{len(STAGES)}",
        "parents": ", ".join(run.parents) or "-",
        "age": ago(now - run.at),
    }
    text = Text(one_line(texts[column.key], column.width), justify="right" if column.right else "left")
    if column.key == "run":
        text.stylize("bold")
    return text
