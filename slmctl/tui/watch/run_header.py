"""The stages of a run in one line, the shown one in brackets; a click shows another."""

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widgets import Static

from slmctl.console.safe import clean, one_line
from slmctl.plots.rows import Row, cell_width, join_ends
from slmctl.tui.watch.messages import StageChosen
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.headline import alert_texts, explanation, run_row, stage_parts
from slmctl.watch.history import RunHistory
from slmctl.watch.panels import LETTERS
from slmctl.watch.state import WatchState


class StageStrip(RowsView):
    """Stages with their numbers, which are also their keys, and at the right end what else there is to see."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts: list[tuple[str, str, str]] = []

    def look_at(self, story: RunHistory, shown: str, aside: Sequence[str], ascii: bool) -> None:
        """Shows the stages of a run, and of `aside` the first text that fits."""

        def rows(width: int, height: int) -> list[Row]:
            self._parts = stage_parts(story, shown, width - 1, ascii)
            row: Row = [(" ", ""), *((text, role) for _, text, role in self._parts)]
            room = width - cell_width(row) - 2
            text = next((text for text in aside if text and len(text) <= room), "")
            return [join_ends(row, [(f"{text} ", "note")] if text else [], width)]

        self.paint(rows)

    def on_click(self, event: events.Click) -> None:
        """Says which stage was clicked."""
        end = 1
        for name, text, _ in self._parts:
            end += len(text)
            if event.x < end:
                self.post_message(StageChosen(name))
                return


ALARM = " ALARM "
ROOMY = 20  # rows of the screen from which a note may take several


class RunHeader(Container):
    """The lines above the charts."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[str] = []

    def compose(self) -> ComposeResult:
        """The runs, the stages, the notes."""
        yield RowsView(id="head-runs")
        yield StageStrip(id="head-stages")
        notes = Static("", markup=False, id="head-notes")
        notes.display = False
        yield notes

    def look_at(self, watching: WatchState, now: float, asked: Sequence[str], aside: Sequence[str]) -> None:
        """Shows how the runs stand; `asked` are requests under way, `aside` what else there is to see."""
        stories, ascii = watching.stories, watching.view.ascii
        letters = LETTERS if len(stories) > 1 else " " * len(stories)

        def rows(width: int, height: int) -> list[Row]:
            found = []
            for place, (story, letter) in enumerate(zip(stories, letters, strict=False)):
                row = run_row(story, now, width, letter.strip(), ascii)
                mark = (">" if ascii else "▸") if len(stories) > 1 and place == watching.chosen else " "
                found.append([(mark + row[0][0][1:], row[0][1]), *row[1:]])
            return found

        view = self.query_one("#head-runs", RowsView)
        view.styles.height = len(stories)
        view.paint(rows)
        self.query_one(StageStrip).look_at(watching.story, watching.stage, aside, ascii)
        self._note(watching, now, asked)

    def _note(self, watching: WatchState, now: float, asked: Sequence[str]) -> None:
        several = len(watching.stories) > 1
        alarms = alert_texts(watching.stories)
        told = [(story, explanation(story, now)) for story in watching.stories]
        lines = [one_line(f"{story.name}: {text}" if several else text) for story, text in told if text]
        lines += [one_line(text) for text in asked]
        if alarms:
            more = f"! goes there, a lists all {len(alarms)}" if len(alarms) > 1 else "! goes there"
            lines.append(f"{ALARM} {clean(alarms[0])} ({more})")
        shown = lines[-1:] if self.app.size.height < ROOMY else lines
        if shown != self._shown:
            self._shown = shown
            notes = self.query_one("#head-notes", Static)
            notes.display = bool(shown)
            notes.update(Content("\n").join(_content(line) for line in shown))


def _content(line: str) -> Content:
    if not line.startswith(ALARM):
        return Content(line)
    return Content.assemble((ALARM, "bold reverse $text-error"), (line.removeprefix(ALARM), "bold $text-error"))
