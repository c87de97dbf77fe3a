"""A labeling session that tests live through, and what a labeler may do in it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from engine.data.labels.store import LabelStore
from slmctl.label.decisions import SKIP, Decision, choice, no_preference
from slmctl.label.questions import Recipe
from slmctl.label.session import LabelSession
from tests.support.fake_sampler import FakeSampler

PROMPTS = [f"prompt {number}" for number in range(30)]
TWO = Recipe(("a:sft", "b:ppo"), scorer="a:rm")
Deed = Callable[[LabelSession], Awaitable[object]]


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def opened(
    path: Path,
    recipe: Recipe = TWO,
    prompts: Sequence[str] = PROMPTS,
    annotator: str = "ann",
    sampler: FakeSampler | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> LabelSession:
    """A session with a question, unless there is none."""
    fake = sampler or FakeSampler()
    session = LabelSession(recipe, prompts, LabelStore(path), annotator, lambda: fake, clock=clock)
    await session.open()
    await asked(session)
    return session


async def asked(session: LabelSession) -> None:
    """Waits for the question."""
    while session.question is None and not session.finished and session.questions.error is None:
        await asyncio.sleep(0)


def lived(
    path: Path, *deeds: Deed, recipe: Recipe = TWO, prompts: Sequence[str] = PROMPTS, annotator: str = "ann"
) -> LabelSession:
    """A session after these deeds, closed."""

    async def main() -> LabelSession:
        session = await opened(path, recipe, prompts, annotator)
        for deed in deeds:
            await deed(session)
            await asked(session)
        await session.close()
        return session

    return asyncio.run(main())


def first(session: LabelSession) -> Awaitable[object]:
    """The one that stands first is better."""
    assert session.question is not None
    return session.answer(choice(0, len(session.question)))


def second(session: LabelSession) -> Awaitable[object]:
    """The one that stands second is better."""
    assert session.question is not None
    return session.answer(choice(1, len(session.question)))


def skipped(session: LabelSession) -> Awaitable[object]:
    """Nothing is said."""
    return session.answer(SKIP)


def undone(session: LabelSession) -> Awaitable[object]:
    """The last label is taken back."""
    return session.undo()


def edited(session: LabelSession) -> Awaitable[object]:
    """A better text."""
    return session.answer(Decision("edit", edited="better"))


def stronger(session: LabelSession) -> Awaitable[object]:
    """Much better."""
    return session.strengthen()


def other(session: LabelSession) -> Awaitable[object]:
    """Other responses."""
    return session.resample()


async def marked(session: LabelSession) -> None:
    """A flag and a note."""
    session.flagged, session.note = True, "look \x1b[2J"


def tied(session: LabelSession) -> Awaitable[object]:
    """No better one."""
    assert session.question is not None
    return session.answer(no_preference("tie", len(session.question)))
