"""Votes and edits from a chat as rows of a label database, written by whoever calls: not for the loop of a screen."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.data.labels.store import Candidate, Label, LabelStore
from engine.data.records import Prompt
from slmctl.chat.conversation import Reply, Turn, Unfit
from slmctl.label.writes import LOCK_WAIT_S

SELECTION = "chat"
TIE, BOTH_BAD, CHOICE, EDIT = "tie", "both_bad", "choice", "edit"


class Ballots:
    """Label databases, each opened when it is first written to; for several threads."""

    def __init__(self, annotator: str) -> None:
        self.annotator = annotator
        self._guard = threading.Lock()
        self._stores: dict[Path, LabelStore] = {}

    def keep(self, path: Path, judgement: Label, instead_of: int | None = None) -> int:
        """The number of the row, once it is on the disk; with `instead_of` that row is withdrawn.

        Raises: FileError where the database cannot be written; LockedError where another process holds it.
        """
        with self._guard:
            return self._store(path).add(judgement, instead_of)

    def withdraw(self, path: Path, number: int) -> None:
        """Takes a judgement back. Raises: FileError."""
        with self._guard:
            self._store(path).withdraw(number, self.annotator)

    def close(self) -> None:
        """Gives the files back."""
        with self._guard:
            for store in self._stores.values():
                store.close()
            self._stores.clear()

    def _store(self, path: Path) -> LabelStore:
        if path not in self._stores:
            self._stores[path] = LabelStore(path, LOCK_WAIT_S)
        return self._stores[path]


@dataclass(frozen=True)
class Vote:
    """What a person says of some replies: reply number `best` is better than all others, or `verdict` of all alike."""

    verdict: str
    best: int | None = None
    strength: int = 1
    seconds: float = 0.0


def judgement_of(vote: Vote, annotator: str, prompt: Prompt, turn: Turn, replies: Sequence[Reply]) -> Label:
    """A vote as a row. Raises: Unfit where there are not two replies to compare."""
    if len(replies) < 2:
        raise Unfit("there is only one reply here: compare two with /model A B, or press e to write a better one")
    return Label(
        annotator,
        prompt,
        tuple(candidate(turn, reply) for reply in replies),
        vote.verdict,
        ranks=tuple(0 if vote.best in (None, i) else 1 for i in range(len(replies))),
        strength=vote.strength,
        seconds=vote.seconds,
        selection=SELECTION,
    )


def edit_of(annotator: str, prompt: Prompt, turn: Turn, reply: Reply, edited: str, seconds: float) -> Label:
    """What a person wrote in place of a reply, as a row: a demonstration."""
    return Label(
        annotator, prompt, (candidate(turn, reply),), EDIT, edited=edited, seconds=seconds, selection=SELECTION
    )


def candidate(turn: Turn, reply: Reply) -> Candidate:
    """A reply as the database holds it, with what it takes to draw it again."""
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
