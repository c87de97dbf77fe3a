"""The new round over the pair: what it will do, how far it is, what came of it."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from slmctl.console.safe import clean
from slmctl.tui.label.round_state import RoundState

if TYPE_CHECKING:
    from slmctl.tui.app import Playground


class RoundScreen(ModalScreen[str | None]):
    """Gives "start", "stop", "next" or "again", what the person chose, None where the screen was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back to the pairs", id="label.round_back"),
        Binding("enter", "go_on", "Go on", id="label.round_go"),
        Binding("s", "stop", "Stop it", id="label.round_stop"),
        Binding("n", "again", "Another round", id="label.round_again"),
        Binding("y", "copy", "Copy the command", id="label.round_copy"),
    ]

    def __init__(self, state: RoundState) -> None:
        super().__init__()
        self.state = state

    def compose(self) -> ComposeResult:
        """The words in a frame, and what the keys do."""
        with VerticalScroll(id="label-round") as frame:
            frame.border_title = Content("a new round")
            yield Static("", markup=False, id="label-round-text")
            yield Static("", markup=False, id="label-round-keys")

    def on_mount(self) -> None:
        """Shows how it stands."""
        self.refresh_state()

    def refresh_state(self) -> None:
        """Shows how it stands now."""
        self.query_one("#label-round-text", Static).update(Content(clean("\n".join(self.state.lines()))))
        self.query_one("#label-round-keys", Static).update(Content.styled(f"\n{self._keys()}", "bold"))

    def action_go_on(self) -> None:
        """Starts the round, or goes on to what it made."""
        if self.state.done:
            self.dismiss("next")
        elif not self.state.running:
            self.dismiss("start")

    def action_stop(self) -> None:
        """Stops a round that runs."""
        if self.state.running:
            self.dismiss("stop")

    def action_again(self) -> None:
        """Plans another round from the pairs that are labelled now, in place of going on to the new policy."""
        if self.state.done or self.state.error:
            self.dismiss("again")

    def action_copy(self) -> None:
        """Puts the command that compares the policies on the clipboard, once there are two."""
        if self.state.done:
            cast("Playground", self.app).copy(self.state.command)

    def _keys(self) -> str:
        if self.state.done:
            return f"enter: label {clean(self.state.planned.models[0])} · n: another round · esc: back"
        if self.state.running:
            return "esc: back to the pairs, it runs on · s: stop it"
        if self.state.error:
            return "enter: go on with it · n: another round · esc: back"
        return "enter: start · esc: not now"
