"""A labelling session that tests live through, and what a labeler may do in it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from engine.data.labels.store import LabelStore
from slmctl.label.selection import Recipe
from slmctl.label.session import SKIP, Answer, Labelling, alike, choice
from tests.support.fake_sampler import FakeSampler

PROMPTS = [f"prompt {number}" for number in range(30)]
TWO = Recipe(("a:sft", "b:ppo"), scorer="a:rm")
Deed = Callable[[Labelling], Awaitable[object]]


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
) -> Labelling:
    """A session with a question, unless there is none."""
    fake = sampler or FakeSampler()
    session = Labelling(recipe, prompts, LabelStore(path), annotator, lambda: fake, clock=clock)
    await session.open()
    await asked(session)
    return session


async def asked(session: Labelling) -> None:
    """Waits for the question."""
    while session.question is None and not session.finished and session.questions.error is None:
        await asyncio.sleep(0)


def lived(
    path: Path, *deeds: Deed, recipe: Recipe = TWO, prompts: Sequence[str] = PROMPTS, annotator: str = "ann"
) -> Labelling:
    """A session after these deeds, closed."""

    async def main() -> Labelling:
        session = await opened(path, recipe, prompts, annotator)
        for deed in deeds:
            await deed(session)
            await asked(session)
        await session.close()
        return session

    return asyncio.run(main())


def first(session: Labelling) -> Awaitable[object]:
    """The one that stands first is better."""
    assert session.question is not None
    return session.answer(choice(0, len(session.question)))


def second(session: Labelling) -> Awaitable[object]:
    """The one that stands second is better."""
    assert session.question is not None
    return session.answer(choice(1, len(session.question)))


def skipped(session: Labelling) -> Awaitable[object]:
    """Nothing is said."""
    return session.answer(SKIP)


def undone(session: Labelling) -> Awaitable[object]:
    """The last label is taken back."""
    return session.undo()


def edited(session: Labelling) -> Awaitable[object]:
    """A better text."""
    return session.answer(Answer("edit", edited="better"))


def stronger(session: Labelling) -> Awaitable[object]:
    """Much better."""
    return session.strengthen()


def other(session: Labelling) -> Awaitable[object]:
    """Other responses."""
    return session.resample()


async def marked(session: Labelling) -> None:
    """A flag and a note."""
    session.flagged, session.note = True, "look \x1b[2J"


def tied(session: Labelling) -> Awaitable[object]:
    """No better one."""
    assert session.question is not None
    return session.answer(alike("tie", len(session.question)))
