"""The table of all runs with their states, as many columns as the width allows, and the details of one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import DataTable, Static

from engine.rundir.directory import STAGES
from engine.rundir.heartbeat import NOT_BEGUN
from slmctl.console.progress import duration
from slmctl.console.safe import one_line
from slmctl.runs.overview import RunDetails, RunSummary

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
LABEL = 7
MODELS_SHOWN = 16  # more would push the rest off the screen
RESUME = "g resumes from the last checkpoint"
MEANINGS = {
    STARTING: "loading",
    "running": "working",
    "slow": "no update for a while; its process exists",
    "paused": "g resumes it",
    "dead": f"its process is gone; {RESUME}",
    "finished": "all requested stages are done",
    "failed": f"ended with an error; {RESUME}",
    "stopped": f"stopped and saved; {RESUME}",
    "ended": f"ended without a message; {RESUME}",
    NOT_BEGUN: "set up; g starts it",
    "damaged": "its run.toml cannot be read",
}


@dataclass
class RunsSeen(Message):
    """The states of all runs at the time `now`, or why their folder cannot be read."""

    runs: tuple[RunSummary, ...]
    now: float
    error: str = ""

    def can_replace(self, message: Message) -> bool:
        """Whether this drops an older message that was not handled yet."""
        return isinstance(message, RunsSeen)


@dataclass
class DetailsRead(Message):
    """The details of the selected run."""

    details: RunDetails


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


class KeyedTable(DataTable[Text]):
    """Rows by key. The selected row stays selected while it is there; only cells that changed are updated."""

    def __init__(self, id: str, show_header: bool = True) -> None:
        super().__init__(cursor_type="row", id=id, show_header=show_header)
        self._cells: dict[str, list[Text]] = {}
        self._titles: dict[str, tuple[Text, int]] = {}

    def selected(self) -> str | None:
        """The key of the row under the cursor."""
        keys = list(self._cells)
        return keys[self.cursor_row] if 0 <= self.cursor_row < len(keys) else None

    def select(self, key: str) -> bool:
        """Moves the cursor to a row and returns whether it is in the table."""
        if key in self._cells:
            self.move_cursor(row=list(self._cells).index(key), animate=False)
        return key in self._cells

    def show_cells(self, titles: dict[str, tuple[Text, int]], rows: Mapping[str, list[Text]], place: int) -> None:
        """Shows rows under columns, each with its title and width; selects row `place` if the selected one is gone."""
        selected, before, self._cells = self.selected() or "", self._cells, dict(rows)
        if titles == self._titles and list(rows) == list(before):
            for key, cells in rows.items():
                for column, cell, old in zip(titles, cells, before[key], strict=True):
                    if cell != old:
                        self.update_cell(key, column, cell)
            return
        self._titles = titles
        self.clear(columns=True)
        for column, (title, width) in titles.items():
            self.add_column(title, width=width, key=column)
        for key, cells in rows.items():
            self.add_row(*cells, key=key)
        if not self.select(selected):
            self.move_cursor(row=max(0, min(place, len(rows) - 1)), animate=False)


class RunsTable(KeyedTable):
    """The runs, active ones first, then the latest."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Watch", id="runs.watch")]

    def __init__(self) -> None:
        super().__init__("runs-table")
        self._last: tuple[Sequence[RunSummary], float] = ((), 0.0)

    def on_resize(self) -> None:
        """Fits the columns to the width."""
        self.show(*self._last)

    def show(self, runs: Sequence[RunSummary], now: float) -> None:
        """Shows these runs."""
        self._last = (runs, now)
        columns = [column for column in COLUMNS if self.size.width >= column.from_width]
        titles = {column.key: (_aligned(column.title, column.right), column.width) for column in columns}
        rows = {run.run: [cell_of(column, run, now) for column in columns] for run in sorted_runs(runs)}
        self.show_cells(titles, rows, self.cursor_row)


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


def _aligned(text: str, right: bool) -> Text:
    return Text(text, justify="right" if right else "left")


def cell_of(column: RunsColumn, run: RunSummary, now: float) -> Text:
    """The cell of a run in a column."""
    if column.key == "state":
        return Text(run.state, STATES.get(run.state, ""))
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
    text = _aligned(one_line(texts[column.key], column.width), column.right)
    if column.key == "run":
        text.stylize("bold")
    return text


class RunDetail(VerticalScroll, can_focus=False):
    """The selected run."""

    def compose(self) -> ComposeResult:
        """One table, which scrolls."""
        yield Static("", markup=False, id="run-detail-text")

    def show(self, run: RunSummary | None, details: RunDetails | None, now: float) -> None:
        """Shows a run; `details` is None until its events are read."""
        table = Table.grid(padding=(0, 1))
        table.add_column(style="dim", width=LABEL)
        table.add_column(overflow="fold")
        for label, text in [] if run is None else detail_rows(run, details, now):
            table.add_row(label, text)
        self.query_one("#run-detail-text", Static).update(table)


def detail_rows(run: RunSummary, details: RunDetails | None, now: float) -> list[tuple[str, Text]]:
    """The lines, each with its label."""
    state = Text(f"{run.state}: {MEANINGS[run.state]}")
    rows = [("run", Text(one_line(run.run), "bold")), ("state", state)]
    if run.active and run.stage:
        left = f", {duration(run.eta_s)} left" if run.eta_s else ""
        rows.append(("at", _text(f"{run.stage}, step {run.step} of {run.steps}{left}")))
    if details is not None and details.failure:
        rows.append(("error", _text(details.failure, "bold red")))
    if details is not None and details.alert:
        count = f" ({details.alerts} alerts in total)" if details.alerts > 1 else ""
        rows.append(("alert", _text(details.alert + count, "yellow")))
    if details is not None and details.models:
        rows.append(("models", _text("  ".join(details.models[:MODELS_SHOWN]))))
    if run.win_rate is not None:
        rows.append(("wins", Text(f"{run.win_rate:.1%} against its SFT policy on test prompts")))
    rows.append(("done", Text(", ".join(run.finished) or "no stage yet")))
    if run.preset is not None:
        origin = f"; shares stages of {', '.join(run.parents)}" if run.parents else ""
        rows.append(("preset", _text(f"{run.preset}, seed {run.seed}{origin}")))
    rows.append(("updated", Text(f"{ago(now - run.at)} ago")))
    return rows


def _text(text: str, style: str = "") -> Text:
    return Text(one_line(text), style)
