"""The box for the prompt: Enter sends, Ctrl+J starts a new line, Up recalls earlier prompts."""

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from slmctl.tui.chat.messages import PromptSent
from slmctl.tui.chat.slash_commands import Completion
from slmctl.tui.widgets.clean_area import CleanArea


class PromptBox(CleanArea):
    """A prompt, or a slash command, completed by `complete`; `sent` holds earlier ones."""

    HELP = (
        "Type a prompt and press Enter; Ctrl+J starts a new line. Up, on the first line, recalls earlier prompts.\n"
        "Ctrl+U clears the box, and Ctrl+Z undoes that.\n"
        "A line that begins with / is a command, completed by Tab; // begins a prompt with a slash."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", id="chat.send", priority=True),
        Binding("ctrl+j,shift+enter", "new_line", "New line", id="chat.newline", priority=True, show=False),
        Binding("tab", "complete", "Replies", id="chat.complete", priority=True),
        Binding("ctrl+u", "empty", "Clear", id="chat.empty"),
    ]

    def __init__(self, complete: Callable[[str], list[Completion]], id: str) -> None:
        super().__init__(id=id, compact=True, highlight_cursor_line=False)
        self.sent: list[str] = []
        self._complete_line = complete
        self._back = 0  # how far back in `sent` the box is; 0 for the draft
        self._draft = ""
        self._cycle: list[str] = []

    @property
    def completions(self) -> list[Completion]:
        """The completions of the text."""
        return self._complete_line(self.text)

    def fill(self, text: str, selected: bool = False) -> None:
        """Replaces the text and moves the cursor to its end; a `selected` text is replaced by what is typed next."""
        self.load_text(text)
        self.move_cursor(self.document.end)
        if selected:
            self.select_all()

    def action_send(self) -> None:
        """Sends the text, after all keys that were pressed before and are still queued."""
        self.call_later(self._send)

    def action_new_line(self) -> None:
        """Starts a new line."""
        self.call_later(self.insert, "\n")

    def action_empty(self) -> None:
        """Clears the box."""
        self.call_later(self.clear)

    def action_complete(self) -> None:
        """Completes a command, each time with the next completion; for a prompt, selects the replies."""
        self.call_later(self._complete)

    def _send(self) -> None:
        text = self.text
        if text and self.sent[-1:] != [text]:
            self.sent.append(text)
        self._back, self._draft = 0, ""
        self.fill("")
        self.post_message(PromptSent(text))

    async def _complete(self) -> None:
        if not self.completions:
            await self.run_action("screen.focus_replies")
            return
        if self.text not in self._cycle:
            self._cycle = self._tab_lines()
        at = self._cycle.index(self.text) + 1 if self.text in self._cycle else 0
        self.fill(self._cycle[at % len(self._cycle)])

    def action_cursor_up(self, select: bool = False) -> None:
        """Moves up a line; on the first line, recalls the previous prompt."""
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        else:
            self._recall(1)

    def action_cursor_down(self, select: bool = False) -> None:
        """Moves down a line; on the last line, recalls the next prompt."""
        if select or not self.navigator.is_last_wrapped_line(self.cursor_location):
            super().action_cursor_down(select)
        elif self._back:
            self._recall(-1)

    def _recall(self, steps: int) -> None:
        if not 0 <= self._back + steps <= len(self.sent):
            return
        if self._back == 0:
            self._draft = self.text
        self._back += steps
        self.fill(self.sent[-self._back] if self._back else self._draft)

    def _tab_lines(self) -> list[str]:
        """The lines that Tab goes through: the common prefix of all completions, if it is longer, then each of them."""
        lines = [completion.line for completion in self.completions]
        common = lines[0]
        while not all(line.startswith(common) for line in lines):
            common = common[:-1]
        if len(lines) == 1:
            return [lines[0] if " " in lines[0] else f"{lines[0]} "]
        return [common, *lines] if len(common) > len(self.text) and common not in lines else lines
