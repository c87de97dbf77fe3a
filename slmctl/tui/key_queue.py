"""Keys one by one: the next key is delivered once the previous one has taken effect.

Textual posts a key to the focused widget, from which it bubbles to the app, and accepts the next key meanwhile. On a
busy machine, text typed right after a key that opens a line would reach the list below the line, as commands.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from textual.app import App
from textual.dom import DOMNode
from textual.events import Event, Key
from textual.screen import Screen

ROUNDS = 3  # for the key itself, the message that its action posts, and the message posted in response
LONGEST_S = 0.5  # a widget that is removed takes its queue with it


class KeyQueue:
    """Delivers keys in order; `deliver` passes one to the focused widget."""

    def __init__(self, app: App[Any], deliver: Callable[[Event], Awaitable[None]]) -> None:
        self._app, self._deliver = app, deliver
        self._waiting: deque[Event] = deque()
        self._delivered = 0
        self._busy = False
        self._screen: Screen[Any] | None = None  # the one that has handled its ScreenResume
        self._timeout: asyncio.TimerHandle | None = None

    async def take(self, event: Event) -> None:
        """Delivers a key, at once or when its turn comes."""
        self._waiting.append(event)
        if not self._busy:
            await self._next(self._delivered)

    async def _next(self, delivered: int) -> None:
        """Delivers the next key, unless one was delivered since the call was scheduled."""
        if delivered != self._delivered:
            return
        if self._timeout is not None:
            self._timeout.cancel()
        self._busy = False
        while self._waiting and not self._busy:
            screen = self._app.screen
            if screen is not self._screen or not screen.is_mounted:  # it needs its widgets and its ScreenResume first
                self._screen, self._busy = screen, True
                self._wait_for(screen)
                return
            event, start = self._waiting.popleft(), self._app.focused or self._app.screen
            self._busy = not _typed(event, start)
            await self._deliver(event)
            if self._busy:
                self._wait_for(start)

    def _wait_for(self, start: DOMNode) -> None:
        """Schedules the next key for when messages have gone from `start` up to the app, or that takes too long."""
        self._delivered += 1
        again = self._app.call_later
        self._timeout = asyncio.get_running_loop().call_later(LONGEST_S, again, self._next, self._delivered)
        self._follow(iter([*start.ancestors_with_self] * ROUNDS), self._delivered)

    def _follow(self, route: Iterator[DOMNode], delivered: int) -> None:
        """Queues behind the key at each widget on its route, then lets the next key go."""
        node = next(route, None)
        if node is None or not node.call_later(self._follow, route, delivered):
            self._app.call_later(self._next, delivered)


def _typed(event: Event, start: DOMNode) -> bool:
    """Whether a key is a character for a text field, which keeps the focus."""
    return isinstance(event, Key) and start.check_consume_key(event.key, event.character)
