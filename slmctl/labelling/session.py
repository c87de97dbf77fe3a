"""A labelling session: what is asked now, what was answered, and how to take it back. Torch-free, textual-free.

The screen and the simulated labeler drive this same core. An answer counts once it is on the disk; what a session knows
follows from the database, so that it goes on after a restart as if nothing had happened.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from engine.preferences import Judgement, LabelStore
from engine.records import Prompt, normalised
from engine.seeding import python_rng
from slmctl.labelling.asking import ASKED, Recipe
from slmctl.labelling.drawing import Question
from slmctl.labelling.questions import DEPTH, Questions
from slmctl.labelling.tallies import COMPARED
from slmctl.worker.sampler import Sampler

REPEATED = 0.05  # share of the questions that are an earlier pair the other way round
REPEATED_AFTER = 10  # judgements that lie in between at least


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
    """One labeler's session in one database. `changed` is called whenever there is news."""

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
    ) -> None:
        self.recipe, self.store, self.annotator = recipe, store, annotator
        self.question: Question | None = None
        self.judged: list[Judgement] = []  # what stands of this labeler's answers here, oldest first
        self.note, self.flagged = "", False  # of the question
        self._changed, self._clock = changed, clock
        self._answered: set[object] = set()
        self.questions = Questions(recipe, prompts, self._answered, sampler, self._look, depth)
        self._put_back: deque[Question] = deque()
        self._asked_at = 0.0
        self._attempts = 0
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Reads what was judged before and starts to draw questions. Raises: FileError."""
        standing = await asyncio.to_thread(self.store.standing, self.annotator)
        self.judged = [one for one in standing if one.selection in ASKED]
        self._answered |= {normalised(one.prompt) for one in standing}
        self.questions.begin()

    async def close(self) -> None:
        """Stops drawing and gives the database back; every answer is in it already."""
        await self.questions.close()
        async with self._writing:
            await asyncio.to_thread(self.store.close)

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way to the disk."""
        return self._writing.locked()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to ask."""
        return self.question is None and self.questions.exhausted and not self.questions.waiting

    async def answer(self, answer: Answer) -> Judgement:
        """The judgement that the question was given, once it is on the disk; the next question is asked then.

        An edit leaves the question on the screen: the pair can still be compared. Raises: FileError, and all is as it
        was before.
        """
        question = self.question
        assert question is not None and not self.busy, "there is no question that waits for an answer"
        judgement = self._judgement(question, answer)
        async with self._writing:
            number = await asyncio.to_thread(self.store.add, judgement)
        judgement = replace(judgement, id=number, at=time.time())
        self.judged.append(judgement)
        self._answered.add(normalised(question.prompt))
        if answer.verdict != "edit":
            self._ask(None)
        return judgement

    async def strengthen(self) -> Judgement | None:
        """The last choice, now much better; None where there is none that could be.

        The stronger row is written before the weaker one is withdrawn, so that no moment knows neither. Raises:
        FileError.
        """
        last = self.judged[-1] if self.judged else None
        if last is None or last.verdict != "choice" or last.strength == 2:
            return None
        stronger = replace(last, strength=2)
        async with self._writing:
            number = await asyncio.to_thread(self.store.add, stronger)
            await asyncio.to_thread(self.store.withdraw, last.id, self.annotator)
        self.judged[-1] = replace(stronger, id=number)
        return self.judged[-1]

    async def undo(self) -> Judgement | None:
        """The last judgement that stood, now withdrawn, its question asked again; None where there is none.

        Raises: FileError, and all is as it was before.
        """
        if not self.judged:
            return None
        last = self.judged[-1]
        async with self._writing:
            await asyncio.to_thread(self.store.withdraw, last.id, self.annotator)
        self.judged.pop()
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

    def _judgement(self, question: Question, answer: Answer) -> Judgement:
        ranks = answer.ranks
        if ranks is not None:
            ranks = tuple(ranks[question.shown.index(at)] for at in range(len(question)))
        return Judgement(
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


def question_of(judgement: Judgement) -> Question:
    """The question that a judgement has answered, as it stood on the screen."""
    return Question(judgement.prompt, judgement.candidates, judgement.shown, judgement.selection, judgement.repeats)


def _same(one: Question, other: Question) -> bool:
    return (one.prompt, one.candidates) == (other.prompt, other.candidates)
