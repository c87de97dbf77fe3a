"""The new round: its state as text, one line about it under the status, the dialog that starts and stops it."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.core.errors import EngineError
from engine.core.intervals import Share
from engine.data.labels.agreement import longer_won
from engine.data.labels.store import read_labels
from slmctl.console.progress import duration
from slmctl.console.safe import clean, one_line
from slmctl.label.rounds import Round, RoundProgress, plan_round, run_round, stop_round
from slmctl.label.statistics import COMPARING, percent, scorer_agrees
from slmctl.runs.launch import command_line
from slmctl.tui.app import Playground
from slmctl.tui.label.screen_session import ScreenSession

NO_VOTES = Share(0, 0)
FEW = 10  # held-out labels; fewer say little about accuracy
STAGES = {"rm": "reward model", "ppo": "PPO"}


@dataclass
class RoundState:
    """A planned round and its progress. `accuracy_before` describes the old scorer's accuracy on the labels; `longer`
    is how often the longer response won in them."""

    planned: Round
    start_reason: str = ""
    accuracy_before: str = ""
    longer: Share = NO_VOTES
    running: bool = False
    done: bool = False
    error: str = ""
    stages: dict[str, RoundProgress] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The round in one line with the key that opens it; "" if it has not started."""
        name = self.planned.name
        accuracy = f" · reward model {self._accuracy}" if self._accuracy else ""
        if self.done:
            return f"{name} is ready: Shift+N{accuracy}"
        if self.error:
            return f"{name} failed: Shift+N for details"
        if not self.running:
            return ""
        now = list(self.stages.values())[-1:] or [RoundProgress("rm")]
        return f"{name}: {STAGES.get(now[0].stage, now[0].stage)} {_steps(now[0])} · Shift+N{accuracy}"

    @property
    def command(self) -> str:
        """The command that compares the new policy with the old one."""
        return command_line(self.planned.comparison)

    @property
    def _accuracy(self) -> str:
        """What the new reward model predicts, once known."""
        rm = self.stages.get("rm")
        accuracy = rm.metrics.get("rm/validation_accuracy") if rm is not None and rm.done else None
        return "" if rm is None or accuracy is None else f"predicts {accuracy:.0%} of the {rm.held_out} newest labels"

    def lines(self) -> Iterator[str]:
        """The text of the dialog."""
        yield from self._plan()
        for stage, progress in self.stages.items():
            yield f"{STAGES.get(stage, stage):<13} {self._progress(stage, progress)}"
        if self.error:
            yield ""
            yield f"! {self.error}"
        if self.done:
            yield from self._lengths()
            yield ""
            yield "To compare the policies, with confidence intervals (y copies the command):"
            yield self.command
            yield ""
            if "--prompts" in self.planned.comparison:
                yield "Its judge is the reward model that PPO was trained on. For an independent result, pass your own"
                yield "--judge and --prompts."
            else:
                yield "Its judge is the reward model that PPO was trained on. Without --judge, the pocket judge also"
                yield "shows what else has changed."

    def _lengths(self) -> Iterator[str]:
        """Response lengths before and after, and which length the labels preferred."""
        if (lengths := self.stages.get("ppo", RoundProgress("ppo")).lengths) is not None:
            won = self.longer
            votes = f" (the longer response won {won.rate:.0%} of {won.cases} labels)" if won.rate is not None else ""
            before, now = self.planned.policy, self.planned.models[0]
            yield f"{'length':<13} {lengths[0]:.1f} tokens from {before}, {lengths[1]:.1f} from {now}{votes}"

    def _plan(self) -> Iterator[str]:
        planned = self.planned
        reward = f"{planned.reward} is trained further" if planned.reward else "a reward model is trained"
        policy = f"{planned.policy}{self.start_reason}"
        yield f"New run {planned.name}: {reward} on {planned.labels} labels, then PPO starts from {policy}."
        if not (self.running or self.done or self.error):
            yield ""
            yield from (command_line(words) for words in planned.commands)
            yield ""
            yield self._cost
        else:
            yield ""

    @property
    def _cost(self) -> str:
        seconds = self.planned.seconds
        takes = "" if seconds is None else f"PPO takes about {duration(seconds)}. "
        return f"{takes}You can keep labeling or leave: the round runs to its end."

    def _progress(self, stage: str, progress: RoundProgress) -> str:
        if stage != "rm" or not progress.done:
            return f"{'done' if progress.done else _steps(progress)}  {progress.headline}"
        if not self._accuracy:
            return "done"
        few = "; too few for a reliable estimate" if progress.held_out < FEW else ""
        return f"done  {self._accuracy}, which were held out{few}{self.accuracy_before}"


def _steps(progress: RoundProgress) -> str:
    return f"{progress.step}/{progress.steps}" if progress.steps else "starting"


class RoundScreen(ModalScreen[str | None]):
    """Shows a round; returns "start", "stop", "next" or "again", None if it was closed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back to labeling", id="label.round_back"),
        Binding("enter", "go_on", "Continue", id="label.round_go"),
        Binding("s", "stop", "Stop", id="label.round_stop"),
        Binding("n", "again", "Another round", id="label.round_again"),
        Binding("y", "copy", "Copy the command", id="label.round_copy"),
    ]

    app = getters.app(Playground)

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
            self.app.copy(self.state.command)

    def _keys(self) -> str:
        if self.state.done:
            return f"enter: label {clean(self.state.planned.models[0])} · n: another round · esc: back"
        if self.state.running:
            return "esc: back to labeling, the round keeps running · s: stop it"
        if self.state.error:
            return "enter: resume · n: another round · esc: back"
        return "enter: start · esc: cancel"


class RoundLine(Static):
    """The state of the round, hidden without one. Runs one round at a time.

    `home` is the folder of runs; `accept` is called with a finished round whose models are to be labeled next, and
    `problem` with a sentence about what failed.
    """

    app = getters.app(Playground)

    def __init__(self, home: Path, accept: Callable[[Round], None], problem: Callable[[str], None]) -> None:
        super().__init__("", markup=False)
        self._home, self._accept, self._problem = home, accept, problem
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
            self._draft = await asyncio.to_thread(planned_state, session, self._home)
        self.call_later(self._open_dialog)

    def _open_dialog(self) -> None:
        if (state := self._draft or self._state) is not None:
            self._dialog = RoundScreen(state)
            self.app.push_screen(self._dialog, self._decide)

    async def _run(self) -> None:
        """Runs the draft, or resumes the round that failed."""
        state = self._state = self._draft or self._state
        assert state is not None, "plan first"
        self._draft = None
        state.running, state.error, state.stages = True, "", {}
        try:
            async for progress in run_round(state.planned, self._home, os.environ):
                state.stages[progress.stage] = progress
                self._show()
        except EngineError as error:
            state.error = str(error)
        state.running, state.done = False, not state.error
        if self.app.current_mode != "label":
            self.app.say(f"{state.planned.name} {'failed' if state.error else 'is ready'}: see Label")
        self._show()

    def _decide(self, decision: str | None) -> None:
        """Carries out the decision made in the dialog."""
        if decision == "start":
            self._work(self._run())
            return
        self._draft = None
        if decision == "stop" and self._state is not None:
            self._work(asyncio.to_thread(stop_round, self._state.planned, self._home))
        elif decision == "next" and (state := self._state) is not None:
            self._state = None
            self._accept(state.planned)
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

    def _work(self, work: Coroutine[Any, Any, object]) -> None:
        async def report() -> None:
            try:
                await work
            except EngineError as error:
                self._problem(str(error))

        self.run_worker(report(), group="round")


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
