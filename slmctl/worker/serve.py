"""The sampler child's loop: whose turn it is. Every request in hand advances by one piece of work a turn.

Background requests wait until nobody else wants anything, and are then drawn many at once. New requests are looked for
between any two pieces.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import NoReturn

from slmctl.worker.jobs import Steps, draw, failure, likeness, load, score
from slmctl.worker.protocol import Cancel, Done, Drawn, Failed, Load, Reply, Sample, Score, Token, from_line
from slmctl.worker.shelf import Shelf

BACKGROUND_ROWS = 32  # responses that are drawn together in the background


@dataclass
class Work:
    """A job under way; `owed` are the requests that still wait for their last reply."""

    steps: Steps
    owed: set[int]


@dataclass
class Server:
    """Requests come as `lines`, replies leave by `send`."""

    lines: SimpleQueue[str]
    send: Callable[[Reply], None]
    shelf: Shelf
    _front: deque[Work] = field(default_factory=deque)
    _waiting: list[Sample] = field(default_factory=list)  # background requests that nobody works on
    _behind: Work | None = None
    _cancelled: set[int] = field(default_factory=set)

    def run(self) -> NoReturn:
        """Serves until the process ends."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Takes in what has come, or waits for it where there is nothing to do, and does one piece of work."""
        self._take(wait=not (self._front or self._waiting or self._behind))
        if self._front:
            work = self._front.popleft()
            if self._advance(work):
                self._front.append(work)
            return
        if self._behind is None and self._waiting:
            self._behind = self._gathered()
        if self._behind is not None and not self._advance(self._behind):
            self._behind = None

    def _take(self, wait: bool) -> None:
        """Takes in what has come; with `wait` at least one line."""
        try:
            while True:
                self._accept(self.lines.get(block=wait))
                wait = False
        except Empty:
            return

    def _accept(self, line: str) -> None:
        try:
            message = from_line(line)
        except ValueError as error:
            self.send(Failed(0, str(error)))
            return
        match message:
            case Load():
                self._front.append(Work(load(message, self.shelf), {message.id}))
            case Score():
                self._front.append(Work(score(message, self.shelf, self._cancelled), {message.id}))
            case Sample(background=True):
                self._waiting.append(message)
            case Sample():
                self._front.append(Work(draw([message], self.shelf, self._cancelled), {message.id}))
            case Cancel():
                self._cancel(message)
            case _:
                self.send(Failed(message.id, f"{type(message).__name__} is a reply, not a request"))

    def _cancel(self, message: Cancel) -> None:
        """Ends a request: what is in hand notices before its next piece, what waits has drawn nothing."""
        for request in [request for request in self._waiting if request.id == message.target]:
            self._waiting.remove(request)
            self.send(Done(request.id, [Drawn("", 0, False)] * len(request.prompts)))
        working = [*self._front, *([self._behind] if self._behind else [])]
        if any(message.target in work.owed for work in working):
            self._cancelled.add(message.target)
        self.send(Done(message.id))

    def _gathered(self) -> Work:
        """The oldest background request, and those like it that fit beside it."""
        first, *others = self._waiting
        chosen, rows = [first], len(first.prompts)
        for other in others:
            if likeness(other) == likeness(first) and rows + len(other.prompts) <= BACKGROUND_ROWS:
                chosen.append(other)
                rows += len(other.prompts)
        self._waiting = [request for request in self._waiting if request not in chosen]
        return Work(draw(chosen, self.shelf, self._cancelled), {request.id for request in chosen})

    def _advance(self, work: Work) -> bool:
        """Does one piece of work and sends its replies; whether there is more to do."""
        try:
            replies = next(work.steps)
        except Exception as error:  # the edge of a request: it fails, the child goes on
            replies = [failure(number, error) for number in sorted(work.owed)]
        for reply in replies:
            self.send(reply)
            if not isinstance(reply, Token):
                work.owed.discard(reply.id)
                self._cancelled.discard(reply.id)
        return bool(work.owed)
