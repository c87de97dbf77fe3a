"""From prompts to questions: responses are drawn, drawn again where they are all alike, and those to show are chosen.

What a question holds follows from the recipe's seed, the places of the prompts that are drawn together and the models
alone. Keeping questions ready is questions.py's job.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from engine.core.seeding import derive_seed, python_rng
from engine.data.labels.store import Candidate
from engine.data.records import Prompt
from slmctl.label.selection import Recipe
from slmctl.worker.protocol import LoadedModel, SampledResponse, SampleRequest
from slmctl.worker.sampler import Sampler

REDRAWS = 3  # times that a prompt whose responses are all alike is asked again, each time twice as often
POOL = 6  # responses of one model that the least certain are picked from; half as many of each of two


@dataclass(frozen=True)
class Question:
    """A prompt with its responses; `shown` names them in the order in which they stand on the screen.

    `selection` is random, uncertainty or control; `repeats` is the number of the label of which this is the same
    pair, the other way round.
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
        """The responses in the order in which they are shown."""
        return [self.candidates[at] for at in self.shown]


@dataclass
class _Pool:
    """The responses to the prompt at `place` that have been drawn so far, a list a model."""

    place: int
    prompt: Prompt
    by_model: list[list[Candidate]]


class Drawer:
    """Draws by a recipe; `sampler` gives the sampler to use now, `say` is told what is being done."""

    def __init__(self, recipe: Recipe, sampler: Callable[[], Sampler], say: Callable[[str], None]) -> None:
        self.recipe = recipe
        self._sampler, self._say = sampler, say
        self._loaded: dict[str, LoadedModel] = {}

    async def load(self) -> None:
        """Opens the models and the scorer, those that are not open yet. Raises: EngineError as the sampler does."""
        wanted = [(name, False) for name in self.recipe.models]
        wanted += [(self.recipe.scorer, True)] if self.recipe.scorer else []
        for name, scorer in wanted:
            if name not in self._loaded:
                self._say(f"opening {name}")
                self._loaded[name] = await self._sampler().load(name, scorer=scorer)
        self._say("drawing responses")

    def forget(self) -> None:
        """Opens the models again before the next draw: the child that had them is gone."""
        self._loaded.clear()

    async def questions(self, asked: Sequence[tuple[int, Prompt]], step: int) -> list[Question | None]:
        """A question a prompt, given with its place; None where all responses are alike.

        `step` is the draw's own number. Raises: EngineError as the sampler does, for all prompts together.
        """
        pools = [_Pool(place, prompt, [[] for _ in self.recipe.models]) for place, prompt in asked]
        await self._draw(pools, self._rows(), "draw", step)
        for attempt in range(1, REDRAWS + 1):
            alike = [pool for pool in pools if not self._enough(pool)]
            if alike:
                await self._draw(alike, 2**attempt, f"redraw {attempt}", step)
        return [self._question(pool, f"{step}") for pool in pools]

    async def again(self, question: Question, attempt: int) -> Question | None:
        """The same prompt with other responses. Raises: EngineError."""
        pool = _Pool(0, question.prompt, [[] for _ in self.recipe.models])
        stream = f"again {attempt} {derive_seed(0, repr(question.prompt))}"
        for redraw in range(REDRAWS + 1):
            await self._draw([pool], self._rows() * 2**redraw, f"{stream} {redraw}", 0, background=False)
            if self._enough(pool):
                break
        return self._question(pool, stream)

    def _rows(self) -> int:
        """Responses that each model gives to a prompt."""
        count = POOL if self.recipe.selection == "uncertainty" else self.recipe.k
        return max(count, self.recipe.k) // len(self.recipe.models)

    async def _draw(self, pools: Sequence[_Pool], rows: int, stream: str, step: int, background: bool = True) -> None:
        """Adds `rows` responses of each model to each pool."""
        draws = [self._drawn(model, pools, rows, stream, step, background) for model in range(len(self.recipe.models))]
        for model, drawn in enumerate(await asyncio.gather(*draws)):
            for pool, start in zip(pools, range(0, len(drawn), rows), strict=True):
                pool.by_model[model] += drawn[start : start + rows]

    async def _drawn(
        self, model: int, pools: Sequence[_Pool], rows: int, stream: str, step: int, background: bool
    ) -> list[Candidate]:
        recipe, name = self.recipe, self.recipe.models[model]
        seed = derive_seed(recipe.seed, f"label/{stream}/{model}")  # two models must not share their draws
        prompts = [pool.prompt for pool in pools for _ in range(rows)]
        wanted = SampleRequest(name, prompts, recipe.sampling, seed, step, scorer=recipe.scorer, background=background)
        answers = await self._sampler().sample(wanted).responses()
        return [self._candidate(name, seed, step, row, answer) for row, answer in enumerate(answers)]

    def _candidate(self, name: str, seed: int, step: int, row: int, answer: SampledResponse) -> Candidate:
        how = {**self.recipe.sampling, "step": step, "row": row}
        checkpoint = self._loaded[name].checkpoint
        return Candidate(answer.text, name, checkpoint, seed, how, answer.tokens, answer.finished, answer.score)

    def _enough(self, pool: _Pool) -> bool:
        return len(_different(pool, self.recipe)) >= 1

    def _question(self, pool: _Pool, stream: str) -> Question | None:
        sets = _different(pool, self.recipe)
        if not sets:
            return None
        seed, selection = self.recipe.seed, self.recipe.selection
        rng = python_rng(seed, f"label/question/{stream}", pool.place)
        if selection == "uncertainty" and rng.random() < self.recipe.control:
            selection = "control"
        chosen = min(sets, key=_spread) if selection == "uncertainty" else sets[0]
        shown = list(range(len(chosen)))
        rng.shuffle(shown)
        return Question(pool.prompt, chosen, tuple(shown), selection)


def _different(pool: _Pool, recipe: Recipe) -> list[tuple[Candidate, ...]]:
    """The sets of different responses that could be shown, the first of them as good as drawn at random.

    Of one model as many as are to be shown, or as many as there are; of two models one of each.
    """
    if len(recipe.models) == 2:
        a, b = pool.by_model
        pairs = ((first, second) for second in b for first in a)
        return [pair for pair in pairs if pair[0].text.strip() != pair[1].text.strip()]
    own: dict[str, Candidate] = {}
    for candidate in pool.by_model[0]:
        own.setdefault(candidate.text.strip(), candidate)
    return list(combinations(own.values(), min(recipe.k, len(own)))) if len(own) >= 2 else []


def _spread(candidates: Sequence[Candidate]) -> float:
    """How far apart the scorer sees these responses."""
    scores = [candidate.score or 0.0 for candidate in candidates]
    return max(scores) - min(scores)
