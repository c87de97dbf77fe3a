"""The lines above the question: progress with the labeler's biases, and feedback on the last label."""

from collections.abc import Iterator

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from engine.core.intervals import Share
from engine.data.labels.store import Label
from slmctl.console.safe import one_line
from slmctl.label.decisions import ranking_text
from slmctl.label.statistics import LabelStatistics, percent, scorer_agrees

BAR_WIDTH = 12
MARGINS = 2  # columns beside the line
MIN_VOTES = 10  # before a bias is shown
NAME_WIDTH = 24  # of a model's name
NOTICE_WIDTH = 400
VERDICTS = {
    "tie": "a tie",
    "both_bad": "both bad",
    "skip": "skipped",
    "edit": "your text, as a demonstration; you can still judge the pair",
}


class LabelStatus(Static):
    """Progress and statistics in one line."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def show(self, statistics: LabelStatistics, goal: int, chat_votes: int, marks: str = "") -> None:
        """Shows as much as fits, the most important first; `marks` of the question are always shown."""
        parts = [_progress(statistics.labels, goal), *([marks] if marks else [])]
        parts += [f"+{chat_votes} from Chat"] if chat_votes else []
        parts += _bias("longer wins", statistics.longer) + _bias("first wins", statistics.first)
        if statistics.self_agreement.cases:
            parts.append(f"self-agreement {statistics.self_agreement.count}/{statistics.self_agreement.cases}")
        if statistics.per_minute is not None:
            parts.append(f"{statistics.per_minute:.0f}/min")
        while len(parts) > 1 + bool(marks) and cell_len("  ".join(parts)) > self.app.size.width - MARGINS:
            parts.pop()
        self.update(Content("  ".join(parts)))


def _progress(labels: int, goal: int) -> str:
    if not goal:
        return f"{labels} label{'s' * (labels != 1)}"
    full = min(BAR_WIDTH, BAR_WIDTH * labels // goal)
    reached = "  Goal reached. Shift+N starts a new round" if labels >= goal else ""
    return f"{labels}/{goal} {'█' * full}{'░' * (BAR_WIDTH - full)}{reached}"


def _bias(name: str, share: Share) -> list[str]:
    """A share, marked "!" if its 95 % interval excludes one half."""
    if share.cases < MIN_VOTES or share.interval is None:
        return []
    low, high = share.interval
    return [f"{name} {percent(share)}{'' if low <= 0.5 <= high else '!'}"]


class Feedback(Static):
    """Two lines about the last label: the verdict and the models, then the scorer's opinion and self-agreement."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def show(
        self, label: Label, scorer: str, earlier: Label | None, note: str = "", strengthened: bool = False
    ) -> None:
        """Shows a label that is on disk; `earlier` is the one whose pair it repeats.

        After an edit models and scores stay hidden: the pair can still be judged.
        """
        blind = label.verdict == "edit"
        models = () if blind else _models(label)
        action = "pressed twice, changed to: " if strengthened else "saved: "
        first = Content.assemble((action, "$text-muted"), (verdict_text(label), "bold"), *models, note)
        second = () if blind else (*_opinion(label, scorer), *_self_agreement(label, earlier))
        self.update(Content("\n").join([first, Content("  ".join(second))]))

    def show_text(self, text: str) -> None:
        """Shows a sentence of any origin instead."""
        self.update(Content(one_line(text, NOTICE_WIDTH)))


def verdict_text(label: Label) -> str:
    """A verdict, with the numbers that the responses had on the screen."""
    if label.verdict == "both_bad" and len(label.candidates) > 2:
        return "all bad"
    if label.verdict in VERDICTS or label.ranks is None:
        return VERDICTS.get(label.verdict, label.verdict)
    ranks = [label.ranks[at] for at in label.shown]
    if label.verdict == "choice":
        return f"{ranks.index(0) + 1} is {'much ' * (label.strength == 2)}better"
    return ranking_text(ranks)


def _models(label: Label) -> Iterator[str]:
    """The model of each response, if there are several models."""
    names = [label.candidates[at].model for at in label.shown]
    if len(set(names)) > 1:
        yield "   "
        yield "  ".join(f"{place}: {one_line(name, NAME_WIDTH)}" for place, name in enumerate(names, start=1))


def _opinion(label: Label, scorer: str) -> Iterator[str]:
    scores = [label.candidates[at].score for at in label.shown]
    if not scores or None in scores:
        return
    numbers = [f"{score:+.2f}" for score in scores]
    shown = "  ".join(f"{place}: {number}" for place, number in enumerate(numbers, start=1))
    agrees = {True: ", agrees with you", False: ", disagrees with you", None: ""}[scorer_agrees(label)]
    yield f"{one_line(scorer, NAME_WIDTH)} scores {shown}{agrees if len(set(numbers)) > 1 else ', no difference'}"


def _self_agreement(label: Label, earlier: Label | None) -> Iterator[str]:
    if earlier is not None and label.ranks is not None:
        same = same_order(label, earlier)
        yield f"Repeated pair: {'same verdict as' if same else 'different verdict from'} before."


def same_order(label: Label, earlier: Label) -> bool:
    """Whether two labels of the same responses order them in the same way."""

    def order(one: Label) -> list[tuple[bool, bool]]:
        ranks = one.ranks or ()
        return [(a < b, a > b) for a in ranks for b in ranks]

    return order(label) == order(earlier)
