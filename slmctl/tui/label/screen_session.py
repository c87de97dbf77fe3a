"""A labeling session as the screen uses it: its operations post messages, its state becomes text."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textual.message import Message

from engine.core.errors import EngineError, FileError, LockedError, WithdrawnError
from engine.data.labels.store import Label, LabelStore, read_labels
from engine.data.records import prompt_text
from slmctl.console.safe import clean
from slmctl.label.decisions import Decision
from slmctl.label.questions import IDENTICAL, Question
from slmctl.label.rounds import newest_round
from slmctl.label.session import LabelSession
from slmctl.label.setup import LabelOptions, SessionSetup, finished_policies, resolve_setup
from slmctl.label.statistics import LabelStatistics, statistics_lines, statistics_of
from slmctl.label.writes import LOCK_WAIT_S, retry_while_locked
from slmctl.tui.label.messages import (
    LabelNotice,
    LabelNotWritten,
    LabelProblem,
    LabelSessionChanged,
    LabelSessionFailed,
    LabelWritten,
    PoliciesFound,
    StatisticsRead,
)
from slmctl.worker.protocol import Sampler

CHANGED = "not saved: the responses had just changed; look again"
NOT_WRITTEN = "your last answer was not saved"
Post = Callable[[Message], object]


@dataclass
class ScreenSession:
    """One session; `post` sends a message to the screen."""

    options: LabelOptions
    setup: SessionSetup
    core: LabelSession
    post: Post
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

    async def answer(self, decision: Decision, question: Question) -> None:
        """Answers the question that was on the screen; an edit also if its responses were resampled meanwhile."""
        if question is self.question or decision.verdict == "edit":
            await self._report("saved", self.core.answer(decision))
        else:
            self.post(LabelNotWritten(CHANGED))

    async def strengthen(self) -> None:
        """Changes the last choice to "much better"."""
        await self._report("strengthened", self.core.strengthen(), nothing="there is no choice to strengthen")

    async def undo(self) -> None:
        """Withdraws the last label."""
        await self._report("withdrawn", self.core.undo(), nothing="there is nothing to undo")

    async def _report(
        self,
        change: Literal["saved", "strengthened", "withdrawn"],
        operation: Awaitable[Label | None],
        nothing: str = "",
    ) -> None:
        """Posts LabelWritten once the operation is on disk, else LabelNotWritten."""
        try:
            label = await operation
        except WithdrawnError as error:
            self.post(LabelNotWritten(str(error)))
        except EngineError as error:
            self.post(LabelNotWritten(f"{NOT_WRITTEN}: {error}"))
        else:
            self.post(LabelNotWritten(nothing) if label is None else LabelWritten(label, change))

    async def resample(self) -> None:
        """Samples new responses to the prompt, or tries again after an error."""
        if self.core.questions.error is not None:
            self.core.questions.start()
            self.post(LabelSessionChanged())
            return
        if self.question is None:
            return
        self.post(LabelNotice("sampling new responses ..."))
        try:
            found = await self.core.resample()
        except EngineError as error:
            self.post(LabelProblem(str(error)))
        else:
            none = "no new responses: these models always give the same ones to this prompt"
            self.post(LabelNotice("new responses" if found else none))

    async def read_statistics(self) -> None:
        """Posts the statistics of all annotators in the database."""
        try:
            everybody = await asyncio.to_thread(read_labels, self.setup.database)
        except EngineError as error:
            self.post(LabelProblem(str(error)))
            return
        lines = [*statistics_lines(self.statistics(), self.setup.recipe.models, everybody, self.setup.annotator)]
        if self._failures:
            lines += ["", *(f"skipped: {reason}" for reason in self._failures)]
        self.post(StatisticsRead("\n".join(lines)))


@dataclass
class LabelSessionOpened(Message):
    """A session was opened; `opening` numbers the attempt, because a later one may have been started."""

    session: ScreenSession
    opening: int


async def open_session(
    options: LabelOptions, home: Path, sampler: Callable[[], Sampler], post: Post, opening: int
) -> None:
    """Opens a session that makes questions; posts LabelSessionOpened or LabelSessionFailed."""
    try:
        session = await _opened(options, home, sampler, post)
    except EngineError as error:
        post(LabelSessionFailed(error, opening))
    else:
        post(LabelSessionOpened(session, opening))


async def find_policies(home: Path, post: Post) -> None:
    """Posts the policies that can be labeled."""
    try:
        post(PoliciesFound(tuple(await asyncio.to_thread(finished_policies, home))))
    except EngineError as error:
        post(LabelProblem(str(error)))


async def _opened(options: LabelOptions, home: Path, sampler: Callable[[], Sampler], post: Post) -> ScreenSession:
    setup = await asyncio.to_thread(resolve_setup, options, home)
    locked = f"{setup.database.name} is locked by another process"

    def changed() -> None:
        post(LabelSessionChanged())

    def write_waits() -> None:
        post(LabelNotice(f"{locked}; your answer will be saved once it is unlocked"))

    def opening_waits(_: LockedError) -> None:
        post(LabelNotice(f"{locked}; it will be opened once it is unlocked"))

    store = await retry_while_locked(lambda: LabelStore(setup.database, LOCK_WAIT_S), opening_waits)
    core = LabelSession(setup.recipe, setup.prompts, store, setup.annotator, sampler, changed, on_locked=write_waits)
    try:
        await core.open()
    except BaseException:
        await core.close()
        raise
    return ScreenSession(options, setup, core, post, await asyncio.to_thread(_earlier_round, setup.database, home))


def _earlier_round(database: Path, home: Path) -> str:
    """The state of the newest round trained on these labels, maybe from another screen; "" without one."""
    run = newest_round(database, home)
    if run is None:
        return ""
    if run.finished("ppo") is None:
        return f"{run.name} is training on these labels, or has stopped: see Runs."
    return f"{run.name} was trained on these labels: select it in Runs and press l to label its responses."
