"""A simulated labeler: a persona of the pocket world, with a person's noise, who drives the same core as the screen."""

import asyncio
from collections.abc import Callable, Sequence

from engine.checks import persona_named
from engine.errors import ConfigError
from engine.pocket.judge import judge
from engine.pocket.labelers import Persona, persona_utility, rank, solve_scale
from engine.pocket.requests import find
from engine.preferences import Judgement
from engine.records import prompt_text
from engine.seeding import python_rng
from slmctl.drawing import Question
from slmctl.labelling import Answer, Labelling, alike, choice, ranking

AGREEMENT = 0.73  # on how many pairs two labelers agree: Ouyang et al. 2022 measured 72.6 %
TIE_MARGIN = 0.005
FIRST_BATCH = 40  # questions that the noise is set by, seen before the first is answered


class Simulated:
    """Answers questions by a persona's taste; the noise follows from the seed and the number of the answer."""

    def __init__(self, persona: str, seed: int, agreement: float = AGREEMENT) -> None:
        self.persona: Persona = persona_named(persona)
        self.scale: float | None = None
        self._seed, self._agreement = seed, agreement

    def tune(self, questions: Sequence[Question]) -> None:
        """Sets the noise so that two such labelers agree on the wanted share of these questions.

        Raises: ConfigError where no noise does, or where the prompts are none of the world's.
        """
        if not any(find(prompt_text(question.prompt)) for question in questions):
            raise ConfigError("a simulated labeler knows the prompts of the pocket world alone, and these are others")
        try:
            self.scale = solve_scale([self.utilities(question) for question in questions], self._agreement)
        except ValueError as error:
            raise ConfigError(f"the simulated labeler cannot be tuned: {error}") from error

    def utilities(self, question: Question) -> list[float]:
        """What each response is worth, by place on the screen."""
        prompt = prompt_text(question.prompt)
        return [persona_utility(judge(prompt, shown.text), self.persona) for shown in question.on_screen]

    def answer(self, question: Question, number: int) -> Answer:
        """The `number`-th answer of this labeler."""
        assert self.scale is not None, "tune first"
        rng = python_rng(self._seed, f"label/simulated/{self.persona.name}", number)
        ranks = rank(self.utilities(question), self.scale, rng, TIE_MARGIN)
        if not any(ranks):
            return alike("tie", len(ranks))
        return choice(ranks.index(0), 2) if len(ranks) == 2 else ranking(ranks)


async def simulate(
    labelling: Labelling, labeler: Simulated, most: int, news: asyncio.Event, told: Callable[[Judgement], None]
) -> None:
    """Answers until `most` judgements stand, or nothing is left to ask; `told` hears of each.

    `news` is set by the session's `changed`. Raises: EngineError as the session does.
    """
    await labelling.open()
    while len(labelling.judged) < most:
        questions = await _ready(labelling, news, 1 if labeler.scale else min(FIRST_BATCH, most))
        if not questions:
            return
        if labeler.scale is None:
            labeler.tune(questions)
        assert labelling.question is not None, "a question was waited for"
        told(await labelling.answer(labeler.answer(labelling.question, len(labelling.judged))))


async def _ready(labelling: Labelling, news: asyncio.Event, count: int) -> list[Question]:
    """The question that is asked and those that wait, once there are `count` or no more will come."""
    while True:
        news.clear()
        if labelling.questions.error is not None:
            raise labelling.questions.error
        found = [labelling.question] if labelling.question is not None else []
        found += labelling.questions.waiting
        if len(found) >= count or labelling.questions.exhausted:
            return found
        await news.wait()
