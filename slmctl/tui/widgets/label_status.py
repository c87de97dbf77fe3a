"""The line above the question: how far the labels are, how fast, and what habits they show."""

from textual.content import Content
from textual.widgets import Static

from engine.intervals import Share
from slmctl.labelling.tallies import Tally, percent

BAR = 12
ENOUGH = 10  # votes before a habit is told


class LabelStatus(Static):
    """Progress and figures in one line."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def show(self, tally: Tally, goal: int, ascii_only: bool, extra: str = "") -> None:
        """Writes the line; `extra` stands where a narrow terminal cannot cut it off."""
        parts = [_progress(tally.labels, goal, ascii_only), *([extra] if extra else [])]
        if tally.per_minute is not None:
            parts.append(f"{tally.per_minute:.0f}/min")
        parts += _habit("first wins", tally.first) + _habit("longer wins", tally.longer)
        if tally.self_agreement.cases:
            parts.append(f"self {tally.self_agreement.count}/{tally.self_agreement.cases}")
        self.update(Content("  ".join(parts)))


def _progress(labels: int, goal: int, ascii_only: bool) -> str:
    if not goal:
        return f"{labels} label{'s' * (labels != 1)}"
    full = min(BAR, BAR * labels // goal)
    done, left = ("#", "-") if ascii_only else ("█", "░")
    reached = "  your goal: shift+n" if labels >= goal else ""
    return f"{labels}/{goal} {done * full}{left * (BAR - full)}{reached}"


def _habit(name: str, share: Share) -> list[str]:
    """A share with a mark where it is no chance that it is not half."""
    if share.cases < ENOUGH or share.interval is None:
        return []
    low, high = share.interval
    return [f"{name} {percent(share)}{'' if low <= 0.5 <= high else '!'}"]
