"""The Chat mode: one to four models reply to the same prompt, side by side, from the same seed.

The screen connects keys and messages to the state (slmctl/chat/chat.py) and shows the state. Slash commands are run by
slash_commands.py, replies are sampled by reply_streams.py, votes are saved by slmctl/chat/votes.py.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Protocol, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static, TextArea

from engine.core.errors import EngineError
from slmctl.chat.chat import WAIT_FOR_REPLIES, Chat, ReplyRequest
from slmctl.chat.conversation import ChatError, check_models
from slmctl.chat.related_models import label_database
from slmctl.chat.sessions import Session, SessionFiles, SessionSummary
from slmctl.chat.votes import NO_REPLY, VoteRecorder
from slmctl.console.safe import clean
from slmctl.tui.chat import slash_commands
from slmctl.tui.chat.checkpoint_bar import CheckpointBar
from slmctl.tui.chat.dialogs import EditScreen, SamplingScreen, SessionsScreen
from slmctl.tui.chat.lens import KINDS, OFF, lens_scale
from slmctl.tui.chat.messages import CheckpointClicked, ModelOpened, PromptSent, ReplyEnded, SessionSaved, VoteRecorded
from slmctl.tui.chat.prompt_box import PromptBox
from slmctl.tui.chat.reply_pane import ReplyPane
from slmctl.tui.chat.reply_streams import ReplyStreams
from slmctl.tui.chat.session_saver import SessionSaver, first_session, new_session
from slmctl.tui.chat.status_lines import HELP, NoteLine, key_hint, settings_line, welcome
from slmctl.tui.chat.turns import Turns
from slmctl.tui.editor import edit_in_editor
from slmctl.tui.messages import OpenChat
from slmctl.tui.playground import Start
from slmctl.worker.sampler import Sampler
from slmctl.worker.sampling_settings import LIMITS

UPDATES_A_SECOND = 25  # of replies in progress
SINGLE_TURN = "{}: trained on single turns only, so a second turn is new to it; /new starts a new conversation"
JUST_ENDED_S = 1.0  # an Esc this soon after the replies ended was meant to stop them, and does not leave Chat
ROOMY = 16  # rows; on a lower screen all lines but the replies and the box are hidden


class ChatHost(Protocol):
    """What the screen needs from the app."""

    start: Start

    @property
    def sampler(self) -> Sampler:
        """The current sampler."""

    def copy(self, text: str) -> None:
        """Copies a text to the clipboard."""

    def end_with(self, fault: BaseException | None) -> None:
        """Reports an error once the terminal is restored."""


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
        start = self.host.start
        self.chat = Chat(start.home, Session(""))
        self.names = slash_commands.KnownNames()
        self.saver = SessionSaver(SessionFiles(start.home), self.post_message)
        self.streams = ReplyStreams(lambda: self.sampler, self._spawn, self.post_message)
        self._label_database = partial(label_database, str(start.options.get("db") or "") or None, home=start.home)
        annotator = str(start.options.get("annotator") or "somebody")
        self._votes = VoteRecorder(
            self.chat, annotator, self._label_database, lambda result: self.post_message(VoteRecorded(result))
        )
        self._commands = slash_commands.CommandInterpreter(self)
        self._is_saved = True

    def compose(self) -> ComposeResult:
        """Settings, turns, lens legend, checkpoints, note, prompt box, key hint."""
        yield Static("", markup=False, id="chat-head")
        yield Turns(self.chat, self.streams, id="chat-turns")
        yield Static("", markup=False, id="chat-legend")
        yield CheckpointBar(id="chat-checkpoints")
        yield NoteLine("chat-note")
        yield PromptBox(lambda text: slash_commands.completions(text, self.names), id="chat-box")
        yield Static("", markup=False, id="chat-hint")

    @property
    def host(self) -> ChatHost:
        """The app."""
        return cast(ChatHost, self.app)

    @property
    def sampler(self) -> Sampler:
        """The current sampler."""
        return self.host.sampler

    @property
    def box(self) -> PromptBox:
        """The prompt box."""
        return self.query_one(PromptBox)

    @property
    def turns(self) -> Turns:
        """The widget that shows the turns."""
        return self.query_one(Turns)

    @property
    def focused_pane(self) -> ReplyPane | None:
        """The selected reply; a reply of an earlier conversation keeps the focus until it is removed."""
        pane = self.focused
        return pane if isinstance(pane, ReplyPane) and pane.serial in self.chat.serials else None

    # opening and closing

    async def on_mount(self) -> None:
        """Opens the session given on the command line, or a new one with the given models."""
        self._clock = self.set_interval(1 / UPDATES_A_SECOND, self._show_partial, pause=True)
        start, files = self.host.start, self.saver.files
        await self._find_names()
        try:
            self.open_session(await self.saver.run(first_session, start, files))
        except EngineError as error:
            self.open_session(replace(new_session(start, files), models=()))
            self.tell(str(error), problem=True)

    async def on_unmount(self) -> None:
        """Saves what is not saved yet, and closes the label databases."""
        self.saver.save_now(self.chat.session)
        self.host.end_with(await self._votes.close())

    def on_open_chat(self, message: OpenChat) -> None:
        """Continues with the models that another mode passes, in a new conversation if they differ."""
        with self._reporting():
            models = check_models(message.models)
            if models != self.chat.session.models:
                new = replace(self.chat.session, name=self.saver.files.new_name(), named=False, turns=())
                self.open_session(replace(new, models=models))

    def open_session(self, session: Session) -> None:
        """Shows another session, and opens its models before the first prompt."""
        self.streams.stop()
        self.chat.open(session)
        self.saver.opened(session)
        self.box.sent = [slash_commands.escape_prompt(turn.prompt) for turn in session.turns if turn.prompt]
        self.tell("")
        self.set_models(session.models)

    def set_models(self, models: Sequence[str]) -> None:
        """Continues with other models."""
        self.chat.session = replace(self.chat.session, models=tuple(models))
        for model in models:
            self.streams.open_model(model)
        self.refresh_all()
        self._spawn(self.update_related())

    async def update_related(self) -> None:
        """Finds the models related to those of the chat, and shows them."""
        await asyncio.to_thread(self.chat.find_related)
        self._refresh_lines()

    async def _find_names(self) -> None:
        try:
            self.names = await self.saver.run(slash_commands.find_names, self.host.start.home)
        except EngineError as error:
            self.tell(str(error), problem=True)

    # prompts and replies

    async def on_prompt_sent(self, message: PromptSent) -> None:
        """Sends a prompt or runs a command; if that fails, the text returns to the box with an error."""
        text = message.text
        self.tell("")
        try:
            command = slash_commands.parse(text)
            if command is None:
                await self.update_related()
                self._sample(self.chat.send(slash_commands.unescape_prompt(text)))
                if single := self.chat.single_turn_models():
                    self.tell(SINGLE_TURN.format(" and ".join(single)))
            else:
                if note := await self._commands.run(*command):
                    self.tell(note)
                self.refresh_all()
                self._save()
        except EngineError as error:
            if not self.box.text:
                self.box.fill(text)
            self.tell(str(error), problem=True)
        self._spawn(self._find_names())

    def _sample(self, requests: Sequence[ReplyRequest]) -> None:
        """Samples replies and shows them in progress."""
        for request in requests:
            self.streams.start(request)
        if requests:
            self._clock.resume()
        self.refresh_all()
        self._save()

    def _show_partial(self) -> None:
        for key in self.streams.take_grown():
            self.turns.show_partial(key)

    def on_reply_ended(self, message: ReplyEnded) -> None:
        """Shows a reply, and saves the conversation once all models have replied."""
        request = message.request
        if not self.streams.active:
            self._clock.pause()
        if not self.chat.add_reply(request, message.reply):
            return
        self.turns.refresh_turn(request.serial)
        if request.by == request.model and not self.chat.busy:
            self.query_one(NoteLine).clear_if(WAIT_FOR_REPLIES)
            self._save()
            if self.chat.turns[-1].failed and not self.box.text:
                self.fill_prompt(slash_commands.escape_prompt(self.chat.turns[-1].prompt))
        self._refresh_lines()

    def on_model_opened(self, message: ModelOpened) -> None:
        """Records whether a model has a chat template, or shows why it cannot be opened."""
        if message.error:
            self.tell(message.error, problem=True)
        else:
            self.chat.has_template[message.model] = message.chat
            self.refresh_all()

    def regenerate(self) -> None:
        """Replies to the last prompt again; if a reply is selected, the first new one is selected then."""
        selected = self.focused_pane is not None
        self._sample(self.chat.regenerate())
        if selected:
            self.call_after_refresh(self.action_focus_replies)

    def _save(self) -> None:
        self._spawn(self.saver.save(self.chat.session))

    def on_session_saved(self, message: SessionSaved) -> None:
        """Records the name under which the conversation was saved, or shows why it was not."""
        self._is_saved = not message.error
        if message.error:
            self.tell(message.error, problem=True)
        elif message.was == self.chat.session.name != message.name:
            self.chat.session = replace(self.chat.session, name=message.name)
            self.tell(f"another chat writes to {message.was}, so this conversation is saved as {message.name}")
        self._refresh_lines()

    # votes and edits

    def vote(self, verdict: str, number: int | None = None) -> None:
        """Saves a vote on the selected turn: for reply `number`, or on all replies alike. Raises: ChatError."""
        self._spawn(self._votes.vote(self._target()[0], verdict, number))

    def withdraw_vote(self) -> None:
        """Withdraws the last vote on or edit of the selected turn. Raises: ChatError without a turn."""
        self._spawn(self._votes.withdraw(self._target()[0]))

    def edit_reply(self, number: int | None = None) -> None:
        """Opens a reply for editing, by default the selected one. Raises: ChatError without a reply."""
        ballot = self._votes.edit_ballot(*self._reply_numbered(number))
        reply = ballot.replies[0]

        def save(text: str | None) -> None:
            if text is not None:
                self._spawn(self._votes.save_edit(ballot, text))

        self.app.push_screen(EditScreen(ballot.turn.prompt, reply.by, reply.text), save)

    def on_vote_recorded(self, message: VoteRecorded) -> None:
        """Shows the vote on a turn, now that it is on disk."""
        result = message.result
        self.chat.set_votes(result.serial, result.vote, result.edit)
        self.turns.refresh_turn(result.serial)
        self.tell(result.text, result.problem)
        self._save()

    def _target(self) -> tuple[int, str]:
        """The turn and model that keys and commands act on: those of the selected reply, else of the last turn.

        Raises: ChatError without a turn.
        """
        pane = self.focused_pane
        return (pane.serial, pane.view.model) if pane is not None else self.chat.default_target()

    def _reply_numbered(self, number: int | None) -> tuple[int, str]:
        """The turn and model of a reply, by default the selected one, else the first of the last turn."""
        serial, model = self._target()
        models = self.chat.turn(serial).models
        if number is None:
            return serial, model if self.focused_pane is not None else models[0]
        if not 1 <= number <= len(models):
            raise ChatError(NO_REPLY.format(number))
        return serial, models[number - 1]

    # keys

    async def action_stop(self) -> None:
        """Stops the selected reply, else all; if none is in progress, goes to the box, and from there back."""
        pane = self.focused_pane
        selected = None if pane is None else (pane.serial, pane.view.model)
        if self.streams.stop(lambda key: selected is None or key[:2] == selected):
            return
        if pane is not None:
            self.box.focus()
        elif time.monotonic() - max(self.chat.ended_at.values(), default=0.0) > JUST_ENDED_S:
            await self.app.run_action("back")

    def action_vote(self, verdict: str, number: int | None = None) -> None:
        """Saves a vote."""
        with self._reporting():
            self.vote(verdict, number)

    def action_withdraw_vote(self) -> None:
        """Withdraws the last vote or edit."""
        with self._reporting():
            self.withdraw_vote()

    def action_edit_reply(self) -> None:
        """Opens the selected reply for editing."""
        with self._reporting():
            self.edit_reply()

    def action_copy_reply(self) -> None:
        """Copies the selected reply to the clipboard, without control characters."""
        with self._reporting():
            reply = self.chat.shown_reply(*self._reply_numbered(None))
            if reply is None or not reply.usable:
                raise ChatError("there is no reply to copy yet")
            self.host.copy(clean(reply.text))

    async def action_select_step(self, steps: int) -> None:
        """Shows the reply of an earlier or later checkpoint of the run."""
        await self.update_related()
        with self._reporting():
            serial, model = self._target()
            self._sample(
                self.chat.select_checkpoint(serial, model, self.chat.neighboring_checkpoint(serial, model, steps))
            )

    def on_checkpoint_clicked(self, message: CheckpointClicked) -> None:
        """Shows the reply of the clicked checkpoint."""
        with self._reporting():
            self._sample(self.chat.select_checkpoint(*self._target(), message.by))

    async def action_regenerate(self) -> None:
        """Replies to the last prompt again."""
        await self.update_related()
        with self._reporting():
            self.regenerate()

    def action_select_turn(self, steps: int) -> None:
        """Selects the reply in the same place of another turn."""
        pane = self.focused_pane
        if pane is not None:
            at = self.chat.serials.index(pane.serial) + steps
            panes = self.turns.panes(self.chat.serials[at]) if 0 <= at < len(self.chat.serials) else []
            if panes:
                panes[min(pane.view.number, len(panes)) - 1].focus()

    def action_focus_replies(self) -> None:
        """Selects the first reply of the last turn."""
        panes = self.turns.panes(self.chat.serials[-1]) if self.chat.turns else []
        if panes:
            panes[0].focus()

    def action_next_lens(self) -> None:
        """Switches to the next token lens."""
        self.tell("")
        self.set_lens(KINDS[(KINDS.index(self.turns.lens) + 1) % len(KINDS)])

    def action_editor(self) -> None:
        """Opens the prompt in $EDITOR."""
        with self._reporting():
            self.box.fill(edit_in_editor(self.app, self.box.text, os.environ))

    # what the commands need (slash_commands.ChatActions)

    def set_lens(self, kind: str) -> None:
        """Colors tokens by one of their numbers, or by none."""
        self.turns.lens = kind
        self.refresh_all()

    def set_sampling(self, values: Mapping[str, float]) -> None:
        """Changes sampling settings and seed, from the next reply on."""
        session = self.chat.session
        sampling = {**session.sampling, **{name: values[name] for name in LIMITS if name in values}}
        self.chat.session = replace(session, sampling=sampling, seed=int(values.get("seed", session.seed)))
        self._refresh_lines()

    def action_sampling(self) -> None:
        """Opens the sampling settings."""
        session = self.chat.session

        def apply(values: Mapping[str, float] | None) -> None:
            if values is not None:
                self.set_sampling(values)

        self.app.push_screen(SamplingScreen({**session.sampling, "seed": session.seed}), apply)

    def choose_session(self, summaries: Sequence[SessionSummary]) -> None:
        """Opens the list of saved sessions."""

        def load(name: str | None) -> None:
            if name is not None:
                self.box.fill(f"/load {name}")
                self.box.action_send()

        self.app.push_screen(SessionsScreen(summaries), load)

    def fill_prompt(self, text: str) -> None:
        """Puts a prompt into the box, selected, so that typing replaces it."""
        self.box.fill(text, selected=True)

    # what is shown

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Clears the note, and shows an EngineError raised inside."""
        self.tell("")
        try:
            yield
        except EngineError as error:
            self.tell(str(error), problem=True)

    def _spawn(self, job: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Runs a task beside the screen, and returns a function that cancels it."""
        return self.run_worker(job, exit_on_error=True).cancel

    def tell(self, sentence: str, problem: bool = False) -> None:
        """Shows a sentence above the box until the next action."""
        self.query_one(NoteLine).show(sentence, problem)

    def refresh_all(self) -> None:
        """Updates turns and lines."""
        self.turns.show(welcome(self.chat, self.names.models, self._label_database(self.chat.session.models)))
        self._refresh_lines()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Shows the completions of the text."""
        if event.text_area is self.box:
            self._refresh_lines()

    def on_resize(self) -> None:
        """Hides lines on a low screen."""
        self._refresh_lines()

    def on_descendant_focus(self) -> None:
        """Shows the checkpoints of the selected reply's model."""
        self._refresh_lines()

    def _refresh_lines(self) -> None:
        """Updates the lines around the turns."""
        chat, size, lens = self.chat, self.app.size, self.turns.lens
        self.query_one("#chat-head", Static).update(settings_line(chat, self._is_saved, size.width))
        serial = None if self.focused_pane is None else self.focused_pane.serial
        hint = key_hint(chat, self.box.completions, self.box.text, serial)
        self.query_one("#chat-hint", Static).update(Content(hint))
        target = self._target() if chat.turns and size.height >= ROOMY else None
        legend = self.query_one("#chat-legend", Static)
        legend.display = lens != OFF and target is not None
        if lens != OFF and target is not None:
            legend.update(lens_scale(lens, chat.shown_replies(target[0]).values()).legend())
        self.query_one(CheckpointBar).show(chat, target)
