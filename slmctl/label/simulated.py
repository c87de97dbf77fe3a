"""A simulated labeler: a persona of the pocket world, with a person's noise, who drives the same core as the screen."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from engine.core.config import ComparisonsConfig
from engine.core.errors import ConfigError, did_you_mean
from engine.core.seeding import python_rng
from engine.data.labels.store import Label, LabelStore
from engine.data.records import prompt_text
from engine.pocket.judge import judge
from engine.pocket.labelers import PERSONAS, noisy_ranks, persona_utility, solve_scale, utility_differences
from engine.pocket.prompts import find_request
from slmctl.label.candidates import Question
from slmctl.label.counts import agrees, tally
from slmctl.label.session import Answer, Labelling, alike, choice, ranking
from slmctl.label.setup import Sitting
from slmctl.worker.sampler import Sampler

USUAL = ComparisonsConfig()  # the noise of the world's labelers
FIRST_BATCH = 40  # questions that the noise is set by, seen before the first is answered


class Simulated:
    """Answers questions by a persona's taste, with the noise at which two such labelers agree on a share `agreement` of
    the pairs, the world's own where None; it follows from the seed and the number of the answer.

    Raises: ConfigError for a name that no persona has.
    """

    def __init__(self, persona: str, seed: int, agreement: float | None = None) -> None:
        if persona not in PERSONAS:
            raise ConfigError(f"no labeler {persona!r}{did_you_mean(persona, PERSONAS)} ({', '.join(PERSONAS)})")
        self.persona = PERSONAS[persona]
        self.scale: float | None = None
        self._seed, self._agreement = seed, USUAL.agreement if agreement is None else agreement

    def tune(self, questions: Sequence[Question]) -> None:
        """Sets the noise so that two such labelers agree on the wanted share of these questions.

        Where all responses are worth the same, any noise makes it a coin that is tossed. Raises: ConfigError where no
        noise gives that share, or where the prompts are none of the world's.
        """
        if not any(find_request(prompt_text(question.prompt)) for question in questions):
            raise ConfigError("a simulated labeler knows the prompts of the pocket world alone, and these are others")
        utilities = [self.utilities(question) for question in questions]
        if not any(utility_differences(utilities)):
            self.scale = 1.0
            return
        try:
            self.scale = solve_scale(utilities, self._agreement)
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
        ranks = noisy_ranks(self.utilities(question), self.scale, rng, USUAL.tie_margin)
        if not any(ranks):
            return alike("tie", len(ranks))
        return choice(ranks.index(0), 2) if len(ranks) == 2 else ranking(ranks)


async def simulate(
    sitting: Sitting, labeler: Simulated, most: int, sampler: Sampler, told: Callable[[int, int], None]
) -> list[Label]:
    """All that stands of this annotator once `most` labels do, or once nothing is left to ask.

    `told` hears how many of how many there are. Raises: EngineError as the session does.
    """
    news = asyncio.Event()
    store = await asyncio.to_thread(LabelStore, sitting.labels)
    depth = FIRST_BATCH + 1
    labelling = Labelling(
        sitting.recipe, sitting.prompts, store, sitting.annotator, lambda: sampler, news.set, depth, clock=timeless
    )
    try:
        await labelling.open()
        while len(labelling.judged) < most:
            questions = await _ready(labelling, news, 1 if labeler.scale else FIRST_BATCH)
            if not questions:
                break
            if labeler.scale is None:
                labeler.tune(questions)
            assert labelling.question is not None, "a question was waited for"
            await labelling.answer(labeler.answer(labelling.question, len(labelling.judged)))
            told(len(labelling.judged), most)
        return labelling.judged
    finally:
        await labelling.close()
        await sampler.close()


def timeless() -> float:
    """A clock that stands: what a program takes to answer is no person's time to decide, and is kept as unknown."""
    return 0.0


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


def report_of(judged: Sequence[Label], labeler: Simulated) -> dict[str, Any]:
    """What came of it, as one object."""
    figures = tally(judged)
    opinions = [agrees(one) for one in judged if agrees(one) is not None]
    seconds = judged[-1].at - judged[0].at if judged else 0.0
    return {
        "persona": labeler.persona.name,
        "judged": len(judged),
        "verdicts": figures.verdicts,
        "ties": figures.verdicts["tie"] / len(judged) if judged else None,
        "scale": labeler.scale,
        "per_second": len(judged) / seconds if seconds else None,
        "first_shown_won": figures.first.rate,
        "longer_won": figures.longer.rate,
        "self_agreement": figures.self_agreement.rate,
        "scorer_agreement": sum(map(bool, opinions)) / len(opinions) if opinions else None,
    }
