"""The line at the bottom of every screen: the keys that work now; a click presses one.

It replaces Textual's Footer, which rebuilds a widget per key whenever the focus moves: 15 ms each time.
"""

from collections.abc import Iterable
from functools import cache, partial
from typing import Any

from textual import events
from textual.binding import ActiveBinding, Binding
from textual.dom import DOMNode
from textual.screen import Screen

from slmctl.console.safe import one_line
from slmctl.plots.styled_rows import Row, cell_width
from slmctl.tui.widgets.rows_view import RowsView

AT_THE_END = ("help", "palette")
END_FRACTION = 3  # they take at most a third of the width


class KeyLine(RowsView):
    """As many keys as fit, in the order of their bindings; help and palette are at the right end."""

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[int, int, str]] = []  # first column, column after the last, key

    def on_mount(self) -> None:
        """Shows the keys and follows their changes."""
        self.screen.bindings_updated_signal.subscribe(self, self._change)
        self.paint(self._draw)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Presses the key that was clicked."""
        for first, end, key in self._spans:
            if first <= event.x < end:
                self.app.simulate_key(key)

    def _change(self, screen: Screen[Any]) -> None:
        if self.app.app_focus and screen is self.screen:  # a terminal without the focus keeps what it showed
            self.repaint()

    def _draw(self, width: int, height: int) -> list[Row]:
        shown: dict[str, ActiveBinding] = {}
        for item in in_order(self.screen.active_bindings.values()):
            if item.binding.show or item.binding.id in AT_THE_END:
                shown.setdefault(item.binding.action, item)
        ends = [item for name in AT_THE_END for item in shown.values() if item.binding.id == name]
        while ends and sum(cell_width(self._parts(item)) for item in ends) > width // END_FRACTION:
            ends.pop()
        room = width - sum(cell_width(self._parts(item)) for item in ends)
        row: Row = []
        self._spans = []
        for item in shown.values():
            if item.binding.id not in AT_THE_END:
                if cell_width(row) + cell_width(self._parts(item)) > room:
                    break
                self._add(row, item)
        row.append((" " * (room - cell_width(row)), ""))
        for item in ends:
            self._add(row, item)
        return [row]

    def _add(self, row: Row, item: ActiveBinding) -> None:
        start = cell_width(row)
        row += self._parts(item)
        self._spans.append((start, cell_width(row), item.binding.key))

    def _parts(self, item: ActiveBinding) -> Row:
        """A key and what it does."""
        off = "" if item.enabled else " off"
        key = one_line(self.app.get_key_display(item.binding))
        return [(f" {key} ", f"key{off}"), (f"{one_line(item.binding.description)} ", f"does{off}")]


def in_order(active: Iterable[ActiveBinding]) -> list[ActiveBinding]:
    """Bindings in the order in which their widgets declare them; customized and priority keys would move otherwise."""
    nodes: dict[DOMNode, list[ActiveBinding]] = {}
    for item in active:
        nodes.setdefault(item.node, []).append(item)
    return [item for node, mine in nodes.items() for item in sorted(mine, key=partial(_place, type(node)))]


def _place(kind: type[DOMNode], item: ActiveBinding) -> int:
    ids = _declared(kind)
    return ids.index(item.binding.id) if item.binding.id in ids else len(ids)


@cache
def _declared(kind: type[DOMNode]) -> list[str | None]:
    bindings = (binding for base in kind.__mro__ for binding in vars(base).get("BINDINGS", ()))
    return [binding.id for binding in Binding.make_bindings(bindings)]
