"""The box for prompts and slash commands: Enter sends, Tab completes, Up recalls earlier prompts.

The commands are listed, parsed and completed here; slash_commands.py runs them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.message import Message

from engine.core.errors import did_you_mean
from engine.run.inputs import NONE
from slmctl.chat.conversation import ChatError
from slmctl.chat.related_models import list_policies, list_scorers
from slmctl.chat.sessions import SessionFiles
from slmctl.tui.chat.lens import KINDS, OFF
from slmctl.tui.widgets.clean_area import CleanArea
from slmctl.worker.sampling_settings import SETTINGS

SLASH = "/"
LENSES = (*(kind for kind in KINDS if kind != OFF), "off")


class SlashCommand(NamedTuple):
    """A command: how it is typed, and what it does."""

    usage: str
    help: str


COMMANDS = {
    "regen": SlashCommand("/regen", "reply to the last prompt again, with the next random step"),
    "undo": SlashCommand("/undo", "remove the last turn and return its prompt to the box"),
    "branch": SlashCommand("/branch [TURNS] [NAME]", "continue in a copy of this conversation or of its first turns"),
    "system": SlashCommand("/system TEXT|none", "set the system prompt"),
    "set": SlashCommand("/set temperature=0.7", "change sampling settings: " + ", ".join(SETTINGS)),
    "save": SlashCommand("/save NAME", "name this conversation; it is saved after each turn anyway"),
    "load": SlashCommand("/load [NAME]", "open a saved conversation; without a name, choose from a list"),
    "model": SlashCommand("/model A [B C D]", "chat with other models, up to four side by side"),
    "score": SlashCommand("/score MODEL|none", "choose the scorer of replies, such as tiny:rm or pocket:judge"),
    "ref": SlashCommand("/ref MODEL|none", "choose the reference for KL"),
    "follow": SlashCommand("/follow 1|none", "make all models continue from reply 1, to compare their next replies"),
    "vote": SlashCommand("/vote 1|2|tie|bad|none", "vote for the better reply, saved to the label database"),
    "edit": SlashCommand("/edit [1]", "write a better reply, saved to the label database as a demonstration"),
    "lens": SlashCommand("/lens kl|logprob|value|off", "color each token by one of its numbers"),
    "new": SlashCommand("/new", "start a new conversation with the same models"),
    "help": SlashCommand("/help", "show keys and commands"),
}


CHOICES: Mapping[str, Sequence[str]] = {
    "set": tuple(f"{setting}=" for setting in SETTINGS),
    "lens": LENSES,
    "vote": ("1", "2", "tie", "bad", NONE),
}


def find_names(home: Path) -> dict[str, Sequence[str]]:
    """The names in the runs folder that each command can be completed to.

    Reads files, so not for the event loop of a screen.
    """
    models, scorers = list_policies(home), list_scorers(home)
    return {
        "model": models,
        "ref": (*models, NONE),
        "score": (*scorers, NONE),
        "load": SessionFiles(home).names(),
    }


def parse(text: str) -> tuple[str, str] | None:
    """The name and argument of a command; None for a prompt, which may start with two slashes.

    Raises: ChatError for an unknown command, or an argument to one that takes none.
    """
    if not text.startswith(SLASH) or text.startswith(SLASH * 2):
        return None
    name, _, rest = text.removeprefix(SLASH).partition(" ")
    name, _, next_line = name.partition("\n")
    if name not in COMMANDS:
        hint = "/help lists all commands, and // starts a prompt with a slash"
        raise ChatError(f"there is no command {SLASH + name[:40]!r}{did_you_mean(name, COMMANDS)}; {hint}")
    argument = f"{next_line} {rest}".strip()
    if argument and COMMANDS[name].usage == SLASH + name:
        raise ChatError(f"/{name} takes no argument, but {argument[:40]!r} was given")
    return name, argument


def unescape_prompt(text: str) -> str:
    """The prompt that a text means: one slash in place of two at its start."""
    return text.removeprefix(SLASH) if text.startswith(SLASH * 2) else text


def escape_prompt(prompt: str) -> str:
    """The text to type for a prompt: with two slashes if it starts with one."""
    return SLASH + prompt if prompt.startswith(SLASH) else prompt


def completions(text: str, names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The completions of a line, each with a description; none for a prompt. `names` are as from `find_names`."""
    if not text.startswith(SLASH) or text.startswith(SLASH * 2) or "\n" in text:
        return {}
    name, space, rest = text.removeprefix(SLASH).partition(" ")
    if not space:
        return {SLASH + found: " · ".join(COMMANDS[found]) for found in COMMANDS if found.startswith(name)}
    if name not in COMMANDS:
        return {}
    before, gap, last = rest.rpartition(" ")
    values = {**names, **CHOICES}.get(name, ())
    found_values = [value for value in values if value.startswith(last) and value != last]
    lines = [f"{SLASH}{name} {before}{gap}{value}" for value in found_values]
    return dict.fromkeys(lines or [text], " · ".join(COMMANDS[name]))


@dataclass
class PromptSent(Message):
    """Enter was pressed in the prompt box, which is empty now; `text` is what it contained."""

    text: str


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

    def __init__(self, complete: Callable[[str], dict[str, str]], id: str) -> None:
        super().__init__(id=id, compact=True, highlight_cursor_line=False)
        self.sent: list[str] = []
        self._complete_line = complete
        self._back = 0  # how far back in `sent` the box is; 0 for the draft
        self._draft = ""
        self._cycle: list[str] = []

    @property
    def completions(self) -> dict[str, str]:
        """The completions of the text, each with a description."""
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
        lines = list(self.completions)
        common = lines[0]
        while not all(line.startswith(common) for line in lines):
            common = common[:-1]
        if len(lines) == 1:
            return [lines[0] if " " in lines[0] else f"{lines[0]} "]
        return [common, *lines] if len(common) > len(self.text) and common not in lines else lines
