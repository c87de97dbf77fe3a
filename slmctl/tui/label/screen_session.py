"""A labeling session as the screen uses it: its state as text."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.core.errors import EngineError, FileError, LockedError
from engine.data.labels.store import Label, LabelStore, read_labels
from engine.data.records import prompt_text
from slmctl.console.safe import clean
from slmctl.label.questions import IDENTICAL, Question
from slmctl.label.rounds import newest_round
from slmctl.label.session import LabelSession
from slmctl.label.setup import LabelOptions, SessionSetup, resolve_setup
from slmctl.label.statistics import LabelStatistics, statistics_lines, statistics_of
from slmctl.label.writes import LOCK_WAIT_S, retry_while_locked
from slmctl.worker.protocol import Sampler

NOT_WRITTEN = "your last answer was not saved"


@dataclass
class ScreenSession:
    """One session."""

    options: LabelOptions
    setup: SessionSetup
    core: LabelSession
    earlier_round: str = ""  # state of a round that was trained on these labels

    @property
    def question(self) -> Question | None:
        """The current question."""
        return self.core.question

    def statistics(self) -> LabelStatistics:
        """Statistics of this annotator's labels."""
        return statistics_of(self.core.labels, self.setup.recipe.models)

    @property
    def marks(self) -> str:
        """Flag and note of the question, and why it has fewer responses than requested."""
        marks = ["flagged"] * self.core.flagged + ["note"] * bool(self.core.note)
        if self.question is not None and (count := len(self.question)) < (wanted := self.setup.recipe.k):
            marks.insert(0, f"{count} of {wanted}, the others are identical")
        marks += ["some prompts skipped: press s"] * bool(self._failures)
        return "  ".join(marks)

    @property
    def _failures(self) -> list[str]:
        """Reasons why prompts were skipped, except identical responses."""
        return [reason for reason in self.core.questions.left_out if reason != IDENTICAL]

    def earlier(self, label: Label) -> Label | None:
        """The label whose pair this one repeats."""
        return next((one for one in self.core.labels if one.id == label.repeats), None)

    @property
    def error(self) -> EngineError | None:
        """Why there is no question or, after close, why the last label was not saved."""
        if self.core.unwritten is not None:
            return FileError(f"{NOT_WRITTEN}: {self.core.unwritten}")
        return self.core.questions.error if self.question is None else None

    @property
    def welcome(self) -> str:
        """The state of an earlier round, the annotator and the database."""
        saving = f"Annotator: {self.setup.annotator}. Saving to {self.setup.database}. Press h for guidelines."
        return f"{self.earlier_round} {saving}".lstrip()

    @property
    def text(self) -> str:
        """Prompt and responses as safe text, for the clipboard."""
        if self.question is None:
            return ""
        numbered = [f"{place}. {one.text}" for place, one in enumerate(self.question.on_screen, start=1)]
        return clean("\n\n".join([prompt_text(self.question.prompt), *numbered]))

    @property
    def waits_for(self) -> str:
        """Why there is no question."""
        questions = self.core.questions
        if questions.error is not None:
            return f"! {questions.error}\n\nYour labels are saved. Press r to try again."
        if self.core.finished:
            skipped = "".join(f"\n{count} skipped: {reason}" for reason, count in questions.left_out.items() if count)
            return f"There are no more questions.\n{skipped}\n\nShift+N starts a new round with your labels."
        return f"{questions.phase} ..."

    async def resample(self) -> str:
        """Samples new responses to the prompt, and returns a sentence about them. Raises: EngineError."""
        if await self.core.resample():
            return "new responses"
        return "no new responses: these models always give the same ones to this prompt"

    def all_statistics(self) -> str:
        """The statistics of all annotators in the database. Reads files. Raises: EngineError."""
        everybody = read_labels(self.setup.database)
        lines = [*statistics_lines(self.statistics(), self.setup.recipe.models, everybody, self.setup.annotator)]
        if self._failures:
            lines += ["", *(f"skipped: {reason}" for reason in self._failures)]
        return "\n".join(lines)


async def open_session(
    options: LabelOptions,
    home: Path,
    sampler: Callable[[], Sampler],
    changed: Callable[[], object],
    notice: Callable[[str], object],
) -> ScreenSession:
    """A session that makes questions. `changed` is called after every change, `notice` with a sentence to show.

    Raises: EngineError.
    """
    setup = await asyncio.to_thread(resolve_setup, options, home)
    locked = f"{setup.database.name} is locked by another process"

    def write_waits() -> None:
        notice(f"{locked}; your answer will be saved once it is unlocked")

    def opening_waits(_: LockedError) -> None:
        notice(f"{locked}; it will be opened once it is unlocked")

    store = await retry_while_locked(lambda: LabelStore(setup.database, LOCK_WAIT_S), opening_waits)
    core = LabelSession(setup.recipe, setup.prompts, store, setup.annotator, sampler, changed, on_locked=write_waits)
    try:
        await core.open()
    except BaseException:
        await core.close()
        raise
    return ScreenSession(options, setup, core, await asyncio.to_thread(_earlier_round, setup.database, home))


def _earlier_round(database: Path, home: Path) -> str:
    """The state of the newest round trained on these labels, maybe from another screen; "" without one."""
    run = newest_round(database, home)
    if run is None:
        return ""
    if run.finished("ppo") is None:
        return f"{run.name} is training on these labels, or has stopped: see Runs."
    return f"{run.name} was trained on these labels: select it in Runs and press l to label its responses."
