"""How panels share the screen: how many beside and above each other, and whether the samples stand below them.

From sizes to numbers; what does not fit on one page is on the next.
"""

from dataclasses import dataclass

WIDE = 120  # columns from which panes stand beside each other (app.SIDE_BY_SIDE)
LEAST_WIDTH, LEAST_HEIGHT = 42, 7  # of a panel
SAMPLES_BELOW_FROM = 30  # rows
LEAST_SAMPLES, MOST_SAMPLES = 8, 18


@dataclass(frozen=True)
class Arrangement:
    """Panels in `columns` by `rows` on a page; `samples` rows below them, 0 where samples have a page of their own."""

    columns: int
    rows: int
    samples: int

    @property
    def a_page(self) -> int:
        """How many panels a page holds."""
        return self.columns * self.rows

    def pages(self, panels: int) -> int:
        """How many pages the panels take."""
        return -(-panels // self.a_page)


def arrange(width: int, height: int, panels: int, sampled: bool) -> Arrangement:
    """The arrangement of so many panels in so many cells; stacked below WIDE columns."""
    panels = max(1, panels)
    columns = max(1, min(panels, width // LEAST_WIDTH)) if width >= WIDE else 1
    needed = -(-panels // columns)
    below = 0
    if sampled and width >= WIDE and height >= SAMPLES_BELOW_FROM:
        below = max(LEAST_SAMPLES, min(MOST_SAMPLES, height // 3))
    rows = max(1, min(needed, (height - below) // LEAST_HEIGHT))
    return Arrangement(columns, rows, below)
