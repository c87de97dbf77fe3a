"""What is shown in place of a question: progress, an error, or the policies that can be labeled."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from slmctl.console.safe import clean, one_line
from slmctl.tui.widgets.option_list import SafeOptionList

NO_POLICIES = "There are no policies to label yet. Press F2 for Runs and start a run there."
CHOOSE = "Choose a policy to label. (For two at once: slmctl label A B)"


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
