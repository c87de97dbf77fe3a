"""The line above the question: how far the labels are, how fast, and what habits they show."""

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from engine.core.intervals import Share
from slmctl.label.counts import Tally, percent

BAR = 12
MARGINS = 2  # columns beside the line
ENOUGH = 10  # votes before a habit is told


class LabelStatus(Static):
    """Progress and figures in one line."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def show(self, tally: Tally, goal: int, extra: str = "") -> None:
        """Writes what there is room for, the most important first; `extra` is always there."""
        parts = [_progress(tally.labels, goal), *([extra] if extra else [])]
        parts += _habit("longer wins", tally.longer) + _habit("first wins", tally.first)
        if tally.self_agreement.cases:
            parts.append(f"self {tally.self_agreement.count}/{tally.self_agreement.cases}")
        if tally.per_minute is not None:
            parts.append(f"{tally.per_minute:.0f}/min")
        while len(parts) > 1 + bool(extra) and cell_len("  ".join(parts)) > self.app.size.width - MARGINS:
            parts.pop()
        self.update(Content("  ".join(parts)))


def _progress(labels: int, goal: int) -> str:
    if not goal:
        return f"{labels} label{'s' * (labels != 1)}"
    full = min(BAR, BAR * labels // goal)
    reached = "  your goal: shift+n" if labels >= goal else ""
    return f"{labels}/{goal} {'█' * full}{'░' * (BAR - full)}{reached}"


def _habit(name: str, share: Share) -> list[str]:
    """A share with a mark where it is no chance that it is not half."""
    if share.cases < ENOUGH or share.interval is None:
        return []
    low, high = share.interval
    return [f"{name} {percent(share)}{'' if low <= 0.5 <= high else '!'}"]
