"""A simulated labeler: a persona of the pocket world, with a person's noise, that drives a session like the screen."""

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
from slmctl.label.decisions import Decision, choice, no_preference, ranking
from slmctl.label.questions import Question
from slmctl.label.session import LabelSession
from slmctl.label.setup import SessionSetup
from slmctl.label.statistics import scorer_agrees, statistics_of
from slmctl.worker.protocol import Sampler

DEFAULTS = ComparisonsConfig()  # the noise of the pocket world's labelers
CALIBRATION = 40  # questions that set the noise, collected before the first is answered


class SimulatedLabeler:
    """Answers questions by a persona's preferences, with noise at which two such labelers agree on a fraction
    `agreement` of pairs (None: the pocket world's). Answers depend only on the seed and the number of the answer.

    Raises: ConfigError for an unknown persona.
    """

    def __init__(self, persona: str, seed: int, agreement: float | None = None) -> None:
        if persona not in PERSONAS:
            raise ConfigError(f"unknown persona {persona!r}{did_you_mean(persona, PERSONAS)} ({', '.join(PERSONAS)})")
        self.persona = PERSONAS[persona]
        self.scale: float | None = None
        self._seed, self._agreement = seed, DEFAULTS.agreement if agreement is None else agreement

    def calibrate(self, questions: Sequence[Question]) -> None:
        """Sets the noise so that two such labelers agree on the wanted fraction of these questions.

        If all responses have the same utility, any noise is a coin toss. Raises: ConfigError if no noise gives that
        fraction, or if the prompts are not from the pocket world.
        """
        if not any(find_request(prompt_text(question.prompt)) for question in questions):
            raise ConfigError("--simulate works only on prompts of the pocket world, and these are not from it")
        utilities = [self.utilities(question) for question in questions]
        if not any(utility_differences(utilities)):
            self.scale = 1.0
            return
        try:
            self.scale = solve_scale(utilities, self._agreement)
        except ValueError as error:
            raise ConfigError(f"cannot calibrate the simulated labeler: {error}") from error

    def utilities(self, question: Question) -> list[float]:
        """The utility of each response, in screen order."""
        prompt = prompt_text(question.prompt)
        return [persona_utility(judge(prompt, shown.text), self.persona) for shown in question.on_screen]

    def answer(self, question: Question, number: int) -> Decision:
        """The decision of this labeler, its `number`-th."""
        assert self.scale is not None, "calibrate first"
        rng = python_rng(self._seed, f"label/simulated/{self.persona.name}", number)
        ranks = noisy_ranks(self.utilities(question), self.scale, rng, DEFAULTS.tie_margin)
        if not any(ranks):
            return no_preference("tie", len(ranks))
        return choice(ranks.index(0), 2) if len(ranks) == 2 else ranking(ranks)


async def simulate(
    setup: SessionSetup,
    labeler: SimulatedLabeler,
    max_labels: int,
    sampler: Sampler,
    report: Callable[[int, int], None],
) -> list[Label]:
    """All of this annotator's labels, once there are `max_labels` or nothing is left to ask.

    `report` is given the number of labels and `max_labels`. Raises: EngineError as the session does.
    """
    news = asyncio.Event()
    store = await asyncio.to_thread(LabelStore, setup.database)
    session = LabelSession(
        setup.recipe,
        setup.prompts,
        store,
        setup.annotator,
        lambda: sampler,
        news.set,
        depth=CALIBRATION + 1,
        clock=lambda: 0.0,  # a program's time to decide is not a person's: stored as unknown
    )
    try:
        await session.open()
        while len(session.labels) < max_labels:
            questions = await _ready(session, news, 1 if labeler.scale else CALIBRATION)
            if not questions:
                break
            if labeler.scale is None:
                labeler.calibrate(questions)
            assert session.question is not None, "_ready waits for a question"
            await session.answer(labeler.answer(session.question, len(session.labels)))
            report(len(session.labels), max_labels)
        return session.labels
    finally:
        await session.close()
        await sampler.close()


async def _ready(session: LabelSession, news: asyncio.Event, count: int) -> list[Question]:
    """The current question and those that are ready, once there are `count` or no more will come."""
    while True:
        news.clear()
        if session.questions.error is not None:
            raise session.questions.error
        found = [session.question] if session.question is not None else []
        found += session.questions.ready
        if len(found) >= count or session.questions.exhausted:
            return found
        await news.wait()


def report_of(labels: Sequence[Label], labeler: SimulatedLabeler) -> dict[str, Any]:
    """The outcome as one object."""
    statistics = statistics_of(labels)
    opinions = [agrees for label in labels if (agrees := scorer_agrees(label)) is not None]
    seconds = labels[-1].at - labels[0].at if labels else 0.0
    return {
        "persona": labeler.persona.name,
        "judged": len(labels),
        "verdicts": statistics.verdicts,
        "ties": statistics.verdicts["tie"] / len(labels) if labels else None,
        "scale": labeler.scale,
        "per_second": len(labels) / seconds if seconds else None,
        "first_shown_won": statistics.first.rate,
        "longer_won": statistics.longer.rate,
        "self_agreement": statistics.self_agreement.rate,
        "scorer_agreement": sum(opinions) / len(opinions) if opinions else None,
    }
