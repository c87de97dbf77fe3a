"""The dialogs of Chat: edit a reply, change the sampling settings, choose a saved conversation."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import set_cell_size
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.core.errors import EngineError
from slmctl.chat.sessions import SessionSummary
from slmctl.console.safe import clean, one_line
from slmctl.tui.chat.status_lines import NoteLine
from slmctl.tui.editor import edit_in_editor
from slmctl.tui.widgets.clean_area import CleanArea
from slmctl.tui.widgets.option_list import SafeOptionList
from slmctl.worker.sampling_settings import SETTINGS

PROMPT_LINES = 4
NUMBER = r"[0-9.eE+-]{0,24}"  # all that can be typed or pasted into a sampling setting
NAME_WIDTH, TURNS_WIDTH, MODELS_WIDTH, WIDTH = 20, 9, 24, 66


class EditArea(CleanArea):
    """A text in which Enter saves, as it sends a prompt in the prompt box."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "keep", "Keep", id="chat.edit_keep", priority=True),
        Binding("ctrl+j,shift+enter", "new_line", "New line", id="chat.edit_newline", priority=True),
    ]

    def action_keep(self) -> None:
        """Saves the text, after all keys that were pressed before and are still queued."""
        self.call_later(self.run_action, "screen.keep")

    def action_new_line(self) -> None:
        """Starts a new line."""
        self.call_later(self.insert, "\n")


class EditScreen(ModalScreen[str | None]):
    """Returns the edited reply, None if cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="chat.edit_cancel"),
        Binding("f4", "editor", "$EDITOR", id="chat.edit_editor"),
    ]

    def __init__(self, prompt: str, by: str, text: str) -> None:
        super().__init__()
        self._prompt, self._by, self._text = prompt, by, text

    def compose(self) -> ComposeResult:
        """The prompt, the text, an error, the keys."""
        with Vertical(id="chat-edit") as frame:
            frame.border_title = Content(f"Edit the reply of {one_line(self._by, 50)}")
            prompt = "\n".join(clean(self._prompt).splitlines()[:PROMPT_LINES])
            yield Static(Content.styled(prompt, "bold"), markup=False, id="chat-edit-prompt")
            yield EditArea(soft_wrap=True)
            yield NoteLine("chat-edit-note")
            yield Static(Content("enter: save · ctrl+j: new line · f4: $EDITOR · esc: cancel"))

    def on_mount(self) -> None:
        """Fills in the reply."""
        area = self.query_one(EditArea)
        area.load_text(self._text)
        area.move_cursor(area.document.end)

    def action_keep(self) -> None:
        """Returns the text, if it is new and not empty."""
        text = self.query_one(EditArea).text
        if not text.strip():
            self.query_one(NoteLine).show(
                "the reply is empty; type a better reply, or press Esc to cancel", problem=True
            )
        elif text == clean(self._text):
            self.query_one(NoteLine).show("the reply is unchanged; edit it, or press Esc to cancel", problem=True)
        else:
            self.dismiss(text)

    def action_editor(self) -> None:
        """Opens the text in $EDITOR."""
        area = self.query_one(EditArea)
        try:
            area.load_text(edit_in_editor(self.app, area.text, os.environ))
        except EngineError as error:
            self.query_one(NoteLine).show(str(error), problem=True)


class SamplingScreen(ModalScreen[Mapping[str, float] | None]):
    """Returns the sampling settings and the seed, None if cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="chat.sampling_cancel"),
        Binding("up", "app.focus_previous", "Up", id="chat.sampling_up", show=False),
        Binding("down", "app.focus_next", "Down", id="chat.sampling_down", show=False),
    ]

    def __init__(self, values: Mapping[str, float]) -> None:
        super().__init__()
        self._values = values

    def compose(self) -> ComposeResult:
        """One line per setting, an error, the keys."""
        with Vertical(id="chat-sampling") as frame:
            frame.border_title = Content("Sampling settings")
            for name, setting in SETTINGS.items():
                value = self._values[name]
                with Horizontal(classes="setting"):
                    yield Static(Content(name), classes="setting-name")
                    text = str(value) if name == "seed" else f"{value:g}"
                    yield Input(text, restrict=NUMBER, compact=True, id=f"setting-{name}")
                    yield Static(Content.styled(setting.help, "$foreground-muted"), classes="setting-help")
            yield NoteLine("chat-sampling-note")
            yield Static(Content("enter: apply · up, down: move · esc: cancel"), classes="keys")

    def on_input_submitted(self) -> None:
        """Returns the settings, or shows the first error."""
        chosen = {}
        for name, setting in SETTINGS.items():
            field = self.query_one(f"#setting-{name}", Input)
            try:
                chosen[name] = setting.parse(field.value)
            except EngineError as error:
                self.query_one(NoteLine).show(str(error), problem=True)
                field.focus()
                return
        self.dismiss(chosen)


class SessionsScreen(ModalScreen[str | None]):
    """Returns the name of the chosen session, None if cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="chat.sessions_cancel"),
    ]

    def __init__(self, sessions: Sequence[SessionSummary]) -> None:
        super().__init__()
        self._sessions = sessions

    def compose(self) -> ComposeResult:
        """One option per conversation: name, time, models, first prompt."""
        with Vertical(id="chat-sessions") as frame:
            frame.border_title = Content("Saved conversations, newest first")
            yield SafeOptionList(*(Option(_session_row(summary)) for summary in self._sessions), markup=False)
            yield Static(Content("enter: open · esc: cancel"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Returns the name of the option."""
        self.dismiss(self._sessions[event.option_index].name)


def _session_row(summary: SessionSummary) -> Content:
    when = time.strftime("%d %b %H:%M", time.localtime(summary.saved_at))
    name = set_cell_size(one_line(summary.name, NAME_WIDTH), NAME_WIDTH)
    head = Content.assemble(Content.styled(name, "bold"), f"  {when}")
    if summary.damage:
        return Content.assemble(head, "\n  ", Content.styled(one_line(summary.damage, WIDTH), "italic"))
    turns = f"{summary.turns} turn{'s' * (summary.turns != 1)}"
    models = one_line(", ".join(summary.models), MODELS_WIDTH)
    start = Content.styled(one_line(summary.prompt_start, WIDTH), "italic $foreground-muted")
    return Content.assemble(head, f"  {turns:<{TURNS_WIDTH}} {models}\n  ", start)
