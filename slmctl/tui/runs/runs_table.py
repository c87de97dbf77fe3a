"""The table of all runs: how each stands, at a glance; as many columns as the width allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from engine.rundir.directory import STAGES
from slmctl.console.safe import one_line
from slmctl.runs.overview import RunSummary

STARTING = "starting"  # a command of this playground's that is not at work yet
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
class Column:
    """A column of the table; `from_width` is the width of the table from which it is shown."""

    key: str
    title: str
    width: int
    from_width: int = 0
    right: bool = False


COLUMNS = (
    Column("run", "run", 17),
    Column("preset", "preset", 9, 96),
    Column("state", "state", 11),
    Column("at", "at", 18),
    Column("bar", "", BAR),
    Column("wins", "wins", 6, right=True),
    Column("done", "done", 4, 90, right=True),
    Column("parents", "from", 14, 112),
    Column("age", "ago", 5, right=True),
)


class RunsTable(DataTable[Text]):
    """The runs, those at work first, then by their last sign of life. The row that is chosen stays chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Watch", id="runs.watch")]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", id="runs-table")
        self._shown: dict[str, list[Text]] = {}
        self._columns: tuple[Column, ...] = ()
        self._last: tuple[Sequence[RunSummary], float] = ((), 0.0)

    def on_resize(self) -> None:
        """Shows as many columns as there is room for now."""
        self.show(*self._last)

    def show(self, runs: Sequence[RunSummary], now: float) -> None:
        """Shows these runs; cells that are as they were are left alone."""
        self._last = (runs, now)
        columns = tuple(column for column in COLUMNS if self.size.width >= column.from_width)
        rows = {run.run: [cell_of(column, run, now) for column in columns] for run in arranged(runs)}
        if columns != self._columns or list(rows) != list(self._shown):
            self._rebuild(columns, rows)
        for name, cells in rows.items():
            for column, cell, old in zip(columns, cells, self._shown[name], strict=True):
                if cell != old:
                    self.update_cell(name, column.key, cell)
        self._shown = rows

    def chosen(self) -> str | None:
        """The run under the cursor."""
        names = list(self._shown)
        return names[self.cursor_row] if 0 <= self.cursor_row < len(names) else None

    def choose(self, name: str) -> bool:
        """Puts the cursor on a run, and returns whether it is in the table."""
        if name in self._shown:
            self.move_cursor(row=list(self._shown).index(name), animate=False)
        return name in self._shown

    def _rebuild(self, columns: tuple[Column, ...], rows: dict[str, list[Text]]) -> None:
        chosen, place = self.chosen(), self.cursor_row
        self.clear(columns=True)
        for column in columns:
            self.add_column(
                Text(column.title, justify="right" if column.right else "left"), width=column.width, key=column.key
            )
        for name, cells in rows.items():
            self.add_row(*cells, key=name)
        self._columns, self._shown = columns, rows
        row = list(rows).index(chosen) if chosen in rows else max(0, min(place, len(rows) - 1))
        self.move_cursor(row=row, animate=False)


def arranged(runs: Sequence[RunSummary]) -> list[RunSummary]:
    """The runs in the order in which they are shown, which no heartbeat changes."""
    return sorted(runs, key=lambda run: (0, 0.0, run.run) if run.active else (1, -run.at, run.run))


def at_of(run: RunSummary) -> str:
    """Where a run is: stage and step while there is more to do."""
    if run.state == "finished":
        return f"{len(run.finished)} of {len(STAGES)} stages"
    return f"{run.stage} {run.step}/{run.steps}" if run.stage else "-"


def ago(seconds: float) -> str:
    """How long ago something was, in one number."""
    for unit, size, most in (("s", 1, 60), ("m", 60, 60), ("h", 3600, 48), ("d", 86400, 1000)):
        if seconds / size < most:
            return f"{max(0, int(seconds / size))} {unit}"
    return "-"


def bar(share: float, width: int) -> str:
    """A small bar of `width` characters."""
    full = max(0, min(width, int(share * width)))
    return "█" * full + "░" * (width - full)


def state_of(run: RunSummary) -> Text:
    """The state in words."""
    return Text(run.state, STATES.get(run.state, ""))


def cell_of(column: Column, run: RunSummary, now: float) -> Text:
    """What stands in a column for a run."""
    if column.key == "state":
        return state_of(run)
    share = run.step / run.steps if run.step is not None and run.steps else 0.0
    texts = {
        "run": run.run,
        "preset": run.preset or "-",
        "at": at_of(run),
        "bar": bar(share, BAR) if run.stage and run.state != "finished" else "",
        "wins": "-" if run.win_rate is None else f"{run.win_rate:.1%}",
        "done": f"{len(run.finished)}/{len(STAGES)}",
        "parents": ", ".join(run.parents) or "-",
        "age": ago(now - run.at),
    }
    text = Text(one_line(texts[column.key], column.width), justify="right" if column.right else "left")
    if column.key == "run":
        text.stylize("bold")
    return text
