"""What a newcomer sees in an empty folder: what this is, and one key to begin with."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from slmctl.console.safe import clean, one_line
from slmctl.tui.widgets.option_list import SafeOptionList

ABOUT = (
    "slmctl teaches a small language model from human feedback, step by step: base model, fine-tuning, reward model, "
    "PPO. This is its playground: start a run and watch it learn, talk to what it made, and label its answers to teach "
    "it your own taste."
)
OFFERS = (
    ("tiny", "t", "run tiny", "the whole pipeline in about five minutes, no download"),
    ("form", "n", "start with choices", "another preset, your own data, any setting"),
    ("help", "?", "help", "every key that works here"),
)
KEY, NAME = 3, 20


class Welcome(Vertical):
    """Two sentences and what can be done first; `place` is the folder that holds no runs yet."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place

    def compose(self) -> ComposeResult:
        """The sentences, the offers, and room for what came of the one that was taken."""
        yield Static(Content(ABOUT), id="welcome-about")
        yield Static(Content(f"There are no runs in {one_line(self._place)} yet. To begin with:"), id="welcome-place")
        yield SafeOptionList(
            *(Option(_offer(*offer), id=offer[0]) for offer in OFFERS), id="welcome-offers", compact=True
        )
        yield Static("", markup=False, id="welcome-answer")

    def answer(self, text: str) -> None:
        """Says what came of it."""
        self.query_one("#welcome-answer", Static).update(Content(clean(text)))


def _offer(_: str, key: str, name: str, text: str) -> Content:
    return Content.assemble((f"{key:<{KEY}}", "bold $text-accent"), (f"{name:<{NAME}}", "bold"), text)
