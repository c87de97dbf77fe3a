"""What tells at one glance how the runs are: a line each, the stages, and in words what went wrong or was asked."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widgets import Static

from slmctl.console.safe import clean, one_line
from slmctl.plots.rows import Row
from slmctl.tui.watch.stage_strip import StageStrip
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.headline import alarm_texts, explanation, run_row
from slmctl.watch.panels import LETTERS
from slmctl.watch.state import Watching

ALARM = " ALARM "
ROOMY = 20  # rows of the screen from which a note may take several


class RunHead(Container):
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

    def look_at(self, watching: Watching, now: float, asked: Sequence[str], aside: Sequence[str]) -> None:
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

    def _note(self, watching: Watching, now: float, asked: Sequence[str]) -> None:
        several = len(watching.stories) > 1
        alarms = alarm_texts(watching.stories)
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
