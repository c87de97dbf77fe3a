"""Votes on replies and edits of them, written to a label database one at a time, beside the event loop.

A vote is reported once it is on disk. While another process locks the database, it waits, and so do later ones.
"""

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.core.errors import EngineError, LockedError, WithdrawnError
from engine.data.labels.store import Candidate, Label, LabelStore
from engine.data.records import Prompt
from slmctl.chat.chat import Chat
from slmctl.chat.conversation import ChatError, Reply, SavedVote, Turn, common_prompt, prompt_for
from slmctl.console.safe import one_line
from slmctl.label.writes import LOCK_WAIT_S, WriteQueue

SELECTION = "chat"  # how these pairs were selected, as the label database records it
TIE, BOTH_BAD, CHOICE, EDIT = "tie", "both_bad", "choice", "edit"
NO_REPLY = "there is no reply {} in this turn; use the number in front of a model's name"


@dataclass(frozen=True)
class Ballot:
    """What is voted on: the replies shown for a turn, and the label database for the vote."""

    serial: int
    path: Path
    prompt: Prompt
    turn: Turn
    replies: Sequence[Reply]
    seconds: float

    def label(self, annotator: str, verdict: str, **fields: Any) -> Label:
        """The row of the label database."""
        candidates = tuple(candidate(self.turn, reply) for reply in self.replies)
        return Label(annotator, self.prompt, candidates, verdict, seconds=self.seconds, selection=SELECTION, **fields)


