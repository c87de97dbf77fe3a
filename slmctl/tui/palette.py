"""The command palette: modes, stages to start, actions on each run, themes, help, the manual.

Names of runs are untrusted text: displays are Content, never markup.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.style import Style

from engine.core.errors import FileError
from slmctl.console.safe import one_line
from slmctl.guide.pages import TOPICS
from slmctl.runs.command_form import TARGETS
from slmctl.runs.overview import RunSummary
from slmctl.tui.app import Playground
from slmctl.tui.playground import MODES
from slmctl.tui.widgets.mode_bar import TITLES

WIDTH = 70


@dataclass(frozen=True)
class Command:
    """A text, and the action when it is chosen."""

    text: str
    do: Callable[[], Awaitable[None] | None]


class Commands(Provider):
    """Every command of the playground."""

    async def startup(self) -> None:
        """Starts to list the runs. Not awaited: Textual cancels a startup when more is typed, which would leave the
        palette empty."""
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> list[Command]:
        app = self.app
        assert isinstance(app, Playground), app
        try:
            runs = await asyncio.to_thread(app.overview.rows, time.time())
        except FileError:
            runs = []
        return commands(app, runs)

    async def discover(self) -> Hits:
        """All commands, while nothing is typed."""
        for command in await asyncio.shield(self._looking):
            yield DiscoveryHit(Content(command.text), command.do, text=command.text)

    async def search(self, query: str) -> Hits:
        """The commands that contain every typed word, with the words marked."""
        style = self.match_style or Style(reverse=True)
        for command in await asyncio.shield(self._looking):
            places = word_spans(query, command.text)
            if places:
                score = sum(2.0 if start == 0 or command.text[start - 1] in " :" else 1.0 for start, _ in places)
                shown = Content(command.text)
                for start, end in places:
                    shown = shown.stylize(style, start, end)
                yield Hit(score, shown, command.do, text=command.text)


def word_spans(query: str, text: str) -> list[tuple[int, int]]:
    """The start and end of each word of a query in a text; empty if a word is missing.

    Textual's own fuzzy search tries every way to place the letters, which takes too long for long run names.
    """
    words, lowered = query.lower().split(), text.lower()
    if len(lowered) != len(text):  # a letter with a longer lower case would shift the marks
        lowered = text
    starts = [lowered.find(word) for word in words]
    return [] if -1 in starts else [(start, start + len(word)) for start, word in zip(starts, words, strict=True)]


def commands(app: Playground, runs: list[RunSummary]) -> list[Command]:
    """The commands available now: the playground's own, then each run's."""
    found = [Command(f"Go to {TITLES[mode]}", partial(app.open_mode, mode)) for mode in MODES]
    found += [Command(f"Start {text}", partial(app.open_form, target)) for target, text in TARGETS.items()]
    found += [
        Command("Choose a theme", app.search_themes),
        Command("Help: the keys that work here", app.action_help),
        *(Command(f"Guide: {topic}", partial(app.open_guide, topic)) for topic in TOPICS),
        Command("Quit", app.exit),
    ]
    for run in sorted(runs, key=lambda run: (not run.active, -run.at)):
        found += [Command(one_line(text, WIDTH), do) for text, do in _of_run(app, run)]
    return found


def _of_run(app: Playground, run: RunSummary) -> list[tuple[str, Callable[[], Awaitable[None] | None]]]:
    models, pair = run.policies, run.policies[-2:]
    found: list[tuple[str, Callable[[], Awaitable[None] | None]]] = [
        (f"Open {run.run} in Train", partial(app.open_train, (run.run,)))
    ]
    if len(pair) > 1:
        found.append((f"Chat with {pair[0]} beside {pair[1]}", partial(app.open_chat, pair)))
    found += [(f"Chat with {model}", partial(app.open_chat, (model,))) for model in models]
    found += [(f"Label responses of {model}", partial(app.open_label, (model,))) for model in models]
    changes = app.run_changes
    return found + [
        (f"{one.capitalize()} {run.run}", partial(changes.begin, one, run.run)) for one in changes.offered(run)
    ]
