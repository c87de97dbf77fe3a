"""The Label mode: a prompt, its responses, and one key for which is the better one.

What is asked and kept is the core's job (labelling/session.py); here keys become answers and news becomes a picture.
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import OptionList

from engine.core.errors import EngineError
from slmctl.label.candidates import Question
from slmctl.label.session import SKIP, Answer, alike, choice
from slmctl.label.setup import Wishes
from slmctl.tui.label import asking as label_asking
from slmctl.tui.label.keeping import Keeping
from slmctl.tui.label.keys import ABOUT, KEYS
from slmctl.tui.label.policy_list import PolicyList
from slmctl.tui.label.prompt_view import PromptView
from slmctl.tui.label.responses import Responses
from slmctl.tui.label.reveal import REFUSED, TOO_SOON, Reveal
from slmctl.tui.label.round_line import RoundLine
from slmctl.tui.label.session import LabelSession, begin, find_policies
from slmctl.tui.label.status import LabelStatus
from slmctl.tui.label.text_dialog import LabelTextScreen
from slmctl.tui.label.waiting import Waiting
from slmctl.tui.messages import (
    FiguresRead,
    LabelFailed,
    LabelKept,
    LabelNews,
    LabelTold,
    LabelUnkept,
    NextRound,
    OpenLabel,
    PoliciesFound,
    ResponseChosen,
    SessionFailed,
    SessionOpened,
)

if TYPE_CHECKING:
    from slmctl.tui.app import Playground

LOW = 16  # rows below which every line goes to the responses


class LabelScreen(Screen[None]):
    """The Label mode."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = KEYS
    HELP = ABOUT

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (LOW, "-tall")]
        self.session: LabelSession | None = None
        self._clock = clock
        self._opening = 0  # the number of the latest attempt to open a session
        self._opened: list[SessionOpened] = []  # what waits until the last answer of the session that there is is kept
        self._keeping = Keeping()
        self._failed: EngineError | None = None  # why no session could be opened
        self._shown: Question | None = None

    def compose(self) -> ComposeResult:
        """Figures, what was said last, prompt, responses."""
        yield LabelStatus()
        yield RoundLine(self._playground.start.home)
        yield Reveal()
        yield PromptView(id="label-prompt")
        yield Responses(id="label-responses")
        yield Waiting()

    def on_mount(self) -> None:
        """Opens what was asked for, or asks for it."""
        start = self._playground.start
        typed = start.options.get("label")
        if isinstance(typed, Wishes):
            self.open(typed)
        elif start.mode == "label" and start.models:
            self.open(Wishes(start.models[:2], sampling=start.sampling, seed=start.seed))
        else:
            self.show()
            self._work(find_policies(start.home, self.post_message))

    async def on_unmount(self) -> None:
        """Gives the database back; what went wrong until then is what `slmctl label` ends with."""
        fault = self._failed
        for opened in self._opened:
            await opened.session.labelling.close()
        if (session := self.session) is not None:
            await session.labelling.close()
            fault = session.fault
        if self._playground.start.mode == "label":
            self._playground.end_with(fault)

    @property
    def _playground(self) -> "Playground":
        return cast("Playground", self.app)

    def _is_free(self) -> bool:
        """Whether a key can be taken; one that comes while an answer is on its way to the disk is refused in words."""
        if self._keeping.refuse():
            self.query_one(Reveal).tell(REFUSED)
        return not self._keeping.busy

    def _answerable(self) -> Question | None:
        """What a key can answer now."""
        return self._shown if self.session is not None and self._is_free() else None

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        self.run_worker(work, group="label")

    def open(self, wishes: Wishes) -> None:
        """Begins a session in place of the one there is."""
        self._opening += 1
        self.query_one(Waiting).tell(f"opening {' and '.join(wishes.models)} ...")
        app = self._playground
        self._work(begin(wishes, app.start.home, lambda: app.sampler, self.post_message, self._opening))

    def on_session_opened(self, message: SessionOpened) -> None:
        """Takes the session over once the last answer is kept, unless another was asked for meanwhile."""
        self._opened.append(message)
        self._take_opened()

    def _take_opened(self) -> None:
        while self._opened and not self._keeping.busy:
            opened = self._opened.pop(0)
            if opened.opening == self._opening:
                self._take(opened.session)
            else:
                self._work(opened.session.labelling.close())

    def _take(self, session: LabelSession) -> None:
        if self.session is not None:
            self._work(self.session.labelling.close())
        self.session, self._shown, self._keeping, self._failed = session, None, Keeping(), None
        self.query_one(Reveal).tell(session.welcome)
        self.show()
        self.show_figures()

    def on_session_failed(self, message: SessionFailed) -> None:
        """Tells why there is no session."""
        if message.opening == self._opening:
            self._failed = message.error
            self.query_one(Waiting).tell(f"! {message.error}")
            if self.session is not None:
                self._tell_problem(str(message.error))

    def on_policies_found(self, message: PoliciesFound) -> None:
        """Lists what there is to label, where nothing was asked for meanwhile."""
        if self.session is None and self._opening == 0:
            self.query_one(Waiting).offer(message.names)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Labels the policy that was chosen from the list."""
        if isinstance(event.option_list, PolicyList):
            self.open(Wishes((event.option_list.names[event.option_index],)))

    def on_open_label(self, message: OpenLabel) -> None:
        """Labels these models, unless they are being labelled."""
        if message.models and (self.session is None or self.session.wishes.models != message.models):
            usual = Wishes(()) if self.session is None else self.session.wishes
            self.open(replace(usual, models=message.models[:2], k=2, prompts=None, map=(), scorer=None, db=None))

    def on_label_news(self, _: LabelNews) -> None:
        """Shows what has come."""
        self.show()

    def on_label_kept(self, message: LabelKept) -> None:
        """Tells of a label that is on the disk, and makes it stronger where its number was pressed again."""
        note = f"  ({TOO_SOON})" if self._keeping.refused else ""
        stronger = self._keeping.kept()
        self.show()
        self.show_figures()
        if message.withdrawn:
            self.query_one(Reveal).tell(f"taken back, and asked again{note}")
            if self._keeping.undoes_more():
                self.action_undo()
        elif self.session is not None:
            earlier = self.session.earlier(message.label)
            self.query_one(Reveal).show(message.label, self.session.sitting.recipe.scorer, earlier, note)
            if stronger:
                self._strengthen()
        self._take_opened()

    def on_label_unkept(self, message: LabelUnkept) -> None:
        """Tells why an answer is not on the disk; its question is still there, unless other models come now."""
        self._keeping = Keeping()
        self._take_opened()
        self._tell_problem(message.sentence)
        self.show_figures()

    def on_label_failed(self, message: LabelFailed) -> None:
        """Tells what could not be done."""
        self._tell_problem(message.sentence)

    def _tell_problem(self, sentence: str) -> None:
        if not self.is_current:
            self._playground.say(sentence, "error")
        self.query_one(Reveal).tell(f"! {sentence}")
        self.show()

    def on_label_told(self, message: LabelTold) -> None:
        """Says something above the prompt."""
        self.query_one(Reveal).tell(message.sentence)

    def on_response_chosen(self, message: ResponseChosen) -> None:
        """Takes a click on a number for the key."""
        self.action_choose(message.place)

    def on_figures_read(self, message: FiguresRead) -> None:
        """Shows the figures."""
        self.app.push_screen(LabelTextScreen("figures", message.text))

    def show(self) -> None:
        """Shows how it stands: the question that is new, or what is waited for."""
        session = self.session
        question = None if session is None else session.question
        for name in ("#label-prompt", "#label-responses"):
            self.query_one(name).display = question is not None
        self.query_one(Waiting).display = question is None
        if session is not None and question is None:
            self.query_one(Waiting).tell(session.waits_for)
        elif question is not None and question is not self._shown:
            self.query_one(PromptView).show(question.prompt)
            self.query_one(Responses).show(question)
            if self._shown is None or len(self._shown) != len(question):
                self.refresh_bindings()
                self.show_figures()
        self._shown = question

    def show_figures(self) -> None:
        """Shows the line of figures, with the marks of the question."""
        if (session := self.session) is not None:
            self.query_one(LabelStatus).show(session.tally(), session.wishes.goal, session.marks)

    def _keep(self, answer: Answer, question: Question, pressed: tuple[int, float] | None = None) -> None:
        """Has an answer to a question kept; until it is, no other one is taken."""
        if self.session is not None and self._answerable() is not None:
            self._keeping.begin(pressed)
            self._work(self.session.answer(answer, question))

    def _strengthen(self) -> None:
        """Has the last choice made stronger."""
        if self.session is not None and self._keeping.strengthen():
            self._work(self.session.strengthen())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key means something now: a number only where there is such a response."""
        question = None if self.session is None else self.session.question
        return action != "choose" or int(str(parameters[0])) < (2 if question is None else len(question))

    def action_choose(self, place: int, much: bool = False) -> None:
        """Says that a response is the better one; the same once more, at once, that it is much better."""
        now = self._clock()
        if self._keeping.repeats(place, now):
            self._strengthen()
        elif (question := self._answerable()) is not None and place < len(question):
            self._keep(choice(place, len(question), 2 if much else 1), question, (place, now))

    def action_say_alike(self, verdict: str) -> None:
        """Says that no response is better."""
        if (question := self._answerable()) is not None:
            self._keep(alike(verdict, len(question)), question)

    def action_skip(self) -> None:
        """Leaves the pair unjudged."""
        if (question := self._answerable()) is not None:
            self._keep(SKIP, question)

    def action_undo(self) -> None:
        """Takes the last label back, and the one before it the next time."""
        if self.session is None:
            return
        if self._keeping.begin_undo(self.session.labelling.writes.locked):
            self._work(self.session.undo())
        elif self._keeping.refused:
            self.query_one(Reveal).tell(REFUSED)

    def action_flag(self) -> None:
        """Marks the pair for somebody to look at, or takes the mark off; it is kept with the vote."""
        if self.session is not None and self._answerable() is not None:
            self.session.labelling.flagged = not self.session.labelling.flagged
            self.show_figures()

    def action_note(self) -> None:
        """Asks for a note, which is kept with the vote."""
        if self.session is not None and self._answerable() is not None:
            label_asking.ask_note(self.app, self.session.labelling, self.show_figures)

    def action_rank(self) -> None:
        """Asks for an order of all responses."""
        if (question := self._answerable()) is not None:
            label_asking.ask_order(self.app, question, self._keep)

    def action_edit(self) -> None:
        """Asks which response to begin with, and then for the better text."""
        if (question := self._answerable()) is not None:
            label_asking.ask_edit(self.app, question, self._keep)

    def action_resample(self) -> None:
        """Draws other responses to the prompt, or tries again where drawing has failed."""
        if self.session is not None and self._is_free():
            self._work(self.session.resample())

    def action_guidelines(self) -> None:
        """Shows what labelers go by."""
        if self.session is not None:
            self.app.push_screen(LabelTextScreen("guidelines", self.session.sitting.guidelines))

    def action_figures(self) -> None:
        """Reads all figures of the database."""
        if self.session is not None:
            self._work(self.session.read_figures())

    def action_scroll_all(self, pages: int) -> None:
        """Scrolls all responses."""
        self.query_one(Responses).scroll_pages(pages)

    def action_copy(self) -> None:
        """Puts prompt and responses on the clipboard, as they stand on the screen."""
        if self.session is not None:
            self.app.copy_to_clipboard(self.session.words)
            self.query_one(Reveal).tell("prompt and responses are on the clipboard")

    def action_round(self) -> None:
        """Shows what a new round would do, or how the one that runs stands."""
        if self.session is not None:
            self.query_one(RoundLine).plan(self.session)

    def on_next_round(self, message: NextRound) -> None:
        """Labels what the round has made."""
        if self.session is not None:
            self.open(replace(self.session.wishes, models=message.models, scorer=message.scorer))
