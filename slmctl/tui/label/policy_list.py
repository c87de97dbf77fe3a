"""What there is to label where no model was named: the finished policies of all runs."""

from collections.abc import Sequence

from textual.content import Content
from textual.widgets.option_list import Option

from slmctl.console.safe import one_line
from slmctl.tui.widgets.option_list import SafeOptionList


class PolicyList(SafeOptionList):
    """Policies by name; the one that is chosen is told as OptionList.OptionSelected, with its place."""

    def show(self, names: Sequence[str]) -> None:
        """Lists policies."""
        self.names = list(names)
        self.clear_options()
        self.add_options(Option(Content(one_line(name))) for name in names)
        self.highlighted = 0
