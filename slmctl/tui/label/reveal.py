"""What is told once a vote is kept: whose responses those were, what the scorer thinks, how it was the first time."""

from collections.abc import Iterator

from textual.content import Content
from textual.widgets import Static

from engine.data.labels.store import Judgement
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
    """Two lines about the last judgement."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def show(self, judgement: Judgement, scorer: str, earlier: Judgement | None, note: str = "") -> None:
        """Tells of a judgement; `earlier` is the one of which it is a repeat, the note comes last.

        After an edit the pair is still to be judged, blind.
        """
        blind = judgement.verdict == "edit"
        models = () if blind else _models(judgement)
        first = Content.assemble(("kept: ", "$text-muted"), (in_words(judgement), "bold"), *models, note)
        second = () if blind else (*_opinion(judgement, scorer), *_again(judgement, earlier))
        self.update(Content("\n").join([first, Content("  ".join(second))]))

    def tell(self, sentence: str) -> None:
        """Says something else, of any origin."""
        self.update(Content(one_line(sentence, 400)))


def in_words(judgement: Judgement) -> str:
    """A verdict by the numbers that stood on the screen."""
    if judgement.verdict == "both_bad" and len(judgement.candidates) > 2:
        return "all bad"
    if judgement.verdict in WORDS or judgement.ranks is None:
        return WORDS.get(judgement.verdict, judgement.verdict)
    ranks = [judgement.ranks[at] for at in judgement.shown]
    if judgement.verdict == "choice":
        return f"{ranks.index(0) + 1} is {'much ' * (judgement.strength == 2)}better"
    return order_text(ranks)


def _models(judgement: Judgement) -> Iterator[str]:
    """Who gave which response, where there are several."""
    names = [judgement.candidates[at].model for at in judgement.shown]
    if len(set(names)) > 1:
        yield "   "
        yield "  ".join(f"{place}: {one_line(name, NAME)}" for place, name in enumerate(names, start=1))


def _opinion(judgement: Judgement, scorer: str) -> Iterator[str]:
    scores = [judgement.candidates[at].score for at in judgement.shown]
    if not scores or None in scores:
        return
    numbers = [f"{score:+.2f}" for score in scores]
    shown = "  ".join(f"{place}: {number}" for place, number in enumerate(numbers, start=1))
    says = {True: ", as you do", False: ", not as you do", None: ""}[agrees(judgement)]
    yield f"{one_line(scorer, NAME)} says {shown}{says if len(set(numbers)) > 1 else ', hardly a difference'}"


def _again(judgement: Judgement, earlier: Judgement | None) -> Iterator[str]:
    if earlier is not None and judgement.ranks is not None:
        same = agreement_with(judgement, earlier)
        yield f"You had this pair before and said {'the same' if same else 'something else'}."


def agreement_with(judgement: Judgement, earlier: Judgement) -> bool:
    """Whether two judgements of the same responses say the same."""

    def order(one: Judgement) -> list[tuple[bool, bool]]:
        ranks = one.ranks or ()
        return [(a < b, a > b) for a in ranks for b in ranks]

    return order(judgement) == order(earlier)
