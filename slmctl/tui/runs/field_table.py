"""The form's rows as a table: what, the choice, what it means; the row under the cursor can be edited."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from slmctl.console.safe import one_line
from slmctl.tui.runs.form_rows import CHANGED, Row

NAME, VALUE, ORIGIN = 27, 16, 13
ORIGIN_FROM = 96
MINE = "bold yellow"  # what was changed here, beside its star
PADDING, SCROLLBAR, MEANING_LEAST = 2, 2, 10


class FieldTable(DataTable[Text]):
    """Rows by key; a changed choice is marked with a star."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Edit", id="form.edit"),
        Binding("right", "screen.cycle(1)", "Choices", id="form.next"),
        Binding("left", "screen.cycle(-1)", "Previous choice", id="form.previous", show=False),
        Binding("backspace,delete", "screen.reset", "Reset", id="form.reset"),
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", show_header=False, id="form-fields")
        self._rows: Sequence[Row] = ()
        self._keys: list[str] = []
        self._widths: dict[str, int] = {}

    def on_resize(self) -> None:
        """Uses the width that there is."""
        self.show(self._rows)

    def show(self, rows: Sequence[Row]) -> None:
        """Shows these rows; the row that is chosen stays chosen where it is still there."""
        self._rows = rows
        keys, widths = [row.key for row in rows], _widths(self.size.width)
        lines = [[_cell(row, column) for column in widths] for row in rows]
        if keys != self._keys or widths != self._widths:
            self._rebuild(keys, widths, lines)
            return
        for key, line in zip(keys, lines, strict=True):
            for column, cell in zip(widths, line, strict=True):
                if self.get_cell(key, column) != cell:
                    self.update_cell(key, column, cell)

    def chosen(self) -> str | None:
        """The key of the row under the cursor."""
        return self._keys[self.cursor_row] if 0 <= self.cursor_row < len(self._keys) else None

    def _rebuild(self, keys: list[str], widths: dict[str, int], lines: Sequence[Sequence[Text]]) -> None:
        chosen = self.chosen()
        self.clear(columns=True)
        self._keys, self._widths = keys, widths
        for column, width in widths.items():
            self.add_column("", key=column, width=width)
        for key, line in zip(keys, lines, strict=True):
            self.add_row(*line, key=key)
        self.move_cursor(row=keys.index(chosen) if chosen in keys else 0, animate=False)


def _widths(width: int) -> dict[str, int]:
    """The columns that fit, with their widths; what a row means takes the room that is left."""
    columns = {"name": NAME, "value": VALUE}
    if width >= ORIGIN_FROM:
        columns["origin"] = ORIGIN
    rest = width - sum(columns.values()) - PADDING * (len(columns) + 1) - SCROLLBAR
    return {**columns, "meaning": max(MEANING_LEAST, rest)}


def _cell(row: Row, column: str) -> Text:
    if column == "name":
        return Text(f"{CHANGED if row.changed else ' '} {row.key}", MINE if row.changed else "")
    if column == "value" and row.text:
        return Text(one_line(row.text, VALUE), MINE if row.changed else "")
    text = {
        "value": one_line(row.hint, VALUE),
        "origin": one_line(row.origin, ORIGIN),
        "meaning": one_line(row.meaning),
    }
    style = MINE if row.changed and column == "origin" else "dim"
    return Text(text[column], style, no_wrap=True, overflow="ellipsis")
