"""What is told once a vote is kept: whose responses those were, what the scorer thinks, how it was the first time."""

from collections.abc import Iterator

from textual.content import Content
from textual.widgets import Static

from engine.data.labels.store import Label
from slmctl.console.safe import one_line
from slmctl.label.counts import agrees
from slmctl.label.ranks import order_text

REFUSED = "not taken: your last answer still waits to be written"
TOO_SOON = "a key that came before this was written does not count"
NAME = 24  # characters of a model's name
WORDS = {
    "tie": "a tie",
    "both_bad": "both bad",
    "skip": "skipped",
    "edit": "your text, as a demonstration; the pair can still be judged",
}


class Reveal(Static):
    """Two lines about the last label."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def show(self, label: Label, scorer: str, earlier: Label | None, note: str = "") -> None:
        """Tells of a label; `earlier` is the one of which it is a repeat, the note comes last.

        After an edit the pair is still to be judged, blind.
        """
        blind = label.verdict == "edit"
        models = () if blind else _models(label)
        first = Content.assemble(("kept: ", "$text-muted"), (in_words(label), "bold"), *models, note)
        second = () if blind else (*_opinion(label, scorer), *_again(label, earlier))
        self.update(Content("\n").join([first, Content("  ".join(second))]))

    def tell(self, sentence: str) -> None:
        """Says something else, of any origin."""
        self.update(Content(one_line(sentence, 400)))


def in_words(label: Label) -> str:
    """A verdict by the numbers that stood on the screen."""
    if label.verdict == "both_bad" and len(label.candidates) > 2:
        return "all bad"
    if label.verdict in WORDS or label.ranks is None:
        return WORDS.get(label.verdict, label.verdict)
    ranks = [label.ranks[at] for at in label.shown]
    if label.verdict == "choice":
        return f"{ranks.index(0) + 1} is {'much ' * (label.strength == 2)}better"
    return order_text(ranks)


def _models(label: Label) -> Iterator[str]:
    """Who gave which response, where there are several."""
    names = [label.candidates[at].model for at in label.shown]
    if len(set(names)) > 1:
        yield "   "
        yield "  ".join(f"{place}: {one_line(name, NAME)}" for place, name in enumerate(names, start=1))


def _opinion(label: Label, scorer: str) -> Iterator[str]:
    scores = [label.candidates[at].score for at in label.shown]
    if not scores or None in scores:
        return
    numbers = [f"{score:+.2f}" for score in scores]
    shown = "  ".join(f"{place}: {number}" for place, number in enumerate(numbers, start=1))
    says = {True: ", as you do", False: ", not as you do", None: ""}[agrees(label)]
    yield f"{one_line(scorer, NAME)} says {shown}{says if len(set(numbers)) > 1 else ', hardly a difference'}"


def _again(label: Label, earlier: Label | None) -> Iterator[str]:
    if earlier is not None and label.ranks is not None:
        same = agreement_with(label, earlier)
        yield f"You had this pair before and said {'the same' if same else 'something else'}."


def agreement_with(label: Label, earlier: Label) -> bool:
    """Whether two labels of the same responses say the same."""

    def order(one: Label) -> list[tuple[bool, bool]]:
        ranks = one.ranks or ()
        return [(a < b, a > b) for a in ranks for b in ranks]

    return order(label) == order(earlier)
