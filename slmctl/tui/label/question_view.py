"""The question on the screen: its prompt and its responses."""

from itertools import zip_longest

from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.data.labels.store import Candidate
from engine.data.records import Prompt
from slmctl.console.safe import clean
from slmctl.label.questions import MAX_RESPONSES, Question
from slmctl.tui.label.messages import ResponseClicked


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

    def on_click(self) -> None:
        """Posts the choice of this response."""
        self.post_message(ResponseClicked(self._place))


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
