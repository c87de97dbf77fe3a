"""Keys in turn: the next key is handed on once the last one has been acted on.

Textual puts a key into the queue of the widget that has the focus, whence it climbs to the app, and takes the next key
meanwhile. On a busy machine what is typed into a line that a key opens would so go to the list below it, as commands.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from textual.app import App
from textual.dom import DOMNode
from textual.events import Event, Key

CLIMBS = 3  # of the key itself, of what its action says, and of what is said to that
LONGEST_S = 0.5  # a widget that goes away takes its queue with it


class KeysInTurn:
    """`hand_on` gives a key to the widget that has the focus."""

    def __init__(self, app: App[Any], hand_on: Callable[[Event], Awaitable[None]]) -> None:
        self._app, self._hand_on = app, hand_on
        self._waiting: deque[Event] = deque()
        self._handed = 0  # keys so far
        self._under_way = False
        self._late: asyncio.TimerHandle | None = None

    async def take(self, event: Event) -> None:
        """Hands a key on, at once or when its turn comes."""
        self._waiting.append(event)
        if not self._under_way:
            await self._next(self._handed)

    async def _next(self, handed: int) -> None:
        """Hands the next key on, unless that has been done since the key of this number."""
        if handed != self._handed:
            return
        if self._late is not None:
            self._late.cancel()
        self._under_way = False
        while self._waiting and not self._under_way:
            if not self._app.screen.is_mounted:  # its handlers count on widgets that are not there yet
                self._under_way = True
                self._wait_for(self._app.screen)
                return
            event, start = self._waiting.popleft(), self._app.focused or self._app.screen
            self._under_way = not _typed(event, start)
            await self._hand_on(event)
            if self._under_way:
                self._wait_for(start)

    def _wait_for(self, start: DOMNode) -> None:
        """Lets the next key go once messages have gone the way from `start` to the app, or it has taken too long."""
        self._handed += 1
        again = self._app.call_later
        self._late = asyncio.get_running_loop().call_later(LONGEST_S, again, self._next, self._handed)
        self._climb(iter([*start.ancestors_with_self] * CLIMBS), self._handed)

    def _climb(self, route: Iterator[DOMNode], handed: int) -> None:
        """Goes behind the key through the queues of the widgets on its way, then lets the next go."""
        node = next(route, None)
        if node is None or not node.call_later(self._climb, route, handed):
            self._app.call_later(self._next, handed)


def _typed(event: Event, start: DOMNode) -> bool:
    """Whether a key is a character for a text field, which keeps the focus."""
    return isinstance(event, Key) and start.check_consume_key(event.key, event.character)
