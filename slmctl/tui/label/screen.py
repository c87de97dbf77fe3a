"""The Label mode: a prompt, its responses, and one key to say which is better.

The session (slmctl/label/session.py) decides what is asked and writes labels; the screen turns keys into decisions and
messages into what is shown.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import OptionList

from engine.core.errors import EngineError, WithdrawnError
from engine.data.labels.store import Label
from engine.data.records import prompt_text
from slmctl.label.decisions import SKIP, Decision, choice, no_preference, parse_ranking, ranking
from slmctl.label.questions import Question
from slmctl.label.rounds import Round
from slmctl.label.setup import LabelOptions, finished_policies
from slmctl.tui.app import Playground
from slmctl.tui.chat.dialogs import EditScreen
from slmctl.tui.label.label_widgets import (
    Feedback,
    LabelStatus,
    LabelTextDialog,
    NumberDialog,
    Placeholder,
    PolicyList,
    PromptView,
    Responses,
)
from slmctl.tui.label.round_line import RoundLine
from slmctl.tui.label.screen_session import NOT_WRITTEN, ScreenSession, open_session
from slmctl.tui.messages import OpenLabel
from slmctl.tui.widgets.dialogs import LineDialog

LOW = 16  # rows below which every line goes to the responses
AGAIN_S = 0.7  # the same number within this time means "much better": nobody has read the next pair yet
REFUSED = "ignored: your last answer is still being saved"
TOO_EARLY = "a key pressed while saving was ignored"
CHANGED = "not saved: the responses had just changed; look again"
ABOUT = (
    "Press the number of the better response; press it twice quickly, or with shift, if it is much better. After each "
    "vote you see which model gave which response and what the reward model thinks.\n"
    'A "!" after a percentage in the first line marks a bias that chance does not explain: you may favor the first or '
    "the longer response."
)
BIGGER: list[BindingType] = [
    Binding(f"{n}", f"choose({n - 1})", f"{n} better", id=f"label.choose_{n}", show=False) for n in range(3, 10)
]
KEYS: list[BindingType] = [
    Binding("1", "choose(0)", "First", id="label.choose_1"),
    Binding("2", "choose(1)", "Second", id="label.choose_2"),
    *BIGGER,
    Binding("exclamation_mark,shift+1", "choose(0, True)", "1 much better", id="label.much_1", show=False),
    Binding("at,shift+2", "choose(1, True)", "2 much better", id="label.much_2", show=False),
    Binding("0", "no_preference('tie')", "Tie", id="label.tie"),
    Binding("x", "no_preference('both_bad')", "Bad", id="label.bad"),
    Binding("space", "skip", "Skip", key_display="␣", id="label.skip"),
    Binding("backspace", "undo", "Undo", id="label.undo"),
    Binding("N", "round", "Round", id="label.round"),
    Binding("K", "rank", "Rank all", id="label.rank"),
    Binding("e", "edit", "Edit", id="label.edit"),
    Binding("n", "note", "Note", id="label.note"),
    Binding("f", "flag", "Flag", id="label.flag"),
    Binding("r", "resample", "Resample", id="label.resample"),
    Binding("h", "guidelines", "Guidelines", id="label.guidelines"),
    Binding("s", "statistics", "Statistics", id="label.statistics"),
    Binding("y", "copy", "Copy", id="label.copy"),
    Binding("pagedown,down", "scroll_all(1)", "Scroll", id="label.down", show=False),
    Binding("pageup,up", "scroll_all(-1)", "Scroll back", id="label.up", show=False),
]


class LabelScreen(Screen[None]):
    """The Label mode.

    A key that answers is ignored while an earlier answer is being saved. Only its own number (much better) and further
    undos are queued.
    """

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = KEYS
    HELP = ABOUT
    app = getters.app(Playground)
    feedback = getters.query_one(Feedback)
    placeholder = getters.query_one(Placeholder)

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (LOW, "-tall")]
        self.session: ScreenSession | None = None
        self._clock = clock
        self._opening = 0  # number of the latest attempt to open a session
        self._opened: list[tuple[int, ScreenSession]] = []  # until the last answer of this one is saved
        self._failure: EngineError | None = None  # why no session could be opened
        self._shown: Question | None = None
        self._reset_keys()

    def _reset_keys(self) -> None:
        self._pending = 0  # answers and undos that are being written
        self._undoing = False  # whether they are undos
        self._refused = False  # whether a key was ignored meanwhile
        self._stronger = False  # whether the number of the answer was pressed again meanwhile
        self._pressed: tuple[int, float] | None = None  # number and time of the last answer, if a number gave it

    def compose(self) -> ComposeResult:
        """Statistics, round, feedback, prompt, responses."""
        yield LabelStatus(markup=False)
        yield RoundLine(self.app.start.home, self._accept_round, self._show_problem)
        yield Feedback(markup=False)
        yield PromptView(id="label-prompt")
        yield Responses(id="label-responses")
        yield Placeholder()

    def on_mount(self) -> None:
        """Opens the requested session, or lists policies to choose from."""
        start = self.app.start
        typed = start.options.get("label")
        if isinstance(typed, LabelOptions):
            self.open(typed)
        elif start.mode == "label" and start.models:
            self.open(LabelOptions(start.models[:2], sampling=start.sampling, seed=start.seed))
        else:
            self.show()
            self._work(self._find_policies())

    async def on_unmount(self) -> None:
        """Closes the sessions; an error becomes the exit status of `slmctl label`."""
        error = self._failure
        for _, opened in self._opened:
            await opened.core.close()
        if (session := self.session) is not None:
            await session.core.close()
            error = session.error
        if self.app.start.mode == "label":
            self.app.end_with(error)

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        self.run_worker(work, group="label")

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except EngineError as error:
            self._show_problem(str(error))

    async def _find_policies(self) -> None:
        """Lists policies, unless a session was requested meanwhile."""
        with self._reporting():
            names = await asyncio.to_thread(finished_policies, self.app.start.home)
            if self.session is None and self._opening == 0:
                self.placeholder.offer(names)

    def open(self, options: LabelOptions) -> None:
        """Opens a session that will replace the current one, once the last answer is saved."""
        self._opening += 1
        self.placeholder.show(f"loading {' and '.join(options.models)} ...")
        self._work(self._open(options, self._opening))

    async def _open(self, options: LabelOptions, opening: int) -> None:
        app, later = self.app, self.call_later
        changed, notice = partial(later, self.show), partial(later, self.feedback.show_text)
        try:
            session = await open_session(options, app.start.home, lambda: app.sampler, changed, notice)
        except EngineError as error:
            if opening == self._opening:
                self._failure = error
                self.placeholder.show(f"! {error}")
                if self.session is not None:
                    self._show_problem(str(error))
        else:
            self._opened.append((opening, session))
            later(self._switch)

    def _switch(self) -> None:
        while self._opened and not self._pending:
            opening, session = self._opened.pop(0)
            if opening == self._opening:
                self._switch_to(session)
            else:
                self._work(session.core.close())

    def _switch_to(self, session: ScreenSession) -> None:
        if self.session is not None:
            self._work(self.session.core.close())
        self.session, self._shown, self._failure = session, None, None
        self._reset_keys()
        self.feedback.show_text(session.welcome)
        self.show()
        self.show_statistics()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Labels the selected policy."""
        if isinstance(event.option_list, PolicyList):
            self.open(LabelOptions((event.option_list.names[event.option_index],)))

    def on_open_label(self, message: OpenLabel) -> None:
        """Labels these models, unless they are being labeled."""
        if message.models and (self.session is None or self.session.options.models != message.models):
            options = LabelOptions(()) if self.session is None else self.session.options
            self.open(replace(options, models=message.models[:2], k=2, prompts=None, map=(), scorer=None, db=None))

    def _accept_round(self, done: Round) -> None:
        """Labels the models of a new round."""
        if self.session is not None:
            self.open(replace(self.session.options, models=done.models, scorer=done.scorer))

    def _written(self, label: Label, change: str) -> None:
        """Shows feedback on a label that is on disk, and strengthens it if its number was pressed again."""
        note = f"  ({TOO_EARLY})" if self._refused else ""
        stronger, self._stronger = self._stronger, False
        self._pending -= 1
        self._refused = self._refused and (stronger or self._pending > 0)
        self.show()
        self.show_statistics()
        if change == "withdrawn":
            self.feedback.show_text(f"undone; the question is asked again{note}")
        elif (session := self.session) is not None:
            scorer, earlier = session.setup.recipe.scorer, session.earlier(label)
            self.feedback.show(label, scorer, earlier, note, change == "strengthened")
            if stronger:
                self._strengthen()
        self._switch()

    def _not_written(self, reason: str) -> None:
        """Shows why an answer was not saved; its question is still shown, unless other models come now."""
        pending = self._pending - 1
        self._reset_keys()
        self._pending = pending
        self._switch()
        self._show_problem(reason)
        self.show_statistics()

    def _show_problem(self, text: str) -> None:
        if not self.is_current:
            self.app.say(text, "error")
        self.feedback.show_text(f"! {text}")
        self.show()

    def show(self) -> None:
        """Shows the current question, or why there is none."""
        session = self.session
        question = None if session is None else session.question
        for name in ("#label-prompt", "#label-responses"):
            self.query_one(name).display = question is not None
        self.placeholder.display = question is None
        if session is not None and question is None:
            self.placeholder.show(session.waits_for)
        elif question is not None and question is not self._shown:
            self.query_one(PromptView).show(question.prompt)
            self.query_one(Responses).show(question)
            if self._shown is None or len(self._shown) != len(question):
                self.refresh_bindings()
                self.show_statistics()
        self._shown = question

    def show_statistics(self) -> None:
        """Updates the first line."""
        if (session := self.session) is not None:
            statistics, goal = session.statistics(), session.options.goal
            self.query_one(LabelStatus).show(statistics, goal, session.core.chat_votes, session.marks)

    def _is_free(self) -> bool:
        """Whether an answer can be given now; says so if not."""
        if self._pending:
            self._refused = True
            self.feedback.show_text(REFUSED)
        return not self._pending

    def _answerable(self) -> Question | None:
        """The question that can be answered now."""
        return self._shown if self.session is not None and self._is_free() else None

    def _write(
        self,
        operation: Coroutine[Any, Any, Label | None],
        change: str,
        nothing: str = "",
        pressed: tuple[int, float] | None = None,
    ) -> None:
        """Starts an operation that saves, strengthens or withdraws a label; `nothing` says that there is none."""
        self._pending += 1
        self._pressed, self._undoing = pressed, change == "withdrawn"
        self._work(self._report(operation, change, nothing))

    async def _report(self, operation: Coroutine[Any, Any, Label | None], change: str, nothing: str) -> None:
        try:
            label = await operation
        except EngineError as error:
            reason = str(error) if isinstance(error, WithdrawnError) else f"{NOT_WRITTEN}: {error}"
            self.call_later(self._not_written, reason)
        else:
            self.call_later(*((self._not_written, nothing) if label is None else (self._written, label, change)))

    def _answer(self, decision: Decision, question: Question, pressed: tuple[int, float] | None = None) -> None:
        """Answers the question that was on the screen; an edit also if its responses were resampled meanwhile."""
        if (session := self.session) is None or self._answerable() is None:
            return

        async def answer() -> Label | None:
            same = question is session.question or decision.verdict == "edit"
            return await session.core.answer(decision) if same else None

        self._write(answer(), "saved", CHANGED, pressed)

    def _strengthen(self) -> None:
        """Strengthens the last choice, once it is saved."""
        if self._pending:
            self._stronger = True
        elif self.session is not None:
            nothing = "there is no choice to strengthen"
            self._write(self.session.core.strengthen(), "strengthened", nothing, self._pressed)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key is active: a number only if there is such a response."""
        question = None if self.session is None else self.session.question
        return action != "choose" or int(str(parameters[0])) < (2 if question is None else len(question))

    def action_choose(self, place: int, much: bool = False) -> None:
        """Chooses a response; the same number again at once means "much better"."""
        now = self._clock()
        if self._pressed is not None and self._pressed[0] == place and now - self._pressed[1] <= AGAIN_S:
            self._pressed = (place, now)  # a key that is held down stays this answer's
            self._strengthen()
        elif (question := self._answerable()) is not None and place < len(question):
            self._answer(choice(place, len(question), 2 if much else 1), question, (place, now))

    def action_no_preference(self, verdict: str) -> None:
        """Answers that no response is better."""
        if (question := self._answerable()) is not None:
            self._answer(no_preference(verdict, len(question)), question)

    def action_skip(self) -> None:
        """Skips the question."""
        if (question := self._answerable()) is not None:
            self._answer(SKIP, question)

    def action_undo(self) -> None:
        """Withdraws the last label, and the one before it the next time."""
        if self.session is None:
            return
        queued = self._pending and self._undoing and not self.session.core.writes.locked
        if queued or self._is_free():
            self._write(self.session.core.undo(), "withdrawn", "there is nothing to undo")

    def action_flag(self) -> None:
        """Flags the question for review, or removes the flag; saved with the vote."""
        if self.session is not None and self._answerable() is not None:
            self.session.core.flagged = not self.session.core.flagged
            self.show_statistics()

    def action_note(self) -> None:
        """Asks for a note, saved with the vote."""
        if self.session is None or (question := self._answerable()) is None:
            return
        core = self.session.core

        def save(text: str | None) -> None:
            if text is not None and core.question is question:
                core.note = text.strip()
                self.show_statistics()

        self._ask_line(LineDialog("note", "enter saves it with your vote · esc cancels", core.note), save)

    def action_rank(self) -> None:
        """Asks for a ranking of all responses."""
        if (question := self._answerable()) is None:
            return
        count = len(question)

        def answer(text: str | None) -> None:
            if text is not None:
                self._answer(ranking(parse_ranking(text, count)), question)

        example = "2>1" if count == 2 else "2>1=3" if count == 3 else "2>1=3>4"
        hint = f"best first, > is better, = is a tie; for example {example}"
        self._ask_line(LineDialog("ranking", hint, check=lambda text: parse_ranking(text, count)), answer)

    def _ask_line(self, dialog: LineDialog, done: Callable[[str | None], None]) -> None:
        dialog.add_class("-bottom")  # the responses stay visible above it
        self.app.push_screen(dialog, done)

    def action_edit(self) -> None:
        """Asks for a response to start from, and for a better text."""
        if (question := self._answerable()) is None:
            return

        def answer(text: str | None) -> None:
            if text is not None:
                self._answer(Decision("edit", edited=text), question)

        def edit(place: int | None) -> None:
            if place is not None:
                text = question.on_screen[place].text
                self.app.push_screen(EditScreen(prompt_text(question.prompt), f"response {place + 1}", text), answer)

        self.app.push_screen(NumberDialog("edit", len(question)), edit)

    def action_resample(self) -> None:
        """Samples new responses to the prompt, or tries again after an error."""
        if (session := self.session) is None or not self._is_free():
            return
        if session.core.questions.error is not None:
            session.core.questions.start()
            self.show()
        elif session.question is not None:
            self.feedback.show_text("sampling new responses ...")
            self._work(self._resample(session))

    async def _resample(self, session: ScreenSession) -> None:
        with self._reporting():
            self.feedback.show_text(await session.resample())

    def action_guidelines(self) -> None:
        """Shows the guidelines."""
        if self.session is not None:
            self.app.push_screen(LabelTextDialog("guidelines", self.session.setup.guidelines))

    def action_statistics(self) -> None:
        """Shows the statistics of the database."""
        if self.session is not None:
            self._work(self._show_all_statistics(self.session))

    async def _show_all_statistics(self, session: ScreenSession) -> None:
        with self._reporting():
            text = await asyncio.to_thread(session.all_statistics)
            self.call_later(self.app.push_screen, LabelTextDialog("statistics", text))

    def action_scroll_all(self, pages: int) -> None:
        """Scrolls all responses."""
        self.query_one(Responses).scroll_pages(pages)

    def action_copy(self) -> None:
        """Copies prompt and responses to the clipboard."""
        if self.session is not None:
            self.app.copy_to_clipboard(self.session.text)
            self.feedback.show_text("copied prompt and responses")

    def action_round(self) -> None:
        """Shows the plan of a new round, or the progress of the one that is running."""
        if self.session is not None:
            self.query_one(RoundLine).plan(self.session)
