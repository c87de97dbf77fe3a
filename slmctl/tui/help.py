"""The help screen: a sentence on the mode, and every key that works now, from the focused widget up to the app."""

import re
from collections.abc import Iterator
from inspect import cleandoc
from itertools import groupby
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from slmctl.console.safe import clean

MODES = {
    "runs": "Runs: all runs with their states. Start, resume, stop, rename or delete one here. Ctrl+p lists commands "
    "for each of their models.",
    "train": "Train: live charts of one or more runs, the samples of each step, alerts, and controls.",
    "chat": "Chat: chat with one policy, or with several side by side on the same prompt and seed.",
    "label": "Label: choose the better of two responses; a reward model is trained on the labels.",
}
KEYS_WIDTH, WORDS_WIDTH = 16, 34


class HelpScreen(ModalScreen[None]):
    """The keys that are active on `below`, the screen under the help."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q,enter", "dismiss", "Close", id="help.close"),
        Binding("g", "guide", "Open the guide", id="help.guide"),
    ]

    def __init__(self, below: Screen[Any], mode: str) -> None:
        super().__init__()
        self.text = Content("\n").join(help_lines(below, mode))

    def compose(self) -> ComposeResult:
        """One text in a frame that scrolls."""
        with VerticalScroll(id="help-frame") as frame:
            frame.border_title = Content("Help")
            frame.border_subtitle = Content("g opens the guide, esc closes")
            yield Static(self.text)

    def action_guide(self) -> None:
        """Opens the manual in place of this screen."""
        from slmctl.tui.guide import GuideScreen

        self.app.switch_screen(GuideScreen())


def help_lines(below: Screen[Any], mode: str) -> Iterator[Content]:
    """The sentences that the focused widget, its screen and the mode have, then the active keys by who takes them, and
    last those by which one moves about in any list or text."""
    sentences = [MODES.get(mode, "")]
    nodes = below.focused.ancestors_with_self if below.focused is not None else [below]
    sentences += [cleandoc(node.HELP) for node in nodes if node.HELP]
    for sentence in filter(None, sentences):
        yield Content(clean(sentence))
    shown = [active for active in below.active_bindings.values() if active.binding.description]
    shown = [active for active in shown if not active.binding.system]
    for node, bindings in groupby((active for active in shown if active.binding.id), key=_node):
        yield from _section(below.app, _title(node), list(bindings))
    yield from _section(below.app, "Navigation", [active for active in shown if not active.binding.id])


def _section(app: App[Any], title: str, bindings: list[ActiveBinding]) -> Iterator[Content]:
    yield Content("")
    yield Content.styled(title, "bold underline")
    yield from _binding_lines(app, bindings)


def _node(active: ActiveBinding) -> DOMNode:
    return active.node


def _title(node: DOMNode) -> str:
    if isinstance(node, App):
        return "Everywhere"
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", type(node).__name__.lstrip("_")).capitalize()
    return clean(node.BINDING_GROUP_TITLE or words)


def _binding_lines(app: App[Any], bindings: list[ActiveBinding]) -> Iterator[Content]:
    """A line per action: its keys, what it does, the id to remap it by, if any."""
    keys: dict[tuple[str, str, str], list[str]] = {}
    for active in bindings:
        binding = active.binding
        shown = keys.setdefault((binding.action, binding.description, binding.id or ""), [])
        shown.append(app.get_key_display(binding))
    for (_, description, name), names in keys.items():
        left = ", ".join(dict.fromkeys(names)).rjust(KEYS_WIDTH)
        yield Content.assemble((left, "bold $text-accent"), f"  {clean(description):<{WORDS_WIDTH}}", (name, "dim"))
