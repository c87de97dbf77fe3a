"""The Chat mode: one to four models reply to the same prompt, side by side, from the same seed.

The screen connects keys and messages to the state (slmctl/chat/chat.py) and shows the state. Slash commands are run by
slash_commands.py, replies are sampled by reply_streams.py, votes are saved by slmctl/chat/votes.py.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static, TextArea

from engine.core.errors import EngineError
from engine.run.inputs import NONE
from slmctl.chat.chat import WAIT_FOR_REPLIES, Chat, ReplyRequest
from slmctl.chat.conversation import ChatError, Reply, check_models
from slmctl.chat.related_models import label_database
from slmctl.chat.sessions import Session, SessionFiles, SessionSummary
from slmctl.chat.votes import NO_REPLY, VoteRecorder
from slmctl.console.safe import clean
from slmctl.tui.app import Playground
from slmctl.tui.chat import prompt_box
from slmctl.tui.chat.dialogs import EditScreen, SamplingScreen, SessionsScreen
from slmctl.tui.chat.lens import KINDS, OFF, lens_scale
from slmctl.tui.chat.prompt_box import PromptBox, PromptSent
from slmctl.tui.chat.replies import CheckpointBar, CheckpointClicked, ReplyPane, Turns
from slmctl.tui.chat.reply_streams import ReplyStreams
from slmctl.tui.chat.slash_commands import CommandInterpreter
from slmctl.tui.chat.status_lines import HELP, NoteLine, key_hint, settings_line, welcome
from slmctl.tui.editor import edit_in_editor
from slmctl.tui.messages import OpenChat

UPDATES_A_SECOND = 25  # of replies in progress
SINGLE_TURN = "{}: trained on single turns only, so a second turn is new to it; /new starts a new conversation"
JUST_ENDED_S = 1.0  # an Esc this soon after the replies ended was meant to stop them, and does not leave Chat
ROOMY = 16  # rows; on a lower screen all lines but the replies and the box are hidden


class ChatScreen(Screen[None]):
    """The Chat mode."""

    HELP = HELP
    AUTO_FOCUS = "PromptBox"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop, back", id="chat.stop", show=False),
        Binding("ctrl+o", "sampling", "Sampling", id="chat.sampling"),
        Binding("f4", "editor", "$EDITOR", id="chat.editor"),
    ]

    app = getters.app(Playground)
    box = getters.query_one(PromptBox)
    turns = getters.query_one(Turns)

    def __init__(self) -> None:
        super().__init__()
        start = self.app.start
        names = ("session", "system", "ref", "reward", "db", "annotator")
        session, system, ref, reward, db, annotator = (str(start.options.get(name) or "") for name in names)
        self._typed = Session(session, start.models, system, start.sampling, start.seed, ref, reward)
        self.chat = Chat(start.home, Session(""))
        self.files = SessionFiles(start.home)
        self.names: Mapping[str, Sequence[str]] = {}  # that commands can be completed to
        self._file_lock = asyncio.Lock()
        self._saved: Session | None = None  # as it was saved or opened last
        self._is_saved = True
        self.streams = ReplyStreams(lambda: self.app.sampler, self._spawn, partial(self.call_later, self._reply_ended))
        self._label_database = partial(label_database, db or None, home=start.home)
        self._votes = VoteRecorder(
            self.chat, annotator or "somebody", self._label_database, partial(self.call_later, self._vote_recorded)
        )
        self._commands = CommandInterpreter(self, lambda: self.app.sampler)

    def compose(self) -> ComposeResult:
        """Settings, turns, lens legend, checkpoints, note, prompt box, key hint."""
        yield Static("", markup=False, id="chat-head")
        yield Turns(self.chat, self.streams, id="chat-turns")
        yield Static("", markup=False, id="chat-legend")
        yield CheckpointBar(id="chat-checkpoints")
        yield NoteLine("chat-note")
        yield PromptBox(lambda text: prompt_box.completions(text, self.names), id="chat-box")
        yield Static("", markup=False, id="chat-hint")

    @property
    def focused_pane(self) -> ReplyPane | None:
        """The selected reply; a reply of an earlier conversation keeps the focus until it is removed."""
        pane = self.focused
        return pane if isinstance(pane, ReplyPane) and pane.serial in self.chat.serials else None

    # opening and closing

    async def on_mount(self) -> None:
        """Opens the session given on the command line, or a new one with the given models."""
        self._clock = self.set_interval(1 / UPDATES_A_SECOND, self._show_partial, pause=True)
        await self._find_names()
        try:
            self.open_session(await self.on_disk(self.files.first, self._typed))
        except EngineError as error:
            self.open_session(self.files.first(Session("", sampling=self._typed.sampling)))
            self.tell(str(error), problem=True)

    async def on_unmount(self) -> None:
        """Saves what is not saved yet, and closes the label databases."""
        if self._needs_saving():
            with suppress(EngineError):  # an earlier attempt has reported it
                self.files.save(self.chat.session)
        self.app.end_with(await self._votes.close())

    async def on_disk(self, job: Callable[..., Any], *args: Any) -> Any:
        """The result of a job on files, run beside the event loop after all earlier ones. Raises: what it raises."""
        async with self._file_lock:
            return await asyncio.to_thread(job, *args)

    def on_open_chat(self, message: OpenChat) -> None:
        """Continues with the models that another mode passes, in a new conversation if they differ."""
        with self._reporting():
            models = check_models(message.models)
            if models != self.chat.session.models:
                new = replace(self.chat.session, name=self.files.new_name(), named=False, turns=())
                self.open_session(replace(new, models=models))

    def open_session(self, session: Session) -> None:
        """Shows another session, and opens its models before the first prompt."""
        self.streams.stop()
        self.chat.open(session)
        self._saved = session
        self.box.sent = [prompt_box.escape_prompt(turn.prompt) for turn in session.turns if turn.prompt]
        self.tell("")
        self.set_models(session.models)

    def set_models(self, models: Sequence[str]) -> None:
        """Continues with other models."""
        self.chat.session = replace(self.chat.session, models=tuple(models))
        for model in models:
            self._spawn(self._open_model(model))
        self.refresh_all()
        self._spawn(self.update_related())

    async def _open_model(self, model: str) -> None:
        try:
            loaded = await self.app.sampler.load(model)
        except EngineError as error:
            self.tell(str(error), problem=True)
        else:
            self.chat.has_template[model] = loaded.chat
            self.refresh_all()

    async def update_related(self) -> None:
        """Finds the models related to those of the chat, and shows them."""
        await asyncio.to_thread(self.chat.find_related)
        self._refresh_lines()

    async def _find_names(self) -> None:
        try:
            self.names = await self.on_disk(prompt_box.find_names, self.chat.home)
        except EngineError as error:
            self.tell(str(error), problem=True)

    # prompts and replies

    async def on_prompt_sent(self, message: PromptSent) -> None:
        """Sends a prompt or runs a command; if that fails, the text returns to the box with an error."""
        text = message.text
        self.tell("")
        try:
            command = prompt_box.parse(text)
            if command is None:
                await self.update_related()
                self._sample(self.chat.send(prompt_box.unescape_prompt(text)))
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

    def _reply_ended(self, request: ReplyRequest, reply: Reply) -> None:
        """Shows a reply, and saves the conversation once all models have replied."""
        if not self.streams.active:
            self._clock.pause()
        if not self.chat.add_reply(request, reply):
            return
        self.turns.refresh_turn(request.serial)
        if request.by == request.model and not self.chat.busy:
            self.query_one(NoteLine).clear_if(WAIT_FOR_REPLIES)
            self._save()
            if self.chat.turns[-1].failed and not self.box.text:
                self.fill_prompt(prompt_box.escape_prompt(self.chat.turns[-1].prompt))
        self._refresh_lines()

    def regenerate(self) -> None:
        """Replies to the last prompt again; if a reply is selected, the first new one is selected then."""
        selected = self.focused_pane is not None
        self._sample(self.chat.regenerate())
        if selected:
            self.call_after_refresh(self.action_focus_replies)

    def _save(self) -> None:
        self._spawn(self._save_changes())

    def _needs_saving(self) -> bool:
        return bool(self.chat.turns) and self.chat.session != self._saved

    async def _save_changes(self) -> None:
        """Saves the conversation if it has changed; shows another name that it was saved under, or why it was not."""
        if not self._needs_saving():
            return
        session = self._saved = self.chat.session
        try:
            name = (await self.on_disk(self.files.save, session)).name
        except EngineError as error:
            self._is_saved, self._saved = False, None
            self.tell(str(error), problem=True)
        else:
            self._is_saved = True
            if session.name == self.chat.session.name != name:
                self.chat.session = replace(self.chat.session, name=name)
                self.tell(f"another chat writes to {session.name}, so this conversation is saved as {name}")
        self._refresh_lines()

    # votes and edits

    def vote(self, verdict: str, number: int | None = None) -> None:
        """Saves a vote on the selected turn: for reply `number`, or on all replies alike.

        With "none", withdraws the last vote on or edit of the turn. Raises: ChatError.
        """
        serial = self._target()[0]
        self._spawn(self._votes.withdraw(serial) if verdict == NONE else self._votes.vote(serial, verdict, number))

    def edit_reply(self, number: int | None = None) -> None:
        """Opens a reply for editing, by default the selected one. Raises: ChatError without a reply."""
        ballot = self._votes.edit_ballot(*self._reply_numbered(number))
        reply = ballot.replies[0]

        def save(text: str | None) -> None:
            if text is not None:
                self._spawn(self._votes.save_edit(ballot, text))

        self.app.push_screen(EditScreen(ballot.turn.prompt, reply.by, reply.text), save)

    def _vote_recorded(self, serial: int, sentence: str, problem: bool) -> None:
        """Shows the vote on a turn, now that it is on disk."""
        self.turns.refresh_turn(serial)
        self.tell(sentence, problem)
        self._save()

    def _target(self) -> tuple[int, str]:
        """The turn and model that keys and commands act on: those of the selected reply, else of the last turn.

        Raises: ChatError without a turn.
        """
        pane = self.focused_pane
        return (pane.serial, pane.model) if pane is not None else self.chat.default_target()

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
        selected = None if pane is None else (pane.serial, pane.model)
        if self.streams.stop(lambda key: selected is None or key[:2] == selected):
            return
        if pane is not None:
            self.box.focus()
        elif time.monotonic() - max(self.chat.ended_at.values(), default=0.0) > JUST_ENDED_S:
            await self.app.run_action("back")

    def action_vote(self, verdict: str, number: int | None = None) -> None:
        """Saves a vote, or withdraws the last one."""
        with self._reporting():
            self.vote(verdict, number)

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
            self.app.copy(clean(reply.text))

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
                panes[min(pane.number, len(panes)) - 1].focus()

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

    def action_sampling(self) -> None:
        """Opens the sampling settings."""
        session = self.chat.session

        def apply(values: Mapping[str, float] | None) -> None:
            if values is not None:
                self.chat.set_sampling(values)
                self._refresh_lines()

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
        self.turns.show(welcome(self.chat, self.names.get("model", ()), self._label_database(self.chat.session.models)))
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
