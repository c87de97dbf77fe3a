"""One run in a few lines: how it stands, its models by the names that commands take, its alarm, why it ended."""

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

LABEL = 6
MODELS_SHOWN = 16  # the latest of many saved steps would push the rest off the screen
GO_ON = "g goes on after its last save."
WORDS = {
    STARTING: "its process is loading",
    "running": "at work",
    "slow": "no sign of life for a while; its process is there",
    "paused": "paused, until it is told to go on",
    "dead": f"its process is gone; {GO_ON}",
    "finished": "all that was asked for is done",
    "failed": f"it ended with an error; {GO_ON}",
    "stopped": f"stopped and saved; {GO_ON}",
    "ended": f"it ended without a word; {GO_ON}",
    NOT_BEGUN: "set up, and nothing done yet; g goes on.",
    "damaged": "its run.toml cannot be read",
}


class RunDetail(VerticalScroll, can_focus=False):
    """The run that is chosen."""

    def compose(self) -> ComposeResult:
        """One table, which scrolls."""
        yield Static("", markup=False, id="run-detail-text")

    def show(self, run: RunSummary | None, found: RunDetails | None, now: float) -> None:
        """Shows a run; `found` is None while its events have not been read."""
        table = Table.grid(padding=(0, 1))
        table.add_column(style="dim", width=LABEL)
        table.add_column(overflow="fold")
        for label, text in [] if run is None else detail_rows(run, found, now):
            table.add_row(label, text)
        self.query_one("#run-detail-text", Static).update(table)


def detail_rows(run: RunSummary, found: RunDetails | None, now: float) -> list[tuple[str, Text]]:
    """The lines, each with its label."""
    state = Text(f"{run.state}: {WORDS[run.state]}")
    rows = [("run", Text(one_line(run.run), "bold")), ("state", state)]
    if run.active and run.stage:
        left = f", {duration(run.eta_s)} left in it" if run.eta_s else ""
        rows.append(("at", _text(f"{run.stage}, step {run.step} of {run.steps}{left}")))
    if found is not None and found.failure:
        rows.append(("error", _text(found.failure, "bold red")))
    if found is not None and found.alarm:
        count = f" ({found.alarms} alarms in all)" if found.alarms > 1 else ""
        rows.append(("alarm", _text(found.alarm + count, "yellow")))
    if found is not None and found.models:
        rows.append(("models", _text("  ".join(found.models[:MODELS_SHOWN]))))
    if run.win_rate is not None:
        rows.append(("wins", Text(f"{run.win_rate:.1%} of test prompts against its SFT policy")))
    rows.append(("done", Text(", ".join(run.finished) or "nothing yet")))
    if run.preset is not None:
        origin = f", from {', '.join(run.parents)}" if run.parents else ""
        rows.append(("made", _text(f"with {run.preset}, seed {run.seed}{origin}")))
    rows.append(("heard", Text(f"{ago(now - run.at)} ago")))
    return rows


def _text(text: str, style: str = "") -> Text:
    return Text(one_line(text), style)