class VoteRecorder:
    """Saves votes on the replies of `chat`. `path_of` gives the label database for some models; `report` is given the
    serial number of a turn and a sentence about its last change, and whether that has failed."""

    def __init__(
        self,
        chat: Chat,
        annotator: str,
        path_of: Callable[[Sequence[str]], Path],
        report: Callable[[int, str, bool], object],
    ) -> None:
        self._chat, self._annotator, self._path_of, self._report = chat, annotator, path_of, report
        self._stores: dict[Path, LabelStore] = {}
        self._queue = WriteQueue()
        self._saved: dict[int, tuple[SavedVote | None, SavedVote | None]] = {}  # by serial, ahead of the chat's state

    def vote(self, serial: int, verdict: str, number: int | None = None) -> Coroutine[Any, Any, None]:
        """Returns a coroutine that saves a vote: for reply `number` (twice for much better), or on all replies alike.

        Raises: ChatError if the replies cannot be compared.
        """
        turns, shown = self._chat.turns_through(serial), self._chat.shown_replies(serial)
        best = None
        if number is not None:
            model = dict(enumerate(turns[-1].models, 1)).get(number)
            if model not in shown:
                raise ChatError(NO_REPLY.format(number))
            best = list(shown).index(model)
        if len(shown) < 2:
            raise ChatError("a vote needs two replies: add a model with /model A B, or press e to write a better reply")
        ballot = self._ballot(serial, common_prompt(shown, turns), tuple(shown.values()))
        return self._save_vote(ballot, verdict, best)

    def edit_ballot(self, serial: int, model: str) -> Ballot:
        """The ballot for an edit of a model's reply. Raises: ChatError if there is no reply."""
        reply = self._chat.shown_reply(serial, model)
        if reply is None or not reply.usable:
            raise ChatError(f"{one_line(model)} has not replied in this turn")
        return self._ballot(serial, prompt_for(model, reply.chat, self._chat.turns_through(serial)), (reply,))

    async def save_edit(self, ballot: Ballot, text: str) -> None:
        """Saves a text in place of a reply, as a demonstration."""
        async with self._queue.turn:
            vote, before = self._saved[ballot.serial]
            (reply,) = ballot.replies
            label = ballot.label(self._annotator, EDIT, edited=text)
            replaced = before if before is not None and before.best == reply.by else None
            if (number := await self._add(ballot, label, replaced)) is not None:
                edit = SavedVote(number, EDIT, str(ballot.path), reply.by)
                self._tell(ballot.serial, vote, edit, f"saved as a demonstration: row {number} of {ballot.path}")

    def withdraw(self, serial: int) -> Coroutine[Any, Any, None]:
        """Returns a coroutine that withdraws the last vote on or edit of a turn."""
        self._remember(serial)
        return self._withdraw_last(serial)

    async def _withdraw_last(self, serial: int) -> None:
        async with self._queue.turn:
            vote, edit = self._saved[serial]
            saved = sorted(filter(None, (vote, edit)), key=lambda one: one.number)
            if not saved:
                self._tell(serial, vote, edit, "this turn has no vote or edit to withdraw", problem=True)
                return
            last = saved[-1]
            path = Path(last.path)

            def withdraw() -> int:
                return self._store(path).withdraw(last.number, self._annotator)

            if await self._write(serial, path, withdraw, last) is not None:
                self._tell(serial, *self._without(serial, last), f"row {last.number} is withdrawn")

    async def close(self) -> LockedError | None:
        """Closes the databases; the error to report if the last vote still waits for one that is locked."""
        error = await self._queue.close()
        for store in self._stores.values():
            store.close()
        locked = isinstance(error, LockedError)
        return LockedError(f"{error}; your last vote or edit may not have been saved") if locked else None

    def _ballot(self, serial: int, prompt: Prompt, replies: Sequence[Reply]) -> Ballot:
        self._remember(serial)
        turn, ended_at = self._chat.turn(serial), self._chat.ended_at.get(serial)
        seconds = 0.0 if ended_at is None else round(time.monotonic() - ended_at, 1)
        return Ballot(serial, self._path_of(turn.models), prompt, turn, replies, seconds)

    async def _save_vote(self, ballot: Ballot, verdict: str, best: int | None) -> None:
        async with self._queue.turn:
            before, edit = self._saved[ballot.serial]
            name = "" if best is None else ballot.replies[best].by
            again = before is not None and (before.verdict, before.best) == (verdict, name)
            if before is not None and again and (verdict != CHOICE or before.strength == 2):
                self._tell(ballot.serial, before, edit, f"already saved as row {before.number}")
                return
            strength = 2 if again else 1
            ranks = tuple(0 if best in (None, i) else 1 for i in range(len(ballot.replies)))
            label = ballot.label(self._annotator, verdict, ranks=ranks, strength=strength)
            if (number := await self._add(ballot, label, before)) is not None:
                vote = SavedVote(number, verdict, str(ballot.path), name, strength)
                self._tell(ballot.serial, vote, edit, f"{describe(vote)}: saved as row {number} of {ballot.path}")

    async def _add(self, ballot: Ballot, label: Label, before: SavedVote | None) -> int | None:
        """The number of the new row, which replaces the row of `before`; None if it could not be written."""
        same_file = before is not None and before.path == str(ballot.path)  # numbers of other files mean other rows
        instead_of = before.number if before is not None and same_file else None
        return await self._write(
            ballot.serial, ballot.path, lambda: self._store(ballot.path).add(label, instead_of), before
        )

    async def _write(self, serial: int, path: Path, write: Callable[[], int], before: SavedVote | None) -> int | None:
        """The result of a write, repeated while another process locks the database; None if it failed."""

        def report_lock(_: LockedError) -> None:
            text = f"{path.name} is locked by another process; waiting to save your vote or edit"
            self._tell(serial, *self._saved[serial], text)

        try:
            return await self._queue.write(write, report_lock)
        except EngineError as error:
            gone = before if isinstance(error, WithdrawnError) else None  # another window has withdrawn it
            self._tell(serial, *self._without(serial, gone), str(error), problem=True)
            return None

    def _store(self, path: Path) -> LabelStore:
        if path not in self._stores:
            self._stores[path] = LabelStore(path, LOCK_WAIT_S)
        return self._stores[path]

    def _remember(self, serial: int) -> None:
        turn = self._chat.turn(serial)
        self._saved.setdefault(serial, (turn.vote, turn.edit))

    def _without(self, serial: int, gone: SavedVote | None) -> tuple[SavedVote | None, SavedVote | None]:
        vote, edit = self._saved[serial]
        return None if vote is gone else vote, None if edit is gone else edit

    def _tell(
        self, serial: int, vote: SavedVote | None, edit: SavedVote | None, text: str, problem: bool = False
    ) -> None:
        self._saved[serial] = vote, edit
        self._chat.set_votes(serial, vote, edit)
        self._report(serial, text, problem)


def describe(vote: SavedVote) -> str:
    """A vote in a sentence."""
    if vote.verdict != CHOICE:
        return {TIE: "tie", BOTH_BAD: "all replies are bad"}[vote.verdict]
    return f"{vote.best} is {'much ' if vote.strength == 2 else ''}better"


def candidate(turn: Turn, reply: Reply) -> Candidate:
    """A reply as the label database stores it, with the settings to sample it again."""
    return Candidate(
        text=reply.text,
        model=reply.by,
        checkpoint=reply.checkpoint,
        seed=turn.seed,
        sampling={**turn.sampling, "step": turn.step},
        tokens=reply.tokens,
        finished=reply.finished,
        score=reply.score,
    )
