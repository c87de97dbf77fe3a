"""A labelling session as the screen holds it: the core with what it was opened with; its doings become messages."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from engine.core.errors import EngineError, FileError, LockedError, WithdrawnError
from engine.data.labels.store import Label, LabelStore, read_labels
from engine.data.records import prompt_text
from slmctl.console.safe import clean
from slmctl.label.candidates import Question
from slmctl.label.counts import Tally, tally
from slmctl.label.questions import ALIKE
from slmctl.label.rounds import newest_round
from slmctl.label.session import Answer, Labelling
from slmctl.label.setup import Sitting, Wishes, policies, sit
from slmctl.label.statistics import figure_lines
from slmctl.label.writes import LOCK_WAIT_S, retry_while_locked
from slmctl.tui.messages import (
    FiguresRead,
    LabelFailed,
    LabelKept,
    LabelNews,
    LabelTold,
    LabelUnkept,
    PoliciesFound,
    SessionFailed,
    SessionOpened,
)
from slmctl.worker.sampler import Sampler

CHANGED = "other responses came just then, and were not judged: look again"
NOT_WRITTEN = "what you said last was not written"
Post = Callable[[Message], object]


@dataclass
class LabelSession:
    """One session; `post` hands a message to the screen. Closing it leaves the sampler to others."""

    wishes: Wishes
    sitting: Sitting
    labelling: Labelling
    post: Post
    earlier_round: str = ""  # what has become of one with these labels

    @property
    def question(self) -> Question | None:
        """What is asked now."""
        return self.labelling.question

    def tally(self) -> Tally:
        """The figures of all that stands of this labeler's in the database."""
        return tally(self.labelling.judged, self.sitting.recipe.models)

    @property
    def marks(self) -> str:
        """What the question is marked with, and why it has fewer responses than were asked for."""
        marks = ["flagged"] * self.labelling.flagged + ["note"] * bool(self.labelling.note)
        if self.question is not None and (there := len(self.question)) < (wanted := self.sitting.recipe.k):
            marks.insert(0, f"{there} of {wanted}, the others were alike")
        marks += ["prompts are left out: s says why"] * bool(self._unasked)
        return "  ".join(marks)

    @property
    def _unasked(self) -> list[str]:
        """Why prompts could not be asked, other than that all responses to them were alike."""
        return [reason for reason in self.labelling.questions.left_out if reason != ALIKE]

    def earlier(self, label: Label) -> Label | None:
        """The label of which this one is a repeat."""
        return next((one for one in self.labelling.judged if one.id == label.repeats), None)

    @property
    def fault(self) -> EngineError | None:
        """What has gone wrong, where nothing can be asked or, once it is closed, an answer was not written."""
        if self.labelling.unwritten is not None:
            return FileError(f"{NOT_WRITTEN}: {self.labelling.unwritten}")
        return self.labelling.questions.error if self.question is None else None

    @property
    def welcome(self) -> str:
        """What an earlier round has made; where answers go, and whose they are."""
        told = f"Answers of {self.sitting.annotator} go to {self.sitting.labels}; h shows the guidelines."
        return f"{self.earlier_round} {told}".lstrip()

    @property
    def words(self) -> str:
        """Prompt and responses as text, made harmless."""
        if self.question is None:
            return ""
        numbered = [f"{place}. {one.text}" for place, one in enumerate(self.question.on_screen, start=1)]
        return clean("\n\n".join([prompt_text(self.question.prompt), *numbered]))

    @property
    def waits_for(self) -> str:
        """What stands on the screen while there is no question: what is being done, or why nothing is."""
        questions = self.labelling.questions
        if questions.error is not None:
            return f"! {questions.error}\n\nNothing is lost. Press r to try again."
        if self.labelling.finished:
            left_out = "".join(f"\n{count} left out: {reason}" for reason, count in questions.left_out.items() if count)
            return f"No prompt gives another question.\n{left_out}\n\nShift+n starts a new round with your labels."
        return f"{questions.phase} ..."

    async def answer(self, answer: Answer, question: Question) -> None:
        """Has the question answered that stood on the screen; a better text also if other responses have come."""
        if question is self.question or answer.verdict == "edit":
            await self._keep(self.labelling.answer(answer))
        else:
            self.post(LabelUnkept(CHANGED))

    async def strengthen(self) -> None:
        """Makes the last choice a strong one."""
        await self._keep(self.labelling.strengthen(), nothing="there is no choice to strengthen")

    async def undo(self) -> None:
        """Takes the last label back."""
        await self._keep(self.labelling.undo(), nothing="there is nothing to take back", withdrawn=True)

    async def _keep(self, deed: Awaitable[Label | None], nothing: str = "", withdrawn: bool = False) -> None:
        """Says how a deed has ended: LabelKept once it is on the disk, else LabelUnkept."""
        try:
            label = await deed
        except WithdrawnError as error:
            self.post(LabelUnkept(str(error)))
        except EngineError as error:
            self.post(LabelUnkept(f"{NOT_WRITTEN}: {error}"))
        else:
            self.post(LabelUnkept(nothing) if label is None else LabelKept(label, withdrawn))

    async def resample(self) -> None:
        """Draws other responses to the prompt, or tries again where drawing has failed."""
        if self.labelling.questions.error is not None:
            self.labelling.questions.begin()
            self.post(LabelNews())
            return
        if self.question is None:
            return
        self.post(LabelTold("drawing other responses ..."))
        try:
            found = await self.labelling.resample()
        except EngineError as error:
            self.post(LabelFailed(str(error)))
        else:
            self.post(
                LabelTold("other responses" if found else "no other responses come: these models always say this")
            )

    async def read_figures(self) -> None:
        """Reads what all labelers of the database said."""
        try:
            everybody = await asyncio.to_thread(read_labels, self.sitting.labels)
        except EngineError as error:
            self.post(LabelFailed(str(error)))
        else:
            lines = figure_lines(self.tally(), self.sitting.recipe.models, everybody, self.sitting.annotator)
            why = [f"left out: {reason}" for reason in self._unasked]
            self.post(FiguresRead("\n".join([*lines, *([""] * bool(why)), *why])))


