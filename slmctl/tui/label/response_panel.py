"""One response to be judged: its number, which can be clicked, and its text."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.data.labels.store import Candidate
from slmctl.console.safe import clean
from slmctl.tui.messages import ResponseChosen


class ResponseHead(Static):
    """The line with the number."""

    def __init__(self, place: int) -> None:
        super().__init__("", markup=False)
        self._place = place

    def on_click(self) -> None:
        """Says that this response is the better one."""
        self.post_message(ResponseChosen(self._place))


class ResponsePanel(VerticalScroll):
    """The response at `place`, from 0; it says nothing of the model that gave it."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self._place = place

    def compose(self) -> ComposeResult:
        """The number, the text."""
        yield ResponseHead(self._place)
        yield Static("", markup=False, classes="response-text")

    def show(self, candidate: Candidate | None) -> None:
        """Puts a response into the panel, seen from its beginning; without one the panel is not there."""
        self.display = candidate is not None
        if candidate is None:
            return
        text = clean(candidate.text)
        body = Content(text) if text.strip() else Content.styled("(an empty response)", "$text-muted italic")
        self.query_one(ResponseHead).update(
            Content.assemble((f" {self._place + 1} ", "bold reverse"), self._about(candidate))
        )
        self.query_one(".response-text", Static).update(body)
        self.scroll_home(animate=False)

    @staticmethod
    def _about(candidate: Candidate) -> tuple[str, str]:
        return ("" if candidate.finished else "  cut off at its longest", "$text-muted")
