"""Takes a person's votes and edits one after the other, has them written beside the loop, and says when they are kept.

A judgement is told on the screen only once it is on the disk; while another process holds the file it waits, and so do
those after it. What a row holds stands in slmctl/chatting/voting.py.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from textual.message import Message

from engine.core.errors import EngineError, LockedError, WithdrawnError
from engine.data.records import Prompt
from slmctl.chat.conversation import Judged, Reply, Turn
from slmctl.chat.votes import CHOICE, EDIT, Ballots, Vote, edit_of, judgement_of
from slmctl.label.writes import retry_while_locked
from slmctl.tui.messages import VoteKept

VERDICTS = {"tie": "a tie", "both_bad": "all bad"}
T = TypeVar("T")
Kept = tuple[Judged | None, Judged | None]  # the vote and the edit of a turn


@dataclass(frozen=True)
class Poll:
    """What is judged: the replies that are shown to the turn of a serial number, and where the judgement goes."""

    serial: int
    place: Path
    prompt: Prompt
    turn: Turn
    replies: Sequence[Reply]
    seconds: float


class BallotBox:
    """`post` hands a message to the screen."""

    def __init__(self, ballots: Ballots, post: Callable[[Message], object]) -> None:
        self._ballots, self._post = ballots, post
        self._turn = asyncio.Lock()
        self._kept: dict[int, Kept] = {}  # by serial, ahead of what the screen has heard
        self._held: Path | None = None  # the file that another process keeps from being written

    async def vote(self, poll: Poll, verdict: str, best: int | None) -> None:
        """Keeps that reply `best` is better, the second time much better; or a verdict on all replies alike."""
        async with self._turn:
            before, edited = self._before(poll)
            name = "" if best is None else poll.replies[best].by
            again = before is not None and (before.verdict, before.best) == (verdict, name)
            if before is not None and again and (verdict != CHOICE or before.strength == 2):
                self._say(poll, (before, edited), f"kept already as row {before.number}")
                return
            vote = Vote(verdict, best, 2 if again else 1, poll.seconds)
            try:
                judgement = judgement_of(vote, self._ballots.annotator, poll.prompt, poll.turn, poll.replies)
                instead_of = _row_there(before, poll.place)
                number = await self._written(
                    poll, poll.place, partial(self._ballots.keep, poll.place, judgement, instead_of)
                )
            except EngineError as error:
                self._refuse(poll, (before, edited), before, error)
                return
            judged = Judged(number, verdict, str(poll.place), name, vote.strength)
            self._say(poll, (judged, edited), f"{in_words(judged)}: kept as row {number} of {poll.place}")

    async def edit(self, poll: Poll, reply: Reply, text: str) -> None:
        """Keeps a text in place of a reply, as a demonstration."""
        async with self._turn:
            judged, before = self._before(poll)
            judgement = edit_of(self._ballots.annotator, poll.prompt, poll.turn, reply, text, poll.seconds)
            instead_of = _row_there(before, poll.place) if before is not None and before.best == reply.by else None
            try:
                number = await self._written(
                    poll, poll.place, partial(self._ballots.keep, poll.place, judgement, instead_of)
                )
            except EngineError as error:
                self._refuse(poll, (judged, before), before, error)
                return
            edited = Judged(number, EDIT, str(poll.place), reply.by)
            self._say(poll, (judged, edited), f"your text is kept as a demonstration, row {number} of {poll.place}")

    async def take_back(self, poll: Poll) -> None:
        """Withdraws what was said last of a turn."""
        async with self._turn:
            judged, edited = self._before(poll)
            said = sorted(filter(None, (judged, edited)), key=lambda one: one.number)
            if not said:
                self._say(poll, (judged, edited), "there is no judgement of this turn to take back", problem=True)
                return
            last = said[-1]
            try:
                place = Path(last.place)
                await self._written(poll, place, partial(self._ballots.withdraw, place, last.number))
            except EngineError as error:
                self._refuse(poll, (judged, edited), last, error)
                return
            self._say(poll, _without((judged, edited), last), f"row {last.number} is taken back")

    @property
    def fault(self) -> LockedError | None:
        """What is wrong where the screen is left while a judgement waits to be written."""
        if self._held is None:
            return None
        return LockedError(f"{self._held} is locked by another process; what you said last may not be written")

    async def _written(self, poll: Poll, place: Path, write: Callable[[], T]) -> T:
        """What a write into a database gives, tried again while another process holds it. Raises: FileError."""

        def held(_: LockedError) -> None:
            self._held = place
            words = "is locked by another process; what you said waits, and is written once the file is free"
            self._say(poll, self._before(poll), f"{place.name} {words}")  # each time: other keys wipe it away

        try:
            done = await retry_while_locked(write, held)
        except EngineError:
            self._held = None
            raise
        self._held = None
        return done

    def _before(self, poll: Poll) -> Kept:
        return self._kept.get(poll.serial, (poll.turn.judged, poll.turn.edited))

    def _refuse(self, poll: Poll, kept: Kept, before: Judged | None, error: EngineError) -> None:
        """Says why something is not kept; what stood before is forgotten where another window took it back."""
        left = _without(kept, before) if isinstance(error, WithdrawnError) else kept
        self._say(poll, left, str(error), problem=True)

    def _say(self, poll: Poll, kept: Kept, words: str, problem: bool = False) -> None:
        self._kept[poll.serial] = kept
        self._post(VoteKept(poll.serial, *kept, words, problem))


def _without(kept: Kept, gone: Judged | None) -> Kept:
    vote, edit = kept
    return (None if vote is gone else vote, None if edit is gone else edit)


def _row_there(before: Judged | None, place: Path) -> int | None:
    """The row of an earlier judgement, if it lies in this file: in another one the number is somebody else's."""
    return before.number if before is not None and before.place == str(place) else None


def in_words(judged: Judged) -> str:
    """A vote as it is said on the screen."""
    if judged.verdict != CHOICE:
        return VERDICTS[judged.verdict]
    return f"{judged.best} is {'much ' if judged.strength == 2 else ''}better"
