"""How panels share the screen: how many beside and above each other, and whether the samples stand below them.

From sizes to numbers; what does not fit on one page is on the next.
"""

from dataclasses import dataclass

WIDE = 120  # columns from which a list stands beside its text (app.SIDE_BY_SIDE)
BESIDE_FROM = 96  # columns from which panels stand beside each other
LEAST_WIDTH, LEAST_HEIGHT = 34, 7  # of a panel
LEAST_SAMPLES, MOST_SAMPLES = 8, 18
SAMPLES_BELOW_FROM = LEAST_SAMPLES + 2 * LEAST_HEIGHT  # rows


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
    """The arrangement of so many panels in so many cells; panels before samples, which take what they need not."""
    panels = max(1, panels)
    columns = max(1, min(panels, width // LEAST_WIDTH)) if width >= BESIDE_FROM else 1
    below = LEAST_SAMPLES if sampled and height >= SAMPLES_BELOW_FROM else 0
    needed = -(-panels // columns)
    rows = max(1, min(needed, (height - below) // LEAST_HEIGHT))
    if rows == needed:
        columns = -(-panels // rows)  # no wider a grid than its last row needs
    if below:
        below = max(below, min(MOST_SAMPLES, height // 3, height - rows * LEAST_HEIGHT))
    return Arrangement(columns, rows, below)
