"""A labeling session: the current question, the labels made, undo. Torch-free and textual-free.

The screen and the simulated labeler both drive this class. A label counts once it is on disk, and all state follows
from the database, so a restarted session continues where the last one ended. All annotators get the same questions in
the same order; a session that notices another one of its annotator shuffles the rest, so that the two rarely meet.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from engine.core.errors import EngineError, FileError, LockedError, WithdrawnError
from engine.core.seeding import python_rng
from engine.data.labels.store import Label, LabelStore
from engine.data.records import Prompt, prompt_key
from slmctl.label.decisions import Decision
from slmctl.label.questions import DEPTH, LABEL_SELECTIONS, Question, QuestionQueue, Recipe
from slmctl.label.statistics import COMPARING
from slmctl.label.writes import WriteQueue
from slmctl.worker.protocol import Sampler

REPEATED = 0.05  # fraction of questions that repeat an earlier pair with the positions swapped
REPEATED_AFTER = 10  # labels that must lie in between
CYCLES = 1000  # a few prompts are asked again and again, each time with new responses


class LabelSession:
    """One annotator's session in one database. `changed` is called after every change.

    A write waits while another process has the database locked, and `on_locked` is called once; without `on_locked`
    the write fails.
    """

    def __init__(
        self,
        recipe: Recipe,
        prompts: Sequence[Prompt],
        store: LabelStore,
        annotator: str,
        sampler: Callable[[], Sampler],
        changed: Callable[[], object] = lambda: None,
        depth: int = DEPTH,
        clock: Callable[[], float] = time.monotonic,
        on_locked: Callable[[], object] | None = None,
    ) -> None:
        self.recipe, self.store, self.annotator = recipe, store, annotator
        self.question: Question | None = None
        self.labels: list[Label] = []  # this annotator's that were not withdrawn, oldest first
        self.chat_votes = 0  # this annotator's comparing votes from Chat, as of the last look into the database
        self.note, self.flagged = "", False  # of the current question
        self.writes = WriteQueue()
        self.unwritten: EngineError | None = None  # after close: why the last write failed
        self._changed, self._clock, self._on_locked = changed, clock, on_locked
        self._answered: defaultdict[object, set[frozenset[str]]] = defaultdict(set)  # judged responses by prompt
        self.questions = QuestionQueue(recipe, prompts, self._times_answered, sampler, self._refill, depth, CYCLES)
        self._put_back: deque[Question] = deque()
        self._asked_at = 0.0
        self._resamples = 0
        self._newest = 0  # id of the last row that this session has seen
        self._elsewhere: set[int] = set()  # ids of labels from other sessions of this annotator since this one opened

    async def open(self) -> None:
        """Reads earlier labels and starts to make questions. Raises: FileError."""
        self._newest = await asyncio.to_thread(self.store.newest, self.annotator)
        await self._read()
        self._elsewhere.clear()
        self.questions.start()

    async def close(self) -> None:
        """Stops making questions and closes the database; gives up a write that waits for a lock."""
        await self.questions.close()
        self.unwritten = await self.writes.close()
        await asyncio.to_thread(self.store.close)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to ask."""
        return self.question is None and self.questions.exhausted and not self.questions.ready

    async def answer(self, decision: Decision) -> Label:
        """The label for the current question, once it is on disk; then the next question is asked.

        An edit keeps the question: its pair can still be judged. Raises: FileError; nothing has changed then.
        """
        question = self.question
        assert question is not None, "there is no question"
        async with self.writes.turn:
            assert self.question is question, "the question has changed"
            label = self._label(question, decision)
            number = await self._write(partial(self.store.add, label))
            label = replace(label, id=number, at=time.time())
            self.labels.append(label)
            self._note_answered(label)
            await self._look_elsewhere(number, number)
            if decision.verdict != "edit":
                self._ask(None)
            return label

    async def strengthen(self) -> Label | None:
        """The last label, a choice, changed to "much better"; None if the last label is not a choice.

        Raises: FileError; WithdrawnError if another session withdrew it.
        """
        async with self.writes.turn:
            last = self._last()
            if last is None or last.verdict != "choice":
                return None
            if last.strength == 2:
                return last
            stronger = replace(last, strength=2)
            number = await self._write(partial(self.store.add, stronger, last.id))
            stronger = replace(stronger, id=number)
            self.labels[self.labels.index(last)] = stronger
            await self._look_elsewhere(number, number + 1)  # the next row withdraws the weaker label
            return stronger

    async def undo(self) -> Label | None:
        """The last label, withdrawn, and its question asked again; None if there is none.

        Raises: FileError; nothing has changed then. WithdrawnError if another session withdrew it.
        """
        async with self.writes.turn:
            if (last := self._last()) is None:
                return None
            number = await self._write(partial(self.store.withdraw, last.id, self.annotator))
            self.labels.remove(last)
            await self._look_elsewhere(number, number)
            before = question_of(last)
            now = self.question
            if now is not None and (now.prompt, now.candidates) != (before.prompt, before.candidates):
                self._put_back.appendleft(now)
            self._ask(before)
            self.note, self.flagged = last.note, last.flagged
            return last

    async def resample(self) -> bool:
        """Whether the question has new responses now; False if the models give no distinct ones.

        Raises: EngineError as the sampler does.
        """
        question = self.question
        assert question is not None, "there is no question"
        self._resamples += 1
        found = await self.questions.resample(question, self._resamples)
        if found is not None and self.question is question:
            note, flagged = self.note, self.flagged
            self._ask(found)
            self.note, self.flagged = note, flagged
        return found is not None

    async def _write(self, call: Callable[[], int]) -> int:
        """The id of the row that `call` adds, once it is on disk. Raises: FileError."""
        try:
            return await self.writes.write(call, self._report_locked)
        except WithdrawnError:
            await self._read()
            raise

    def _report_locked(self, error: LockedError) -> None:
        if self._on_locked is None:
            raise error
        if not self.writes.locked:  # the first try of this write
            self._on_locked()

    async def _look_elsewhere(self, first: int, last: int) -> None:
        """Reads what other sessions of this annotator wrote before this session's rows `first` to `last`.

        If there is anything, later questions are shuffled.
        """
        with suppress(FileError):  # this session's rows are on disk anyway, and the next write looks again
            if await asyncio.to_thread(self.store.newest, self.annotator, first) > self._newest:
                await self._read()
                self.questions.shuffle(python_rng(self.recipe.seed, f"label/order/{self.annotator}", last))
            self._newest = last

    async def _read(self) -> None:
        """Reads this annotator's labels; those that are new come from another session."""
        known = {label.id for label in self.labels}
        standing = await asyncio.to_thread(self.store.standing, self.annotator)
        self.labels = [label for label in standing if label.selection in LABEL_SELECTIONS]
        self._elsewhere |= {label.id for label in self.labels} - known
        in_chat = (label for label in standing if label.selection not in LABEL_SELECTIONS)
        self.chat_votes = sum(label.verdict in COMPARING for label in in_chat)
        for label in standing:
            self._note_answered(label)

    def _note_answered(self, label: Label) -> None:
        responses = frozenset(candidate.text for candidate in label.candidates)
        self._answered[prompt_key(label.prompt)].add(responses)

    def _times_answered(self, prompt: Prompt) -> int:
        return len(self._answered[prompt_key(prompt)])

    def _last(self) -> Label | None:
        """The last label of this session or of an earlier one."""
        return next((label for label in reversed(self.labels) if label.id not in self._elsewhere), None)

    def _label(self, question: Question, decision: Decision) -> Label:
        ranks = decision.ranks
        if ranks is not None:
            ranks = tuple(ranks[question.shown.index(at)] for at in range(len(question)))
        return Label(
            annotator=self.annotator,
            prompt=question.prompt,
            candidates=question.candidates,
            verdict=decision.verdict,
            ranks=ranks,
            shown=question.shown,
            strength=decision.strength,
            note=self.note,
            edited=decision.edited,
            flagged=self.flagged,
            seconds=max(0.0, self._clock() - self._asked_at),
            selection=question.selection,
            repeats=question.repeats,
        )

    def _ask(self, question: Question | None) -> None:
        """Makes this question the current one, or the next one if None."""
        self.question = question or self._next()
        self.note, self.flagged = "", False
        self._asked_at = self._clock()
        self._changed()

    def _next(self) -> Question | None:
        if self._put_back:
            return self._put_back.popleft()
        return self._repeat() or self.questions.take()

    def _repeat(self) -> Question | None:
        """An earlier pair with the positions swapped, or None; depends only on the seed and on earlier labels."""
        count = len(self.labels)
        rng = python_rng(self.recipe.seed, f"label/repeats/{self.annotator}", count)
        repeated = {label.repeats for label in self.labels}
        old = [
            label
            for label in self.labels[: max(0, count - REPEATED_AFTER)]
            if label.verdict in COMPARING and label.repeats is None and label.id not in repeated
        ]
        if not old or rng.random() >= REPEATED:
            return None
        chosen = rng.choice(old)
        return replace(question_of(chosen), shown=chosen.shown[::-1], repeats=chosen.id)

    def _refill(self) -> None:
        """Asks the next question if there is none on the screen and one is ready."""
        if self.question is None and self.questions.ready:
            self._ask(None)
        else:
            self._changed()


def question_of(label: Label) -> Question:
    """The question that a label answered, as it was shown."""
    return Question(label.prompt, label.candidates, label.shown, label.selection, label.repeats)
