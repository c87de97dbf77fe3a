"""A queue of questions that fills itself, so that the next one is there before it is asked for.

A prompt that cannot be asked is passed over, a sampler that has died is started again. What a question is and how it
is drawn stands in drawing.py.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from random import Random

from engine.core.errors import EngineError
from engine.data.records import Prompt
from slmctl.label.candidates import Drawer, Question
from slmctl.label.selection import Recipe
from slmctl.worker.sampler import Sampler, SamplerGone

FIRST_BLOCK, BLOCK = 2, 8  # prompts drawn together: few at first, so that the first question comes soon
DEPTH = 8  # questions that are kept ready
HOPELESS = 20  # prompts in a row that fail before it is no prompt's fault
DEATHS = 3  # samplers in a row that may die before a person is told
ALIKE = "all responses alike"


class Questions:
    """The questions about `prompts`, in order, and then again with other responses, `turns` times in all.

    `answered` says of a prompt how many questions about it were answered: those are not asked again. A turn in which no
    prompt gives a question is the last. `changed` is called whenever there is news. `phase` says what is being done,
    `error` what has stopped it, `left_out` counts times that a prompt gave no question, by reason; `exhausted` is set
    when no further question will come.
    """

    def __init__(
        self,
        recipe: Recipe,
        prompts: Sequence[Prompt],
        answered: Callable[[Prompt], int],
        sampler: Callable[[], Sampler],
        changed: Callable[[], None],
        depth: int = DEPTH,
        turns: int = 1,
    ) -> None:
        self.phase, self.exhausted = "", False
        self.error: EngineError | None = None
        self.left_out = Counter[str]()
        self._prompts, self._answered, self._depth, self._turns = prompts, answered, depth, turns
        self._changed = changed
        self._drawer = Drawer(recipe, sampler, self._say)
        self._ready: deque[tuple[int, Question]] = deque()  # each with its turn
        self._blocks = self._in_turns()
        self._left: list[range] = []  # blocks of this turn that come after the one in hand
        self._block: tuple[int, Sequence[int]] | None = None  # the one in hand, for another try after an error
        self._passed = 0  # blocks
        self._wanted = self._found = 0  # in this turn: prompts that questions were drawn for, and questions
        self._failures = 0
        self._room = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None

    def shuffle(self, rng: Random) -> None:
        """Puts the questions that are ready, and the blocks that are left of this turn, into a random order."""
        rng.shuffle(self._ready)
        rng.shuffle(self._left)

    def begin(self) -> None:
        """Starts to fill, or goes on after an error."""
        self.error = None
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill(), name="questions for the labeler")

    async def close(self) -> None:
        """Stops filling."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)

    @property
    def waiting(self) -> list[Question]:
        """The questions that are ready, in order."""
        return [question for _, question in self._ready]

    def take(self) -> Question | None:
        """The next question that was not answered in another session meanwhile, None where none is ready."""
        self._room.set()
        while self._ready:
            turn, question = self._ready.popleft()
            if self._answered(question.prompt) <= turn:
                return question
        return None

    async def again(self, question: Question, attempt: int) -> Question | None:
        """The same prompt with other responses; None where they are all alike. Raises: EngineError."""
        await self._drawer.load()
        return await self._drawer.again(question, attempt)

    async def _fill(self) -> None:
        deaths = 0
        while self.error is None and not self.exhausted:
            passed = self._passed
            try:
                await self._drawer.load()
                await self._draw_on()
                self.exhausted = True
            except SamplerGone as error:
                deaths = 1 if self._passed > passed else deaths + 1
                self._drawer.forget()
                self.error = error if deaths >= DEATHS else None
                self._say("the sampler has ended; starting another")
            except EngineError as error:
                self.error = error
        self._changed()

    def _in_turns(self) -> Iterator[tuple[int, Sequence[int]]]:
        """Each turn's number with places of prompts, counted through all turns, that are drawn for together."""
        count = len(self._prompts)
        for turn in range(self._turns if count else 0):
            self._wanted = self._found = 0
            self._left = [range(start, end) for start, end in pairwise(turn * count + edge for edge in _edges(count))]
            while self._left:
                yield turn, self._left.pop(0)
            if self._wanted and not self._found:
                return

    async def _draw_on(self) -> None:
        """Goes on from where it was, to the end of the last turn."""
        while (block := self._block or next(self._blocks, None)) is not None:
            self._block = block
            await self._draw_block(*block)
            self._block = None
            self._passed += 1
            await asyncio.sleep(0)  # where all was answered nothing else waits

    async def _draw_block(self, turn: int, places: Sequence[int]) -> None:
        wanted = [place for place in places if self._answered(self._prompt(place)) <= turn]
        if wanted:
            await self._until_wanted()
            found = [(turn, asked) for place, asked in await self._questions(places, places[0]) if place in wanted]
            self._ready.extend(found)
            self._wanted, self._found = self._wanted + len(wanted), self._found + len(found)
            self._changed()

    async def _until_wanted(self) -> None:
        while len(self._ready) >= self._depth:
            self._room.clear()
            await self._room.wait()

    async def _questions(self, places: Sequence[int], step: int) -> list[tuple[int, Question]]:
        """The questions at these places; where they cannot be asked together, those that can be asked alone."""
        try:
            asked = [(place, self._prompt(place)) for place in places]
            questions = await self._drawer.questions(asked, step)
        except SamplerGone:
            raise
        except EngineError as error:
            if len(places) > 1:
                return [found for place in places for found in await self._questions([place], place)]
            self._failures += 1
            if self._failures >= HOPELESS:
                raise
            self.left_out[str(error)] += 1
            return []
        self._failures = 0
        self.left_out[ALIKE] += questions.count(None)
        return [(place, found) for place, found in zip(places, questions, strict=True) if found is not None]

    def _prompt(self, place: int) -> Prompt:
        return self._prompts[place % len(self._prompts)]

    def _say(self, phase: str) -> None:
        self.phase = phase
        self._changed()


def _edges(count: int) -> Iterator[int]:
    """Where the blocks of prompts begin and end: 0, 2, 6, 14, 22 ... up to `count`."""
    edge, size = 0, FIRST_BLOCK
    while edge < count:
        yield edge
        edge, size = edge + size, min(BLOCK, size * 2)
    yield count
