"""The welcome in an empty folder: what the program is, and keys to start with."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from slmctl.console.safe import clean, one_line
from slmctl.tui.widgets.option_list import SafeOptionList

ABOUT = (
    "slmctl trains a small language model from human feedback, step by step: base model, fine-tuning, reward model, "
    "PPO. Start a run and watch it learn, chat with its models, and label its responses to teach it your preferences."
)
OFFERS = (
    ("tiny", "t", "run tiny", "the whole pipeline in about five minutes, no download"),
    ("form", "n", "custom run", "another preset, your own data, any setting"),
    ("help", "?", "help", "the keys that work here"),
)
KEY, NAME = 3, 20


class Welcome(Vertical):
    """Two sentences and what can be done first; `place` is the empty folder of runs."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place

    def compose(self) -> ComposeResult:
        """The sentences, the offers, and a line for the result of the chosen offer."""
        yield Static(Content(ABOUT), id="welcome-about")
        yield Static(Content(f"No runs in {one_line(self._place)} yet. To start:"), id="welcome-place")
        yield SafeOptionList(
            *(Option(_offer(*offer), id=offer[0]) for offer in OFFERS), id="welcome-offers", compact=True
        )
        yield Static("", markup=False, id="welcome-answer")

    def answer(self, text: str) -> None:
        """Shows the result of the chosen offer."""
        self.query_one("#welcome-answer", Static).update(Content(clean(text)))


def _offer(_: str, key: str, name: str, text: str) -> Content:
    return Content.assemble((f"{key:<{KEY}}", "bold $text-accent"), (f"{name:<{NAME}}", "bold"), text)
