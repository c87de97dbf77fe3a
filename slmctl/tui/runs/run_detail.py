"""One run in a few lines: its state, its models by the names that commands take, its last alert, why it failed."""

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from engine.rundir.heartbeat import NOT_BEGUN
from slmctl.console.progress import duration
from slmctl.console.safe import one_line
from slmctl.runs.details import RunDetails
from slmctl.runs.overview import RunSummary
from slmctl.tui.runs.runs_table import STARTING, ago

LABEL = 7
MODELS_SHOWN = 16  # more would push the rest off the screen
RESUME = "g resumes from the last checkpoint"
STATES = {
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
    state = Text(f"{run.state}: {STATES[run.state]}")
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
