"""What stands where the pair will be: what is being done, what went wrong, or which policies there are to label."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from slmctl.console.safe import clean
from slmctl.tui.label.policy_list import PolicyList

NOTHING = "There is no policy to label yet. F2 shows the runs, where one can be started."
OFFER = "Whose responses do you want to judge? (Two at once: slmctl label A B)"


class Waiting(Vertical):
    """A text, and a list where there is something to choose."""

    def compose(self) -> ComposeResult:
        """Both."""
        yield Static("", markup=False)
        yield PolicyList()

    def on_mount(self) -> None:
        """Begins without a list."""
        self.query_one(PolicyList).display = False

    def tell(self, text: str) -> None:
        """Says something, and offers nothing."""
        self.query_one(Static).update(Content(clean(text)))
        self.query_one(PolicyList).display = False

    def offer(self, names: Sequence[str]) -> None:
        """Lists policies to choose from."""
        self.tell(OFFER if names else NOTHING)
        if names:
            policies = self.query_one(PolicyList)
            policies.show(names)
            policies.display = True
            policies.focus()
