"""How the new round stands, there while there is one and until what it made is labelled; it runs the round and shows
the round's own screen."""

from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual.content import Content
from textual.widgets import Static

from slmctl.console.safe import one_line
from slmctl.tui.label.round_desk import RoundDesk
from slmctl.tui.label.round_dialog import RoundScreen
from slmctl.tui.label.session import LabelSession
from slmctl.tui.messages import NextRound, RoundEnded, RoundNews, RoundPlanned

if TYPE_CHECKING:
    from slmctl.tui.app import Playground


class RoundLine(Static):
    """How the round stands; nothing where there is none. `home` is the folder of the runs."""

    def __init__(self, home: Path) -> None:
        super().__init__("", markup=False)
        self._desk = RoundDesk(home, self.post_message)
        self._session: LabelSession | None = None  # the one that a round was planned from
        self._round: RoundScreen | None = None  # the one that was opened last
        self.display = False

    def plan(self, session: LabelSession) -> None:
        """Shows what a round from this session would do, or how the one that there is stands."""
        self._session = session
        self._work(self._desk.plan(session))

    def on_round_planned(self, _: RoundPlanned) -> None:
        """Shows the round's own screen."""
        if (state := self._desk.draft or self._desk.state) is not None:
            self._round = RoundScreen(state)
            self.app.push_screen(self._round, self._decide)

    def on_round_news(self, message: RoundNews) -> None:
        """Shows how the round stands."""
        self._desk.take(message.progress)
        self._tell()

    def on_round_ended(self, message: RoundEnded) -> None:
        """Tells how the round ended."""
        self._desk.end(message.error)
        self._tell()
        app = cast("Playground", self.app)
        if app.current_mode != "label" and self._desk.state is not None:
            app.say(f"{self._desk.state.planned.name} {'failed' if message.error else 'is ready'}: see Label")

    def _decide(self, decision: str | None) -> None:
        """Does what was decided on the round's own screen."""
        state = self._desk.state
        if decision == "start":
            self._work(self._desk.run())
            return
        self._desk.draft = None
        if decision == "stop":
            self._work(self._desk.stop())
        elif decision == "next" and state is not None:
            self._desk.state = None
            self.post_message(NextRound(state.planned.models, state.planned.scorer))
        elif decision == "again" and self._session is not None:
            self._work(self._desk.plan(self._session, again=True))
        self._tell()

    def _tell(self) -> None:
        state = self._desk.state
        words = "" if state is None else state.short
        self.update(Content(one_line(words)))
        self.display = bool(words)
        self.set_class(state is not None and state.done, "-ready")
        if self._round is not None:
            self._round.call_later(self._round.refresh_state)  # it may not be composed yet, or be closing

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        self.run_worker(work, group="round")
