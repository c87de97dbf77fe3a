"""From prompts to questions: responses are sampled, those to show are selected, and the next questions are kept ready.

The content of a question depends only on the recipe and on the positions of the prompts that are sampled together. A
prompt that gives no question is skipped, and a sampler that has died is restarted. Torch-free.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from random import Random

from engine.core.errors import ConfigError, EngineError
from engine.core.seeding import derive_seed, python_rng
from engine.data.labels.store import Candidate
from engine.data.records import Prompt
from slmctl.worker.protocol import LoadedModel, SampledResponse, Sampler, SampleRequest, SamplerGone

SELECTIONS = ("random", "uncertainty")
LABEL_SELECTIONS = (*SELECTIONS, "control")  # of labels made here; votes in Chat have another one
MAX_RESPONSES = 9  # a prompt: one digit names each
REDRAWS = 3  # times that a prompt with identical responses is sampled again, each time twice as often
POOL = 6  # responses of one model that the least certain are selected from; half as many of each of two models
FIRST_BLOCK, BLOCK = 2, 8  # prompts sampled together: few at first, so that the first question comes soon
DEPTH = 8  # questions that are kept ready
MAX_FAILURES = 20  # prompts in a row that fail before the error is not about a prompt
MAX_DEATHS = 3  # samplers in a row that may die before the error is reported
IDENTICAL = "all responses identical"


@dataclass(frozen=True)
class Recipe:
    """How questions are made.

    One model gives `k` responses to a prompt, two models give one each. `scorer` is a reward model or another scorer,
    "" for none. With `selection` "uncertainty" it selects the responses with the smallest margin between its scores,
    except for a fraction `control` of the prompts, whose responses are random.
    """

    models: tuple[str, ...]
    k: int = 2
    sampling: Mapping[str, float] = field(default_factory=dict)
    scorer: str = ""
    selection: str = "random"
    control: float = 0.25
    seed: int = 0

    def check(self) -> None:
        """Raises: ConfigError for an invalid value or combination."""
        if not 1 <= len(self.models) <= 2:
            raise ConfigError(f"label takes one or two models, got {len(self.models)}")
        if not 2 <= self.k <= MAX_RESPONSES:
            raise ConfigError(f"-k must be 2 to {MAX_RESPONSES}, got {self.k}")
        if len(self.models) == 2 and self.k != 2:
            raise ConfigError(f"two models give one response each, so -k cannot be {self.k}; omit -k or name one model")
        if self.selection not in SELECTIONS:
            raise ConfigError(f"--selection must be {' or '.join(SELECTIONS)}, got {self.selection!r}")
        if self.selection == "uncertainty" and not self.scorer:
            raise ConfigError("--selection uncertainty needs a reward model; pass one with --scorer")
        if not 0 <= self.control <= 1:
            raise ConfigError(f"--control must be a fraction, 0 to 1, got {self.control}")


@dataclass(frozen=True)
class Question:
    """A prompt with the responses to compare; `shown` lists candidate indices in screen order.

    `selection` is random, uncertainty or control; `repeats` is the id of the label whose pair this repeats, with the
    positions swapped.
    """

    prompt: Prompt
    candidates: tuple[Candidate, ...]
    shown: tuple[int, ...]
    selection: str = "random"
    repeats: int | None = None

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def on_screen(self) -> list[Candidate]:
        """The responses in screen order."""
        return [self.candidates[at] for at in self.shown]


@dataclass
class _Pool:
    """The responses sampled so far for the prompt at `position`, one list per model."""

    position: int
    prompt: Prompt
    by_model: list[list[Candidate]]


class QuestionMaker:
    """Makes questions by a recipe. `sampler` returns the sampler to use, `report` is given what is being done."""

    def __init__(self, recipe: Recipe, sampler: Callable[[], Sampler], report: Callable[[str], None]) -> None:
        self.recipe = recipe
        self._sampler, self._report = sampler, report
        self._loaded: dict[str, LoadedModel] = {}

    async def load(self) -> None:
        """Loads the models and the scorer unless they are loaded. Raises: EngineError as the sampler does."""
        wanted = [(name, False) for name in self.recipe.models]
        wanted += [(self.recipe.scorer, True)] if self.recipe.scorer else []
        for name, scorer in wanted:
            if name not in self._loaded:
                self._report(f"loading {name}")
                self._loaded[name] = await self._sampler().load(name, scorer=scorer)
        self._report("sampling responses")

    def forget(self) -> None:
        """Makes the next `load` load everything again, as a new sampler needs."""
        self._loaded.clear()

    async def make(self, prompts: Sequence[tuple[int, Prompt]], step: int) -> list[Question | None]:
        """A question for each prompt, given with its position; None where all responses are identical.

        `step` numbers the draw. Raises: EngineError as the sampler does, for all prompts together.
        """
        pools = [_Pool(position, prompt, [[] for _ in self.recipe.models]) for position, prompt in prompts]
        await self._sample(pools, self._rows(), "draw", step)
        for attempt in range(1, REDRAWS + 1):
            identical = [pool for pool in pools if not _distinct(pool, self.recipe)]
            if identical:
                await self._sample(identical, 2**attempt, f"redraw {attempt}", step)
        return [self._question(pool, f"{step}") for pool in pools]

    async def resample(self, question: Question, attempt: int) -> Question | None:
        """The same prompt with new responses, None if they are identical. Raises: EngineError."""
        pool = _Pool(0, question.prompt, [[] for _ in self.recipe.models])
        stream = f"again {attempt} {derive_seed(0, repr(question.prompt))}"
        for redraw in range(REDRAWS + 1):
            await self._sample([pool], self._rows() * 2**redraw, f"{stream} {redraw}", 0, background=False)
            if _distinct(pool, self.recipe):
                break
        return self._question(pool, stream)

    def _rows(self) -> int:
        """Responses that each model gives to a prompt."""
        count = POOL if self.recipe.selection == "uncertainty" else self.recipe.k
        return max(count, self.recipe.k) // len(self.recipe.models)

    async def _sample(self, pools: Sequence[_Pool], rows: int, stream: str, step: int, background: bool = True) -> None:
        """Adds `rows` responses of each model to each pool."""
        draws = [self._draw(model, pools, rows, stream, step, background) for model in range(len(self.recipe.models))]
        for model, drawn in enumerate(await asyncio.gather(*draws)):
            for pool, start in zip(pools, range(0, len(drawn), rows), strict=True):
                pool.by_model[model] += drawn[start : start + rows]

    async def _draw(
        self, model: int, pools: Sequence[_Pool], rows: int, stream: str, step: int, background: bool
    ) -> list[Candidate]:
        recipe, name = self.recipe, self.recipe.models[model]
        seed = derive_seed(recipe.seed, f"label/{stream}/{model}")  # two models must not share their random numbers
        prompts = [pool.prompt for pool in pools for _ in range(rows)]
        request = SampleRequest(name, prompts, recipe.sampling, seed, step, scorer=recipe.scorer, background=background)
        responses = await self._sampler().sample(request).responses()
        return [self._candidate(name, seed, step, row, response) for row, response in enumerate(responses)]

    def _candidate(self, name: str, seed: int, step: int, row: int, response: SampledResponse) -> Candidate:
        sampling = {**self.recipe.sampling, "step": step, "row": row}
        checkpoint = self._loaded[name].checkpoint
        text, tokens, finished, score = response.text, response.tokens, response.finished, response.score
        return Candidate(text, name, checkpoint, seed, sampling, tokens, finished, score)

    def _question(self, pool: _Pool, stream: str) -> Question | None:
        sets = _distinct(pool, self.recipe)
        if not sets:
            return None
        seed, selection = self.recipe.seed, self.recipe.selection
        rng = python_rng(seed, f"label/question/{stream}", pool.position)
        if selection == "uncertainty" and rng.random() < self.recipe.control:
            selection = "control"
        chosen = min(sets, key=_margin) if selection == "uncertainty" else sets[0]
        shown = list(range(len(chosen)))
        rng.shuffle(shown)
        return Question(pool.prompt, chosen, tuple(shown), selection)


def _distinct(pool: _Pool, recipe: Recipe) -> list[tuple[Candidate, ...]]:
    """All sets of distinct responses that could be shown; the first one is as good as random.

    Of one model `k` responses, or as many as are distinct; of two models one each.
    """
    if len(recipe.models) == 2:
        a, b = pool.by_model
        pairs = ((first, second) for second in b for first in a)
        return [pair for pair in pairs if pair[0].text.strip() != pair[1].text.strip()]
    by_text: dict[str, Candidate] = {}
    for candidate in pool.by_model[0]:
        by_text.setdefault(candidate.text.strip(), candidate)
    return list(combinations(by_text.values(), min(recipe.k, len(by_text)))) if len(by_text) >= 2 else []


def _margin(candidates: Sequence[Candidate]) -> float:
    """The scorer's best score minus its worst."""
    scores = [candidate.score or 0.0 for candidate in candidates]
    return max(scores) - min(scores)


