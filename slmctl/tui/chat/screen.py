"""The Chat mode: one to four models answer the same prompt, side by side, from the same seed.

This file is the wiring: keys and messages in, the state (chatting/chat.py) changed, the panes shown anew. What commands
that begin with a slash do stands in tui/chat/orders.py, what keys on replies do in tui/chat/replying.py, what the lines
around the turns say in tui/chat/surroundings.py.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static, TextArea

from engine.core.errors import EngineError
from slmctl.chat.conversation import check_models
from slmctl.chat.run_models import label_file
from slmctl.chat.sampling_settings import SAMPLING
from slmctl.chat.sessions import Session, Sessions
from slmctl.chat.state import REPLIES_COME, Chat, Wanted
from slmctl.chat.votes import Ballots
from slmctl.tui.chat import replying
from slmctl.tui.chat.ballot_box import BallotBox
from slmctl.tui.chat.keeper import Keeper, first_session, typed_session
from slmctl.tui.chat.lines import HELP, welcome
from slmctl.tui.chat.note_line import NoteLine
from slmctl.tui.chat.orders import obey
from slmctl.tui.chat.prompt_box import PromptBox
from slmctl.tui.chat.reply_pane import ReplyPane
from slmctl.tui.chat.sampling_dialog import SamplingScreen
from slmctl.tui.chat.scrubber import Scrubber
from slmctl.tui.chat.slash import Completion, There, completions, names_there, order_of, prompt_of, typed_for
from slmctl.tui.chat.surroundings import show_lines
from slmctl.tui.chat.talker import Talker
from slmctl.tui.chat.turns import Turns
from slmctl.tui.editor import edited_outside
from slmctl.tui.messages import CheckpointClicked, ModelMet, OpenChat, PromptSent, ReplyEnded, SessionKept, VoteKept

if TYPE_CHECKING:
    from slmctl.tui.app import Playground
    from slmctl.worker.sampler import Sampler

REPAINTS = 25  # a second, while replies stream
BEYOND = "{} learnt from single questions, and never saw a second turn like this one; /new begins anew"
JUST_ENDED_S = 1.0  # an esc that was meant to stop a reply and comes so late does not leave the chat


class ChatScreen(Screen[None]):
    """The Chat mode."""

    HELP = HELP
    AUTO_FOCUS = "PromptBox"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop, back", id="chat.stop", show=False),
        Binding("ctrl+o", "sampling", "Sampling", id="chat.sampling"),
        Binding("f4", "editor", "$EDITOR", id="chat.editor"),
    ]

    def __init__(self) -> None:
        super().__init__()
        start = self.playground.start
        self.chat = Chat(start.home, Session(""))
        self.there = There()
        self.ended_at: dict[int, float] = {}  # by serial, when the last reply had come
        self.keeper = Keeper(Sessions(start.home), self.post_message)
        self.talker = Talker(lambda: self.sampler, self.spawn, self.post_message)
        self.labels_of = partial(label_file, str(start.options.get("db") or "") or None, home=start.home)
        self._ballots = Ballots(str(start.options.get("annotator") or "somebody"))
        self.ballots = BallotBox(self._ballots, self.post_message)
        self._is_kept = True

    def compose(self) -> ComposeResult:
        """What holds, the turns, what the shades mean, other checkpoints, the last sentence said, the box, its hint."""
        yield Static("", markup=False, id="chat-head")
        yield Turns(self.chat, id="chat-turns")
        yield Static("", markup=False, id="chat-legend")
        yield Scrubber(id="chat-scrubber")
        yield NoteLine("chat-note")
        yield PromptBox(self._completions, id="chat-box")
        yield Static("", markup=False, id="chat-hint")

    @property
    def playground(self) -> "Playground":
        """The app."""
        return cast("Playground", self.app)

    @property
    def sampler(self) -> "Sampler":
        """Who draws the replies."""
        return self.playground.sampler

    @property
    def box(self) -> PromptBox:
        """Where prompts are typed."""
        return self.query_one(PromptBox)

    @property
    def turns(self) -> Turns:
        """The turns."""
        return self.query_one(Turns)

    @property
    def focused_pane(self) -> ReplyPane | None:
        """The reply that has the focus."""
        return self.focused if isinstance(self.focused, ReplyPane) else None

    async def on_mount(self) -> None:
        """Opens the session that was asked for, or a new one with the models that were."""
        self._clock = self.set_interval(1 / REPAINTS, self._repaint, pause=True)
        start, sessions = self.playground.start, self.keeper.sessions
        await self._look_about()
        try:
            self.open_session(await self.keeper.do(first_session, start, sessions))
        except EngineError as error:
            self.open_session(replace(typed_session(start, sessions), models=()))
            self.tell(str(error), problem=True)

    def on_unmount(self) -> None:
        """Keeps what has not been kept yet, and gives the label databases back."""
        self._ballots.close()
        self.keeper.keep_now(self.chat.session)
        self.playground.end_with(self.ballots.fault)

    def on_open_chat(self, message: OpenChat) -> None:
        """Talks to the models that another mode hands over: in a new conversation, if one has begun."""
        try:
            models = check_models(message.models)
        except EngineError as error:
            self.tell(str(error), problem=True)
            return
        if models != self.chat.session.models:
            self.open_session(replace(self.fresh(), models=models))

    def fresh(self) -> Session:
        """A new conversation with the models and settings of this one."""
        return replace(self.chat.session, name=self.keeper.sessions.new_name(), named=False, turns=())

    def open_session(self, session: Session) -> None:
        """Shows another session, and opens its models ahead of the first prompt."""
        self.talker.stop(lambda _: True)
        self.chat.open(session)
        self.keeper.know(session)
        self.box.recalled = [typed_for(turn.prompt) for turn in session.turns if turn.prompt]
        self.tell("")
        self.talk_to(session.models)

    def talk_to(self, models: Sequence[str]) -> None:
        """Goes on with other models."""
        self.chat.session = replace(self.chat.session, models=tuple(models))
        for model in models:
            self.talker.meet(model)
        self.refresh_all()
        self.spawn(self.look_around())

    async def look_around(self) -> None:
        """Finds out what goes with the models now, and shows it."""
        await asyncio.to_thread(self.chat.look_around)
        self._lines()

    async def _look_about(self) -> None:
        try:
            self.there = await self.keeper.do(names_there, self.playground.start.home)
        except EngineError as error:
            self.tell(str(error), problem=True)

    async def on_prompt_sent(self, message: PromptSent) -> None:
        """Sends a prompt or does what a command says; what cannot be done returns to the box with a sentence."""
        text = message.text
        self.tell("")
        try:
            order = order_of(text)
            if order is None:
                await self.look_around()
                self.begin(self.chat.send(prompt_of(text)))
                if beyond := self.chat.beyond():
                    self.tell(BEYOND.format(" and ".join(beyond)))
            else:
                await obey(self, order)
        except EngineError as error:
            if not self.box.text:
                self.box.fill(text)
            self.tell(str(error), problem=True)
        self.spawn(self._look_about())

    def begin(self, wanted: Sequence[Wanted]) -> None:
        """Has replies drawn, and shows that they come."""
        for one in wanted:
            if not one.background:
                self.turns.drawing.add(one.key)
            self.talker.begin(one)
        if wanted:
            self._clock.resume()
        self.refresh_all()
        self.keep()

    def _repaint(self) -> None:
        for key, text in self.talker.grown().items():
            self.turns.grow(key, text)

    def on_reply_ended(self, message: ReplyEnded) -> None:
        """Keeps a reply; once all models have answered, the conversation."""
        wanted, reply = message.wanted, message.reply
        self.turns.over(wanted.key)
        if not self.talker.active:
            self._clock.pause()
        if not self.chat.take(wanted, reply):
            return
        self.turns.refresh_turn(wanted.serial)
        if wanted.by == wanted.model and not self.chat.busy:
            self.ended_at[wanted.serial] = time.monotonic()
            self.query_one(NoteLine).forget(REPLIES_COME)
            self.keep()
            if self.chat.turns[-1].failed and not self.box.text:
                self.box.fill(typed_for(self.chat.turns[-1].prompt), selected=True)
        self._lines()

    def on_model_met(self, message: ModelMet) -> None:
        """Notes whether a model has a chat template, or says why it cannot be opened."""
        if message.error:
            self.tell(message.error, problem=True)
        else:
            self.chat.chatty[message.model] = message.chat
            self.refresh_all()

    def keep(self) -> None:
        """Has the conversation saved."""
        self.spawn(self.keeper.keep(self.chat.session))

    def on_session_kept(self, message: SessionKept) -> None:
        """Takes over the name under which the conversation was kept, or says why it is not."""
        self._is_kept = not message.error
        if message.error:
            self.tell(message.error, problem=True)
        elif message.was == self.chat.session.name != message.name:
            self.chat.session = replace(self.chat.session, name=message.name)
            self.tell(f"another chat writes to {message.was}, so this one is kept as {message.name}")
        self._lines()

    def on_vote_kept(self, message: VoteKept) -> None:
        """Shows what a person has said of a turn, now that it is on the disk."""
        self.chat.judge(message.serial, message.judged, message.edited)
        self.turns.refresh_turn(message.serial)
        self.tell(message.words, message.problem)
        self.keep()

    def on_checkpoint_clicked(self, message: CheckpointClicked) -> None:
        """Looks at the checkpoint that was clicked."""
        self.attempt(lambda: replying.look_at(self, message.by))

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Shows what a command could become."""
        if event.text_area is self.box:
            self._lines()

    def _completions(self, text: str) -> list[Completion]:
        return completions(text, self.there)

    def on_resize(self) -> None:
        """Makes room for the replies on a low screen."""
        self._lines()

    def on_descendant_focus(self) -> None:
        """Shows the checkpoints of the model whose reply has the focus."""
        self._lines()

    # keys

    async def action_stop(self) -> None:
        """Stops the focused reply, else all; else leaves the replies for the box, and the box for the mode before."""
        pane = self.focused_pane
        place = None if pane is None else (pane.serial, pane.view.model)
        if self.talker.stop(lambda key: place is None or key[:2] == place):
            return
        if pane is not None:
            self.box.focus()
        elif time.monotonic() - max(self.ended_at.values(), default=0.0) > JUST_ENDED_S:
            await self.app.run_action("back")

    async def action_reply(self, what: str, number: int = 0) -> None:
        """Does what a key on a reply asks for (replying.py)."""
        if what in replying.LOOK_FIRST:
            await self.look_around()
        self.attempt(lambda: replying.KEYS[what](self, number))

    def action_replies(self) -> None:
        """Goes to the first reply of the last turn."""
        panes = self.turns.panes(self.chat.serials[-1]) if self.chat.turns else []
        if panes:
            panes[0].focus()

    def action_editor(self) -> None:
        """Hands the prompt to the person's own editor."""
        self.attempt(lambda: self.box.fill(edited_outside(self.app, self.box.text, os.environ)))

    def look_through(self, kind: str) -> None:
        """Colours tokens by a number, or by none."""
        self.turns.lens = kind
        self.refresh_all()

    def action_sampling(self) -> None:
        """Opens the sampling panel."""
        session = self.chat.session
        self.app.push_screen(SamplingScreen({**session.sampling, "seed": session.seed}), self.take_settings)

    def take_settings(self, chosen: Mapping[str, float] | None) -> None:
        """Takes settings of sampling over; they hold from the next draw on."""
        if chosen is not None:
            session = self.chat.session
            sampling = {**session.sampling, **{name: chosen[name] for name in SAMPLING if name in chosen}}
            self.chat.session = replace(session, sampling=sampling, seed=int(chosen.get("seed", session.seed)))
            self._lines()

    # what is shown

    def attempt(self, act: Callable[[], object]) -> None:
        """Does something; what cannot be done is said."""
        self.tell("")
        try:
            act()
        except EngineError as error:
            self.tell(str(error), problem=True)

    def spawn(self, job: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Runs a task beside the screen, and returns how to cancel it."""
        return self.run_worker(job, exit_on_error=True).cancel

    def tell(self, sentence: str, problem: bool = False) -> None:
        """Shows a sentence above the box until something else is done."""
        self.query_one(NoteLine).tell(sentence, problem)

    def refresh_all(self) -> None:
        """Draws everything anew."""
        self.turns.show(welcome(self.chat, self.there.models, self.labels_of(self.chat.session.models)))
        self._lines()

    def _lines(self) -> None:
        show_lines(self, self._is_kept)