async def begin(wishes: Wishes, home: Path, sampler: Callable[[], Sampler], post: Post, opening: int) -> None:
    """Opens a session that draws its questions; SessionOpened, or SessionFailed, says when."""
    try:
        session = await _opened(wishes, home, sampler, post)
    except EngineError as error:
        post(SessionFailed(error, opening))
    else:
        post(SessionOpened(session, opening))


async def find_policies(home: Path, post: Post) -> None:
    """Looks for what there is to label; PoliciesFound says what, LabelFailed why it is not known."""
    try:
        post(PoliciesFound(tuple(await asyncio.to_thread(policies, home))))
    except EngineError as error:
        post(LabelFailed(str(error)))


async def _opened(wishes: Wishes, home: Path, sampler: Callable[[], Sampler], post: Post) -> LabelSession:
    sitting = await asyncio.to_thread(sit, wishes, home)
    held = f"{sitting.labels.name} is locked by another process"

    def news() -> None:
        post(LabelNews())

    def waits() -> None:
        post(LabelTold(f"{held}; your answer waits, and is written once the file is free"))

    def opens(_: LockedError) -> None:
        post(LabelTold(f"{held}; it is opened once the file is free"))

    store = await retry_while_locked(lambda: LabelStore(sitting.labels, LOCK_WAIT_S), opens)
    labelling = Labelling(sitting.recipe, sitting.prompts, store, sitting.annotator, sampler, news, waits=waits)
    try:
        await labelling.open()
    except BaseException:
        await labelling.close()
        raise
    return LabelSession(wishes, sitting, labelling, post, await asyncio.to_thread(_round_of, sitting, home))


def _round_of(sitting: Sitting, home: Path) -> str:
    """How the newest round with these labels stands, which another screen may have begun; nothing without one."""
    run = newest_round(sitting.labels, home)
    if run is None:
        return ""
    if run.finished("ppo") is None:
        return f"{run.name} learns from these labels, or has stopped: see Runs."
    return f"{run.name} has learnt from these labels: l on it in Runs asks about its responses."
