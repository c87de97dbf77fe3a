"""A widget of rows: what they say is made by a painter for the size there is, what a role looks like stands in CSS."""

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from slmctl.plots.rows import Row
from slmctl.tui.safe import clean

ROLES = (
    *("title", "head", "focus", "note", "axis", "target", "cursor", "alarm", "name", "letter", "step", "eta"),
    *("bar", "rest", "shown", "stage-done", "stage-now", "stage-later", "habit", "prompt", "chosen", "came", "went"),
    *(f"line{rank}" for rank in range(4)),
    *(f"faint{rank}" for rank in range(4)),
    *(f"state-{word}" for word in ("live", "paused", "silent", "dead", "finished", "failed", "interrupted")),
)
Painter = Callable[[int, int], list[Row]]
"""From a width and a height in cells to rows."""


class RowsView(Widget):
    """Shows what its painter paints; paints when it is seen, and again when it is told or has another size."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"rows--{role}" for role in ROLES}
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._painter: Painter | None = None
        self._painted: list[Row] = []
        self._painted_for = (-1, -1)

    def paint(self, painter: Painter) -> None:
        """Takes another painter, or the same with other things to say."""
        self._painter = painter
        self.repaint()

    def repaint(self) -> None:
        """Paints again what the same painter has to say now."""
        self._painted_for = (-1, -1)
        self.refresh()

    def rows(self) -> list[Row]:
        """The rows for the size there is."""
        size = self.content_size.width, self.content_size.height
        if size != self._painted_for:
            self._painted = self._painter(*size) if self._painter is not None and min(size) > 0 else []
            self._painted_for = size
        return self._painted

    def render_line(self, y: int) -> Strip:
        """One row; text that others wrote is made harmless here once more, whoever painted it."""
        rows = self.rows()
        base = self.rich_style
        row = rows[y] if y < len(rows) else []
        strip = Strip([Segment(clean(text).replace("\n", " "), self._style(role)) for text, role in row])
        return strip.adjust_cell_length(self.content_size.width, base)

    def _style(self, role: str) -> Style:
        known = [f"rows--{part}" for part in role.split() if part in ROLES]
        return self.get_component_rich_style(*known) if known else self.rich_style
