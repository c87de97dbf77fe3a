"""The lines above the charts: a line per run, the stages, and in words what went wrong or was requested."""

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widgets import Static

from slmctl.console.safe import clean, one_line
from slmctl.plots.styled_rows import Row, cell_width, join_ends
from slmctl.tui.watch.messages import StageChosen
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.frame import alert_texts, explanation, run_row, stage_parts
from slmctl.watch.history import RunHistory
from slmctl.watch.panels import LETTERS
from slmctl.watch.state import WatchState

ALERT = " ALERT "
ROOMY = 20  # rows of the screen from which notes may take several


class StageStrip(RowsView):
    """The stages of a run with their numbers, which are also their keys; a click shows another."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts: list[tuple[str, str, str]] = []

    def show_run(self, run: RunHistory, shown: str, asides: Sequence[str], ascii: bool) -> None:
        """Shows the stages of a run, and at the right the first of the `asides` that fits."""

        def rows(width: int, height: int) -> list[Row]:
            self._parts = stage_parts(run, shown, width - 1, ascii)
            row: Row = [(" ", ""), *((text, role) for _, text, role in self._parts)]
            room = width - cell_width(row) - 2
            text = next((text for text in asides if text and len(text) <= room), "")
            return [join_ends(row, [(f"{text} ", "note")] if text else [], width)]

        self.paint(rows)

    def on_click(self, event: events.Click) -> None:
        """Shows the stage that was clicked."""
        end = 1
        for name, text, _ in self._parts:
            end += len(text)
            if event.x < end:
                self.post_message(StageChosen(name))
                return


class RunHeader(Container):
    """The runs, the stages and the notes."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: list[str] = []

    def compose(self) -> ComposeResult:
        """Three parts, the last hidden while there are no notes."""
        yield RowsView(id="head-runs")
        yield StageStrip(id="head-stages")
        notes = Static("", markup=False, id="head-notes")
        notes.display = False
        yield notes

    def show_state(self, state: WatchState, now: float, requests: Sequence[str], asides: Sequence[str]) -> None:
        """Shows the runs; `requests` are those under way, `asides` tell what else there is to see."""
        runs, ascii = state.runs, state.view.ascii
        letters = LETTERS if len(runs) > 1 else " " * len(runs)

        def rows(width: int, height: int) -> list[Row]:
            found = []
            for index, (run, letter) in enumerate(zip(runs, letters, strict=False)):
                row = run_row(run, now, width, letter.strip(), ascii)
                mark = (">" if ascii else "▸") if len(runs) > 1 and index == state.chosen_run else " "
                found.append([(mark + row[0][0][1:], row[0][1]), *row[1:]])
            return found

        view = self.query_one("#head-runs", RowsView)
        view.styles.height = len(runs)
        view.paint(rows)
        self.query_one(StageStrip).show_run(state.run, state.stage, asides, ascii)
        self._show_notes(state, now, requests)

    def _show_notes(self, state: WatchState, now: float, requests: Sequence[str]) -> None:
        several = len(state.runs) > 1
        alerts = alert_texts(state.runs)
        explained = [(run, explanation(run, now)) for run in state.runs]
        lines = [one_line(f"{run.name}: {text}" if several else text) for run, text in explained if text]
        lines += [one_line(text) for text in requests]
        if alerts:
            more = f"! goes there, a lists all {len(alerts)}" if len(alerts) > 1 else "! goes there"
            lines.append(f"{ALERT} {clean(alerts[0])} ({more})")
        shown = lines[-1:] if self.app.size.height < ROOMY else lines
        if shown != self._notes:
            self._notes = shown
            notes = self.query_one("#head-notes", Static)
            notes.display = bool(shown)
            notes.update(Content("\n").join(_content(line) for line in shown))


def _content(line: str) -> Content:
    if not line.startswith(ALERT):
        return Content(line)
    return Content.assemble((ALERT, "bold reverse $text-error"), (line.removeprefix(ALERT), "bold $text-error"))
