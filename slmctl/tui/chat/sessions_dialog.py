"""The kept conversations to choose from, the latest first."""

import time
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import set_cell_size
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from slmctl.chat.sessions import Listed
from slmctl.console.safe import one_line

NAME_WIDTH, TURNS_WIDTH, MODELS_WIDTH, WIDTH = 20, 9, 24, 66


class SessionsScreen(ModalScreen[str | None]):
    """Gives the name that was chosen, None where none was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="chat.sessions_cancel"),
    ]

    def __init__(self, sessions: Sequence[Listed]) -> None:
        super().__init__()
        self._sessions = sessions

    def compose(self) -> ComposeResult:
        """A row a conversation: name, when, with whom, how it begins."""
        with Vertical(id="chat-sessions") as frame:
            frame.border_title = Content("kept conversations, the latest first")
            yield OptionList(*(Option(_row(listed)) for listed in self._sessions), markup=False)
            yield Static(Content("enter opens it · esc cancels"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Gives the name of the row."""
        self.dismiss(self._sessions[event.option_index].name)


def _row(listed: Listed) -> Content:
    when = time.strftime("%d %b %H:%M", time.localtime(listed.at))
    name = set_cell_size(one_line(listed.name, NAME_WIDTH), NAME_WIDTH)
    head = Content.assemble(Content.styled(name, "bold"), f"  {when}")
    if listed.damage:
        return Content.assemble(head, "\n  ", Content.styled(one_line(listed.damage, WIDTH), "italic"))
    turns = f"{listed.turns} turn{'s' * (listed.turns != 1)}"
    models = one_line(", ".join(listed.models), MODELS_WIDTH)
    first = one_line(listed.first, WIDTH)
    return Content.assemble(
        head, f"  {turns:<{TURNS_WIDTH}} {models}\n  ", Content.styled(first, "italic $foreground-muted")
    )
