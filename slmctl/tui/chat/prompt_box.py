"""The box that a prompt is typed into: enter sends, ctrl+j is a new line, up recalls what was sent before."""

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from slmctl.tui.chat.slash import Completion
from slmctl.tui.messages import PromptSent
from slmctl.tui.widgets.clean_area import CleanArea


class PromptBox(CleanArea):
    """A prompt, or a command that begins with a slash, which `complete` completes; `recalled` is what was sent."""

    HELP = (
        "Type a prompt and press enter; ctrl+j begins a new line. Up, on the first line, brings back what you sent.\n"
        "Ctrl+u empties the box, and ctrl+z brings back what stood in it.\n"
        "A line that begins with / is a command, and tab completes it; // begins a prompt that has a slash."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", id="chat.send", priority=True),
        Binding("ctrl+j,shift+enter", "new_line", "New line", id="chat.newline", priority=True, show=False),
        Binding("tab", "complete", "Replies", id="chat.complete", priority=True),
        Binding("ctrl+u", "empty", "Empty", id="chat.empty"),
    ]

    def __init__(self, complete: Callable[[str], list[Completion]], id: str) -> None:
        super().__init__(id=id, compact=True, highlight_cursor_line=False)
        self.recalled: list[str] = []
        self._complete_line = complete
        self._back = 0  # how far back in `recalled` the box is; 0 is what is being typed
        self._draft = ""
        self._ways: list[str] = []

    @property
    def completions(self) -> list[Completion]:
        """What the text could become."""
        return self._complete_line(self.text)

    def fill(self, text: str, selected: bool = False) -> None:
        """Puts a text into the box, the cursor behind it; what is typed next replaces one that is `selected`."""
        self.load_text(text)
        self.move_cursor(self.document.end)
        if selected:
            self.select_all()

    def action_send(self) -> None:
        """Sends the text, once keys that were pressed before have been heard: they wait in a queue of ours."""
        self.call_later(self._send)

    def action_new_line(self) -> None:
        """Begins a new line."""
        self.call_later(self.insert, "\n")

    def action_empty(self) -> None:
        """Takes all of the text away."""
        self.call_later(self.clear)

    def action_complete(self) -> None:
        """Completes a command, again the next way; with nothing to complete, leaves for the replies."""
        self.call_later(self._complete)

    def _send(self) -> None:
        text = self.text
        if text and self.recalled[-1:] != [text]:
            self.recalled.append(text)
        self._back, self._draft = 0, ""
        self.fill("")
        self.post_message(PromptSent(text))

    async def _complete(self) -> None:
        if not self.completions:
            await self.run_action("screen.replies")
            return
        if self.text not in self._ways:
            self._ways = self._ways_on()
        at = self._ways.index(self.text) + 1 if self.text in self._ways else 0
        self.fill(self._ways[at % len(self._ways)])

    def action_cursor_up(self, select: bool = False) -> None:
        """Up a line; on the first one back to what was sent before."""
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        else:
            self._recall(1)

    def action_cursor_down(self, select: bool = False) -> None:
        """Down a line; on the last one forward to what was sent later."""
        if select or not self.navigator.is_last_wrapped_line(self.cursor_location):
            super().action_cursor_down(select)
        elif self._back:
            self._recall(-1)

    def _recall(self, steps: int) -> None:
        if not 0 <= self._back + steps <= len(self.recalled):
            return
        if self._back == 0:
            self._draft = self.text
        self._back += steps
        self.fill(self.recalled[-self._back] if self._back else self._draft)

    def _ways_on(self) -> list[str]:
        """What tab makes of the line, press by press: what all completions begin with, if that is more, then each."""
        lines = [completion.line for completion in self.completions]
        common = lines[0]
        while not all(line.startswith(common) for line in lines):
            common = common[:-1]
        if len(lines) == 1:
            return [lines[0] if " " in lines[0] else f"{lines[0]} "]
        return [common, *lines] if len(common) > len(self.text) and common not in lines else lines