class QuestionQueue:
    """Questions about `prompts` in order, then again with new responses, for `cycles` cycles; a few are kept ready.

    `answered` returns how many questions about a prompt were answered; those are not asked again. A cycle in which no
    prompt gives a question is the last. `changed` is called after every change. `phase` is what is being done, `error`
    what has stopped it, and `left_out` counts prompts that gave no question, by reason. `exhausted` is set when no
    further question will come.
    """

    def __init__(
        self,
        recipe: Recipe,
        prompts: Sequence[Prompt],
        answered: Callable[[Prompt], int],
        sampler: Callable[[], Sampler],
        changed: Callable[[], object],
        depth: int = DEPTH,
        cycles: int = 1,
    ) -> None:
        self.phase, self.exhausted = "", False
        self.error: EngineError | None = None
        self.left_out = Counter[str]()
        self._prompts, self._answered, self._depth, self._cycles = prompts, answered, depth, cycles
        self._changed = changed
        self._maker = QuestionMaker(recipe, sampler, self._report)
        self._ready: deque[tuple[int, Question]] = deque()  # each with its cycle
        self._blocks = self._all_blocks()
        self._blocks_left: list[range] = []  # of this cycle, after the current block
        self._block: tuple[int, Sequence[int]] | None = None  # the current one, for another try after an error
        self._blocks_done = 0
        self._wanted = self._made = 0  # in this cycle: questions that were tried, and questions
        self._failures = 0
        self._room = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to fill the queue, or resumes after an error."""
        self.error = None
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill(), name="questions for the labeler")

    async def close(self) -> None:
        """Stops filling."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)

    def shuffle(self, rng: Random) -> None:
        """Shuffles the questions that are ready and the blocks that are left in this cycle."""
        rng.shuffle(self._ready)
        rng.shuffle(self._blocks_left)

    @property
    def ready(self) -> list[Question]:
        """The questions that are ready, in order."""
        return [question for _, question in self._ready]

    def take(self) -> Question | None:
        """The next question that was not answered in another session meanwhile, None if none is ready."""
        self._room.set()
        while self._ready:
            cycle, question = self._ready.popleft()
            if self._answered(question.prompt) <= cycle:
                return question
        return None

    async def resample(self, question: Question, attempt: int) -> Question | None:
        """The same prompt with new responses, None if they are identical. Raises: EngineError."""
        await self._maker.load()
        return await self._maker.resample(question, attempt)

    async def _fill(self) -> None:
        deaths = 0
        while self.error is None and not self.exhausted:
            done = self._blocks_done
            try:
                await self._maker.load()
                await self._make_blocks()
                self.exhausted = True
            except SamplerGone as error:
                deaths = 1 if self._blocks_done > done else deaths + 1
                self._maker.forget()
                self.error = error if deaths >= MAX_DEATHS else None
                self._report("restarting the sampler")
            except EngineError as error:
                self.error = error
        self._changed()

    def _all_blocks(self) -> Iterator[tuple[int, Sequence[int]]]:
        """The cycle and positions of each block of prompts; positions count on through all cycles."""
        count = len(self._prompts)
        for cycle in range(self._cycles if count else 0):
            self._wanted = self._made = 0
            edges = (cycle * count + edge for edge in _edges(count))
            self._blocks_left = [range(start, end) for start, end in pairwise(edges)]
            while self._blocks_left:
                yield cycle, self._blocks_left.pop(0)
            if self._wanted and not self._made:
                return

    async def _make_blocks(self) -> None:
        """Makes the questions of the current block and of all later ones."""
        while (block := self._block or next(self._blocks, None)) is not None:
            self._block = block
            await self._make_block(*block)
            self._block = None
            self._blocks_done += 1
            await asyncio.sleep(0)  # nothing else awaits if all of them were answered

    async def _make_block(self, cycle: int, positions: Sequence[int]) -> None:
        wanted = [position for position in positions if self._answered(self._prompt(position)) <= cycle]
        if wanted:
            while len(self._ready) >= self._depth:
                self._room.clear()
                await self._room.wait()
            made = await self._make(positions, positions[0])  # all of them: the content depends on the whole block
            found = [(cycle, question) for position, question in made if position in wanted]
            self._ready.extend(found)
            self._wanted, self._made = self._wanted + len(wanted), self._made + len(found)
            self._changed()

    async def _make(self, positions: Sequence[int], step: int) -> list[tuple[int, Question]]:
        """Questions with their positions; if sampling fails for all prompts together, each is tried alone."""
        try:
            prompts = [(position, self._prompt(position)) for position in positions]
            questions = await self._maker.make(prompts, step)
        except SamplerGone:
            raise
        except EngineError as error:
            if len(positions) > 1:
                return [made for position in positions for made in await self._make([position], position)]
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                raise
            self.left_out[str(error)] += 1
            return []
        self._failures = 0
        self.left_out[IDENTICAL] += questions.count(None)
        return [(at, question) for at, question in zip(positions, questions, strict=True) if question is not None]

    def _prompt(self, position: int) -> Prompt:
        return self._prompts[position % len(self._prompts)]

    def _report(self, phase: str) -> None:
        self.phase = phase
        self._changed()


def _edges(count: int) -> Iterator[int]:
    """Where the blocks of prompts begin and end: 0, 2, 6, 14, 22 ... up to `count`."""
    edge, size = 0, FIRST_BLOCK
    while edge < count:
        yield edge
        edge, size = edge + size, min(BLOCK, size * 2)
    yield count
