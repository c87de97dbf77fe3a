"""The sampling panel: how replies are drawn, one setting a line, each checked in a sentence."""

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from engine.core.errors import EngineError
from slmctl.chat.sampling_settings import DIALS
from slmctl.console.safe import clean

NUMBER = r"[0-9.eE+-]{0,24}"  # nothing else can be typed or pasted


class SamplingScreen(ModalScreen[Mapping[str, float] | None]):
    """Gives the settings that were chosen, the seed among them; None where nothing was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="chat.sampling_cancel"),
        Binding("up", "app.focus_previous", "Up", id="chat.sampling_up", show=False),
        Binding("down", "app.focus_next", "Down", id="chat.sampling_down", show=False),
    ]

    def __init__(self, values: Mapping[str, float]) -> None:
        super().__init__()
        self._values = values

    def compose(self) -> ComposeResult:
        """A line a setting."""
        with Vertical(id="chat-sampling") as frame:
            frame.border_title = Content("how replies are drawn")
            for dial in DIALS.values():
                with Horizontal(classes="dial"):
                    yield Static(Content(dial.name), classes="dial-name")
                    yield Input(
                        f"{self._values[dial.name]:g}" if dial.name != "seed" else str(self._values[dial.name]),
                        restrict=NUMBER,
                        compact=True,
                        id=f"dial-{dial.name}",
                    )
                    yield Static(Content.styled(dial.about, "$foreground-muted"), classes="dial-about")
            yield Static("", markup=False, id="chat-sampling-note")
            yield Static(Content("enter takes them · up and down move · esc cancels"), classes="keys")

    def on_input_submitted(self) -> None:
        """Gives the settings back if all are in order, else says what is not."""
        chosen = {}
        for name, dial in DIALS.items():
            field = self.query_one(f"#dial-{name}", Input)
            try:
                chosen[name] = dial.read(field.value)
            except EngineError as error:
                note = self.query_one("#chat-sampling-note", Static)
                note.display = True
                note.update(Content.styled(f"! {clean(str(error))}", "$text-error"))
                field.focus()
                return
        self.dismiss(chosen)
