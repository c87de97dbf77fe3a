"""A labelling session: what is asked now, what was answered, and how to take it back. Torch-free, textual-free.

The screen and the simulated labeler drive this same core. An answer counts once it is on the disk; what a session knows
follows from the database, so that it goes on after a restart as if nothing had happened. All labelers are asked the
same questions in the same order; once a session notices another one of its labeler, it takes a random order of its own.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from engine.core.errors import EngineError, FileError, LockedError, WithdrawnError
from engine.core.seeding import python_rng
from engine.data.labels.store import Label, LabelStore
from engine.data.records import Prompt, prompt_key
from slmctl.label.candidates import Question
from slmctl.label.counts import COMPARED
from slmctl.label.questions import DEPTH, Questions
from slmctl.label.selection import ASKED, Recipe
from slmctl.label.writes import WriteQueue
from slmctl.worker.sampler import Sampler

REPEATED = 0.05  # share of the questions that are an earlier pair the other way round
REPEATED_AFTER = 10  # labels that lie in between at least
TURNS = 1000  # that few prompts are asked again and again, each time with other responses


@dataclass(frozen=True)
class Answer:
    """What a labeler says of a question: a verdict, and `ranks` by place on the screen where it compares."""

    verdict: str
    ranks: tuple[int, ...] | None = None
    strength: int = 1
    edited: str | None = None


def choice(place: int, count: int, strength: int = 1) -> Answer:
    """The response at `place`, from 0, is better than all others."""
    return Answer("choice", tuple(int(other != place) for other in range(count)), strength)


def alike(verdict: str, count: int) -> Answer:
    """No response is better: "tie" or "both_bad"."""
    return Answer(verdict, (0,) * count)


def ranking(ranks: Sequence[int]) -> Answer:
    """An order of all responses, by place; one that is a single tie is a tie."""
    return Answer("ranking", tuple(ranks)) if any(ranks) else alike("tie", len(ranks))


SKIP = Answer("skip")


class Labelling:
    """One labeler's session in one database. `changed` is called whenever there is news.

    What cannot be written because another process holds the database is tried again until it is there, and `waits` is
    told so; without `waits` it is an error.
    """

    def __init__(
        self,
        recipe: Recipe,
        prompts: Sequence[Prompt],
        store: LabelStore,
        annotator: str,
        sampler: Callable[[], Sampler],
        changed: Callable[[], None] = lambda: None,
        depth: int = DEPTH,
        clock: Callable[[], float] = time.monotonic,
        waits: Callable[[], None] | None = None,
    ) -> None:
        self.recipe, self.store, self.annotator = recipe, store, annotator
        self.question: Question | None = None
        self.judged: list[Label] = []  # what stands of this labeler's answers, oldest first
        self.note, self.flagged = "", False  # of the question
        self.writes = WriteQueue()
        self.unwritten: EngineError | None = None  # once it is closed: why the last write is not on disk
        self._changed, self._clock, self._waits = changed, clock, waits
        self._answered: defaultdict[object, set[frozenset[str]]] = defaultdict(set)  # responses judged of each prompt
        self.questions = Questions(recipe, prompts, self._times_answered, sampler, self._look, depth, TURNS)
        self._put_back: deque[Question] = deque()
        self._asked_at = 0.0
        self._attempts = 0
        self._newest = 0  # the last row that is known here
        self._elsewhere: set[int] = set()  # labels of this labeler's other sessions since this one began

    async def open(self) -> None:
        """Reads what was judged before and starts to draw questions. Raises: FileError."""
        self._newest = await asyncio.to_thread(self.store.newest, self.annotator)
        await self._read()
        self._elsewhere.clear()
        self.questions.begin()

    async def close(self) -> None:
        """Stops drawing and gives the database back; an answer that waits to be written is given up."""
        await self.questions.close()
        self.unwritten = await self.writes.close()
        await asyncio.to_thread(self.store.close)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to ask."""
        return self.question is None and self.questions.exhausted and not self.questions.waiting

    async def answer(self, answer: Answer) -> Label:
        """The label that the question was given, once it is on the disk; the next question is asked then.

        An edit leaves the question on the screen: the pair can still be compared. Raises: FileError, and all is as it
        was before.
        """
        question = self.question
        assert question is not None, "there is no question"
        async with self.writes:
            assert self.question is question, "the question has changed"
            label = self._label(question, answer)
            number = await self._written(partial(self.store.add, label))
            label = replace(label, id=number, at=time.time())
            self.judged.append(label)
            self._note_answered(label)
            await self._look_elsewhere(number, number)
            if answer.verdict != "edit":
                self._ask(None)
            return label

    async def strengthen(self) -> Label | None:
        """The last choice, now much better; None where there is none.

        Raises: FileError; WithdrawnError where another session took it back.
        """
        async with self.writes:
            last = self._last()
            if last is None or last.verdict != "choice":
                return None
            if last.strength == 2:
                return last
            stronger = replace(last, strength=2)
            number = await self._written(partial(self.store.add, stronger, last.id))
            stronger = replace(stronger, id=number)
            self.judged[self.judged.index(last)] = stronger
            await self._look_elsewhere(number, number + 1)  # the row that withdraws the weaker one follows at once
            return stronger

    async def undo(self) -> Label | None:
        """The last label of this session, now withdrawn, its question asked again; None where there is none.

        Raises: FileError, and all is as it was before; WithdrawnError where another session took it back.
        """
        async with self.writes:
            if (last := self._last()) is None:
                return None
            number = await self._written(partial(self.store.withdraw, last.id, self.annotator))
            self.judged.remove(last)
            await self._look_elsewhere(number, number)
            before = question_of(last)
            if self.question is not None and not _same(self.question, before):
                self._put_back.appendleft(self.question)
            self._ask(before)
            self.note, self.flagged = last.note, last.flagged
            return last

    async def resample(self) -> bool:
        """Whether the question has other responses now; not where the models give no different ones.

        Raises: EngineError as the sampler does.
        """
        question = self.question
        assert question is not None, "there is no question"
        self._attempts += 1
        found = await self.questions.again(question, self._attempts)
        if found is not None and self.question is question:
            note, flagged = self.note, self.flagged
            self._ask(found)
            self.note, self.flagged = note, flagged
        return found is not None

    async def _written(self, write: Callable[[], int]) -> int:
        """The number of the row that a write adds, once it is on disk. Raises: FileError."""
        try:
            return await self.writes.write(write, self._report_locked)
        except WithdrawnError:
            await self._read()
            raise

    def _report_locked(self, error: LockedError) -> None:
        """Reports once that a write waits. Raises: LockedError where nobody waits for it."""
        if self._waits is None:
            raise error
        if not self.writes.locked:
            self._waits()

    async def _look_elsewhere(self, first: int, last: int) -> None:
        """Takes over what this labeler did in other sessions before the rows from `first` to `last`, which are ours.

        Questions come in a random order from then on, so that two sessions rarely show the same one at the same time.
        """
        with suppress(FileError):  # the rows are written all the same, and the next one looks again
            if await asyncio.to_thread(self.store.newest, self.annotator, first) > self._newest:
                await self._read()
                self.questions.shuffle(python_rng(self.recipe.seed, f"label/order/{self.annotator}", last))
            self._newest = last

    async def _read(self) -> None:
        """Reads what stands of this labeler; what was not known before is of another session."""
        known = {one.id for one in self.judged}
        standing = await asyncio.to_thread(self.store.standing, self.annotator)
        self.judged = [one for one in standing if one.selection in ASKED]
        self._elsewhere |= {one.id for one in self.judged} - known
        for label in standing:
            self._note_answered(label)

    def _note_answered(self, label: Label) -> None:
        responses = frozenset(candidate.text for candidate in label.candidates)
        self._answered[prompt_key(label.prompt)].add(responses)

    def _times_answered(self, prompt: Prompt) -> int:
        return len(self._answered[prompt_key(prompt)])

    def _last(self) -> Label | None:
        """The last label that stands, of this session or of one before it."""
        return next((one for one in reversed(self.judged) if one.id not in self._elsewhere), None)

    def _label(self, question: Question, answer: Answer) -> Label:
        ranks = answer.ranks
        if ranks is not None:
            ranks = tuple(ranks[question.shown.index(at)] for at in range(len(question)))
        return Label(
            annotator=self.annotator,
            prompt=question.prompt,
            candidates=question.candidates,
            verdict=answer.verdict,
            ranks=ranks,
            shown=question.shown,
            strength=answer.strength,
            note=self.note,
            edited=answer.edited,
            flagged=self.flagged,
            seconds=max(0.0, self._clock() - self._asked_at),
            selection=question.selection,
            repeats=question.repeats,
        )

    def _ask(self, question: Question | None) -> None:
        """Puts a question on the screen: this one, else the next."""
        self.question = question or self._next()
        self.note, self.flagged = "", False
        self._asked_at = self._clock()
        self._changed()

    def _next(self) -> Question | None:
        if self._put_back:
            return self._put_back.popleft()
        return self._repeat() or self.questions.take()

    def _repeat(self) -> Question | None:
        """An earlier pair the other way round, where it is time for one: that follows from what was judged alone."""
        count = len(self.judged)
        rng = python_rng(self.recipe.seed, f"label/repeats/{self.annotator}", count)
        again = {one.repeats for one in self.judged}
        old = [
            one
            for one in self.judged[: max(0, count - REPEATED_AFTER)]
            if one.verdict in COMPARED and one.repeats is None and one.id not in again
        ]
        if not old or rng.random() >= REPEATED:
            return None
        chosen = rng.choice(old)
        return replace(question_of(chosen), shown=chosen.shown[::-1], repeats=chosen.id)

    def _look(self) -> None:
        """Takes a question that has come, where one is waited for."""
        if self.question is None and self.questions.waiting:
            self._ask(None)
        else:
            self._changed()


def question_of(label: Label) -> Question:
    """The question that a label has answered, as it stood on the screen."""
    return Question(label.prompt, label.candidates, label.shown, label.selection, label.repeats)


def _same(one: Question, other: Question) -> bool:
    return (one.prompt, one.candidates) == (other.prompt, other.candidates)
