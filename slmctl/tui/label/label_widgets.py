"""The widgets and dialogs of the Label mode: the question or what is shown in its place, and the lines above it."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Static
from textual.widgets.option_list import Option

from engine.core.intervals import Share
from engine.data.labels.store import Candidate, Label
from engine.data.records import Prompt
from slmctl.console.safe import clean, one_line
from slmctl.label.decisions import ranking_text
from slmctl.label.questions import MAX_RESPONSES, Question
from slmctl.label.statistics import LabelStatistics, percent, scorer_agrees
from slmctl.tui.widgets.option_list import SafeOptionList

NO_POLICIES = "There are no policies to label yet. Press F2 for Runs and start a run there."
CHOOSE = "Choose a policy to label. (For two at once: slmctl label A B)"
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


class PromptView(VerticalScroll):
    """The prompt; a long one scrolls."""

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static("", markup=False)

    def show(self, prompt: Prompt) -> None:
        """Shows a prompt; a conversation is scrolled to its end."""
        self.query_one(Static).update(prompt_content(prompt))
        if isinstance(prompt, str):
            self.scroll_home(animate=False)
        else:
            self.scroll_end(animate=False)


def prompt_content(prompt: Prompt) -> Content:
    """A prompt in bold, or the messages of a conversation after their roles."""
    if isinstance(prompt, str):
        return Content.styled(clean(prompt), "bold")
    turns = [
        Content.assemble((f"{turn.role}: ", "$text-muted"), (clean(turn.content), "bold" * (turn.role == "user")))
        for turn in prompt
    ]
    return Content("\n").join(turns)


class ResponseHead(Static):
    """The line with a response's number, which can be clicked."""

    def __init__(self, place: int) -> None:
        super().__init__("", markup=False)
        self._place = place

    async def on_click(self) -> None:
        """Chooses this response, as its key does."""
        await self.run_action(f"screen.choose({self._place})")


class ResponsePanel(VerticalScroll):
    """The response at `place`, from 0, without the name of its model."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self._place = place

    def compose(self) -> ComposeResult:
        """The number and the text."""
        yield ResponseHead(self._place)
        yield Static("", markup=False, classes="response-text")

    def show(self, candidate: Candidate | None) -> None:
        """Shows the start of a response; hides the panel if there is none."""
        self.display = candidate is not None
        if candidate is None:
            return
        text = clean(candidate.text)
        body = Content(text) if text.strip() else Content.styled("(empty response)", "$text-muted italic")
        cut = "" if candidate.finished else "  cut off at the token limit"
        self.query_one(ResponseHead).update(
            Content.assemble((f" {self._place + 1} ", "bold reverse"), (cut, "$text-muted"))
        )
        self.query_one(".response-text", Static).update(body)
        self.scroll_home(animate=False)


class Responses(Container):
    """Panels for all responses, side by side where there is room; those that a question does not need are hidden."""

    def compose(self) -> ComposeResult:
        """As many panels as a question can need."""
        yield from (ResponsePanel(place) for place in range(MAX_RESPONSES))

    def show(self, question: Question) -> None:
        """Shows the responses of a question."""
        self.set_classes(f"-k{len(question)}")
        for panel, candidate in zip_longest(self.query(ResponsePanel), question.on_screen):
            panel.show(candidate)

    def scroll_pages(self, pages: int) -> None:
        """Scrolls all responses."""
        for panel in self.query(ResponsePanel):
            panel.scroll_relative(y=pages * max(1, panel.size.height - 2), animate=False)


class PolicyList(SafeOptionList):
    """Policies by name; posts OptionList.OptionSelected."""

    def show(self, names: Sequence[str]) -> None:
        """Lists policies."""
        self.names = list(names)
        self.clear_options()
        self.add_options(Option(Content(one_line(name))) for name in names)
        self.highlighted = 0


class Placeholder(Vertical):
    """A text, and a list of policies if there is a choice."""

    def compose(self) -> ComposeResult:
        """Both."""
        yield Static("", markup=False)
        yield PolicyList()

    def on_mount(self) -> None:
        """Hides the list."""
        self.query_one(PolicyList).display = False

    def show(self, text: str) -> None:
        """Shows a text and hides the list."""
        self.query_one(Static).update(Content(clean(text)))
        self.query_one(PolicyList).display = False

    def offer(self, names: Sequence[str]) -> None:
        """Lists policies to choose from."""
        self.show(CHOOSE if names else NO_POLICIES)
        if names:
            policies = self.query_one(PolicyList)
            policies.show(names)
            policies.display = True
            policies.focus()


class LabelStatus(Static):
    """Progress and statistics in one line."""

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
    """A share, marked "!" if its 95% interval excludes one half."""
    if share.cases < MIN_VOTES or share.interval is None:
        return []
    low, high = share.interval
    return [f"{name} {percent(share)}{'' if low <= 0.5 <= high else '!'}"]


class Feedback(Static):
    """Two lines about the last label: the verdict and the models, then the scorer's opinion and self-agreement."""

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


class NumberDialog(ModalScreen[int | None]):
    """Returns the place of the response whose number was pressed, None if canceled."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel", id="label.number_cancel")]

    def __init__(self, title: str, count: int) -> None:
        super().__init__()
        self._title, self._count = title, count

    def compose(self) -> ComposeResult:
        """The keys."""
        with Vertical(id="label-number") as frame:
            frame.border_title = Content(self._title)
            yield Static(Content(f"Which response? Press 1 to {self._count}; esc cancels."))

    def on_key(self, event: Key) -> None:
        """Takes a number."""
        event.stop()
        if event.character and event.character in "123456789" and int(event.character) <= self._count:
            self.dismiss(int(event.character) - 1)
        elif event.key == "escape":
            self.dismiss(None)


class LabelTextDialog(ModalScreen[None]):
    """Shows a text: the guidelines, the statistics."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,h,s,q,enter,space", "dismiss", "Close", id="label.text_close")
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """The text in a frame that scrolls."""
        with VerticalScroll(id="label-text") as frame:
            frame.border_title = Content(self._title)
            frame.border_subtitle = Content("esc closes")
            yield Static(Content(clean(self._text)), markup=False)
