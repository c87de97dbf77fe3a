"""The new round: one line about it under the status, the dialog that starts and stops it, and what runs it."""

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.core.errors import EngineError
from engine.data.labels.agreement import longer_won
from engine.data.labels.store import read_labels
from slmctl.console.safe import clean, one_line
from slmctl.label.rounds import plan_round, run_round, stop_round
from slmctl.label.statistics import COMPARING, percent, scorer_agrees
from slmctl.tui.label.messages import LabelProblem, RoundAccepted, RoundEnded, RoundPlanned, RoundProgressed
from slmctl.tui.label.round_state import RoundState
from slmctl.tui.label.screen_session import ScreenSession

if TYPE_CHECKING:
    from slmctl.tui.app import Playground


class RoundScreen(ModalScreen[str | None]):
    """Shows a round; returns "start", "stop", "next" or "again", None if it was closed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back to labeling", id="label.round_back"),
        Binding("enter", "go_on", "Go on", id="label.round_go"),
        Binding("s", "stop", "Stop", id="label.round_stop"),
        Binding("n", "again", "Another round", id="label.round_again"),
        Binding("y", "copy", "Copy the command", id="label.round_copy"),
    ]

    def __init__(self, state: RoundState) -> None:
        super().__init__()
        self.state = state

    def compose(self) -> ComposeResult:
        """The text in a frame, and the keys."""
        with VerticalScroll(id="label-round") as frame:
            frame.border_title = Content("new round")
            yield Static("", markup=False, id="label-round-text")
            yield Static("", markup=False, id="label-round-keys")

    def on_mount(self) -> None:
        """Shows the state."""
        self.refresh_state()

    def refresh_state(self) -> None:
        """Shows the current state."""
        self.query_one("#label-round-text", Static).update(Content(clean("\n".join(self.state.lines()))))
        self.query_one("#label-round-keys", Static).update(Content.styled(f"\n{self._keys()}", "bold"))

    def action_go_on(self) -> None:
        """Starts or resumes the round, or labels its new policy."""
        if self.state.done:
            self.dismiss("next")
        elif not self.state.running:
            self.dismiss("start")

    def action_stop(self) -> None:
        """Stops the round if it is running."""
        if self.state.running:
            self.dismiss("stop")

    def action_again(self) -> None:
        """Plans another round with the current labels, in place of labeling the new policy."""
        if self.state.done or self.state.error:
            self.dismiss("again")

    def action_copy(self) -> None:
        """Copies the command that compares the policies, once the new one exists."""
        if self.state.done:
            cast("Playground", self.app).copy(self.state.command)

    def _keys(self) -> str:
        if self.state.done:
            return f"enter: label {clean(self.state.planned.models[0])} · n: another round · esc: back"
        if self.state.running:
            return "esc: back to labeling, the round keeps running · s: stop it"
        if self.state.error:
            return "enter: resume · n: another round · esc: back"
        return "enter: start · esc: cancel"


class RoundLine(Static):
    """The state of the round, hidden without one. Runs one round at a time; `home` is the folder of runs."""

    def __init__(self, home: Path) -> None:
        super().__init__("", markup=False)
        self._home = home
        self._session: ScreenSession | None = None  # the one that a round was planned from
        self._state: RoundState | None = None  # the round that was started last
        self._draft: RoundState | None = None  # one that may be started
        self._dialog: RoundScreen | None = None  # the one that was opened last
        self.display = False

    def plan(self, session: ScreenSession) -> None:
        """Shows the plan of a round, or the state of the one that was started."""
        self._session = session
        self._work(self._plan(session, again=False))

    async def _plan(self, session: ScreenSession, again: bool) -> None:
        if again or self._state is None:
            try:
                self._draft = await asyncio.to_thread(planned_state, session, self._home)
            except EngineError as error:
                self.post_message(LabelProblem(str(error)))
                return
        self.post_message(RoundPlanned())

    async def _run(self) -> None:
        """Runs the draft, or resumes the round that failed."""
        self._state, self._draft = self._draft or self._state, None
        assert self._state is not None, "plan first"
        self._state.running, self._state.error, self._state.stages = True, "", {}
        try:
            async for progress in run_round(self._state.planned, self._home, os.environ):
                self.post_message(RoundProgressed(progress))
        except EngineError as error:
            self.post_message(RoundEnded(str(error)))
        else:
            self.post_message(RoundEnded())

    async def _stop(self) -> None:
        if self._state is not None:
            try:
                await asyncio.to_thread(stop_round, self._state.planned, self._home)
            except EngineError as error:
                self.post_message(LabelProblem(str(error)))

    def on_round_planned(self, _: RoundPlanned) -> None:
        """Opens the dialog."""
        if (state := self._draft or self._state) is not None:
            self._dialog = RoundScreen(state)
            self.app.push_screen(self._dialog, self._decide)

    def on_round_progressed(self, message: RoundProgressed) -> None:
        """Shows the progress."""
        if self._state is not None:
            self._state.stages[message.progress.stage] = message.progress
        self._show()

    def on_round_ended(self, message: RoundEnded) -> None:
        """Shows the result."""
        if (state := self._state) is not None:
            state.running, state.done, state.error = False, not message.error, message.error
            app = cast("Playground", self.app)
            if app.current_mode != "label":
                app.say(f"{state.planned.name} {'failed' if message.error else 'is ready'}: see Label")
        self._show()

    def _decide(self, decision: str | None) -> None:
        """Carries out the decision made in the dialog."""
        if decision == "start":
            self._work(self._run())
            return
        self._draft = None
        if decision == "stop":
            self._work(self._stop())
        elif decision == "next" and (state := self._state) is not None:
            self._state = None
            self.post_message(RoundAccepted(state.planned.models, state.planned.scorer))
        elif decision == "again" and self._session is not None:
            self._work(self._plan(self._session, again=True))
        self._show()

    def _show(self) -> None:
        text = "" if self._state is None else self._state.short
        self.update(Content(one_line(text)))
        self.display = bool(text)
        self.set_class(self._state is not None and self._state.done, "-ready")
        if self._dialog is not None:
            self._dialog.call_later(self._dialog.refresh_state)  # it may not be composed yet, or be closing

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        self.run_worker(work, group="round")


def planned_state(session: ScreenSession, home: Path) -> RoundState:
    """A round planned from a session's labels. Raises: EngineError as `plan_round`."""
    setup = session.setup
    labels = [label for label in read_labels(setup.database) if label.verdict in COMPARING]
    policy, reason = _start(session)
    longest = int(setup.recipe.sampling["max_new_tokens"])
    planned = plan_round(policy, setup.recipe.scorer, setup.database, len(labels), home, setup.source, longest)
    opinions = [agrees for label in labels if (agrees := scorer_agrees(label)) is not None]
    before = f" ({setup.recipe.scorer} before: {sum(opinions) / len(opinions):.0%} of all)" if opinions else ""
    return RoundState(planned, reason, before, longer_won(labels))


def _start(session: ScreenSession) -> tuple[str, str]:
    """The policy that a round starts from, and why: of two the preferred one."""
    models, wins = session.setup.recipe.models, session.statistics().wins
    if len(models) == 1:
        return models[0], ""
    if wins.rate is None or wins.rate < 0.5:
        return models[0], "" if wins.rate is None else f", which won {1 - wins.rate:.0%} of your votes"
    return models[1], f", which won {percent(wins)} of your votes"
