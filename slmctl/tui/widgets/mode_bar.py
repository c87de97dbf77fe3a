"""The line at the top of every mode: all modes with their keys; the current one is marked."""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from slmctl.console.safe import one_line
from slmctl.tui.messages import ModeChosen

TITLES = {"runs": "Runs", "train": "Train", "chat": "Chat", "label": "Label"}
SMALL = 64  # columns below which only the modes are shown


class ModeTab(Static):
    """One mode in the bar; the active one is in brackets, which show without color."""

    def __init__(self, mode: str, key: str, active: bool) -> None:
        inner = f"{key} {TITLES[mode]}"
        super().__init__(Content(f"[{inner}]" if active else f" {inner} "), classes="-active" if active else "")
        self._mode = mode

    def on_click(self) -> None:
        """Posts which mode was clicked."""
        self.post_message(ModeChosen(self._mode))


class ModeBar(Horizontal):
    """All modes; `key_of` returns the displayed key of a binding, `place` is the folder of the runs."""

    def __init__(self, active: str, key_of: Callable[[str], str], place: str) -> None:
        super().__init__()
        self._active, self._key_of, self._place = active, key_of, place

    def compose(self) -> ComposeResult:
        """The program's name, a tab per mode, the folder."""
        yield Static(Content("slmctl"), id="mode-bar-name")
        for mode in TITLES:
            yield ModeTab(mode, self._key_of(f"mode.{mode}"), mode == self._active)
        yield Static(Content(one_line(self._place)), id="mode-bar-place")

    def on_resize(self) -> None:
        """Hides the name and the folder if there is no room."""
        self.set_class(self.size.width < SMALL, "-small")
