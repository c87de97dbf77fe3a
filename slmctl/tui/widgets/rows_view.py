"""A widget of text rows: a painter makes them for the current size, the theme gives each role its look.

Roles are not component classes: forty of them in a dozen widgets cost Textual 40 ms at every change of the focus.
"""

from collections.abc import Callable
from functools import reduce
from operator import add

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from slmctl.console.safe import clean
from slmctl.plots.styled_rows import Row

LOOKS = {
    "title": "bold",
    "head": "on $panel",
    "focus": "$block-cursor-foreground on $block-cursor-background",
    "note": "$foreground 80%",
    "axis": "$foreground 75%",
    "target": "$text-error",
    "cursor": "bold $foreground",
    "alert": "bold reverse $text-error",
    "name": "bold",
    "letter": "bold",
    "eta": "bold",
    "bar": "$text-primary",
    "rest": "$foreground 40%",
    "shown": "bold",
    "stage-done": "$text-success",
    "stage-now": "bold $text-primary",
    "stage-later": "$foreground 80%",
    "habit": "$text-warning",
    "prompt": "$foreground 80%",
    "chosen": "bold on $block-cursor-blurred-background",
    "came": "underline $text-success",
    "went": "strike $text-error",
    "line0": "$text-primary",
    "line1": "$text-warning",
    "line2": "$text-success",
    "line3": "$text-accent",
    **{f"faint{rank}": "$foreground 40%" for rank in range(4)},
    "key": "bold $footer-key-foreground",
    "does": "$footer-description-foreground",
    "off": "dim",
    "state-running": "bold reverse $text-success",
    "state-finished": "bold $text-success",
    **{f"state-{word}": "bold reverse $text-warning" for word in ("paused", "slow", "stopped")},
    **{f"state-{word}": "bold reverse $text-error" for word in ("dead", "failed")},
}
"""The style of each part of a role; a role may have several parts, later ones on top."""

Painter = Callable[[int, int], list[Row]]
"""From a width and a height in cells to rows."""


class RowsView(Widget):
    """Shows what its painter returns; paints when it is visible, and again on request or at another size."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._painter: Painter | None = None
        self._painted: list[Row] = []
        self._painted_for = (-1, -1)
        self._styles_of: dict[str, RichStyle] = {}
        self._styles_for: object = None

    def paint(self, painter: Painter) -> None:
        """Sets the painter and paints."""
        self._painter = painter
        self.repaint()

    def repaint(self) -> None:
        """Paints again with the same painter."""
        self._painted_for = (-1, -1)
        self.refresh()

    def rows(self) -> list[Row]:
        """The rows for the current size."""
        size = self.content_size.width, self.content_size.height
        if size != self._painted_for:
            self._painted = self._painter(*size) if self._painter is not None and min(size) > 0 else []
            self._painted_for = size
        return self._painted

    def render_line(self, y: int) -> Strip:
        """One row; all text is cleaned here once more, whoever painted it."""
        rows = self.rows()
        base = self.visual_style
        if self._styles_for != (self.app.theme, base):
            self._styles_of, self._styles_for = {}, (self.app.theme, base)
        row = rows[y] if y < len(rows) else []
        strip = Strip([Segment(clean(text).replace("\n", " "), self._style(role, base)) for text, role in row])
        return strip.adjust_cell_length(self.content_size.width, self._style("", base))

    def _style(self, role: str, base: Style) -> RichStyle:
        if role not in self._styles_of:
            variables = self.app.theme_variables
            looks = [Style.parse(LOOKS[part], variables) for part in role.split() if part in LOOKS]
            self._styles_of[role] = reduce(add, looks, base).rich_style
        return self._styles_of[role]
