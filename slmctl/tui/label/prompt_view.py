"""The prompt that is answered: a text, or the turns of a conversation."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.data.records import Prompt
from slmctl.console.safe import clean


class PromptView(VerticalScroll):
    """A prompt; a long one scrolls."""

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static("", markup=False)

    def show(self, prompt: Prompt) -> None:
        """Puts a prompt into the view, a conversation seen from its end."""
        self.query_one(Static).update(prompt_content(prompt))
        if isinstance(prompt, str):
            self.scroll_home(animate=False)
        else:
            self.scroll_end(animate=False)


def prompt_content(prompt: Prompt) -> Content:
    """A prompt as it is shown: text in bold, turns each behind who said it."""
    if isinstance(prompt, str):
        return Content.styled(clean(prompt), "bold")
    turns = [
        Content.assemble((f"{turn.role}: ", "$text-muted"), (clean(turn.content), "bold" * (turn.role == "user")))
        for turn in prompt
    ]
    return Content("\n").join(turns)
