"""The turns of a chat, oldest first, scrolled to the newest: a view of the state in slmctl/chat/chat.py."""

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from slmctl.chat.chat import Chat, ReplyKey
from slmctl.chat.conversation import Turn
from slmctl.console.safe import clean, one_line
from slmctl.tui.chat.lens import OFF, LensScale, lens_scale
from slmctl.tui.chat.reply_pane import ReplyPane, ReplyView
from slmctl.tui.chat.reply_streams import ReplyStreams

MOST_SHOWN = 40  # turns; earlier ones belong to the conversation but are not shown
COLUMN_WIDTH = 34  # the least width of replies side by side
WIDE = 96  # the least width of a screen with replies side by side
VERDICTS = {"tie": "voted a tie", "both_bad": "voted all bad"}


class TurnBlock(Vertical):
    """One turn: the prompt above a pane for each reply, side by side if there is room, else stacked."""

    def __init__(self, serial: int, prompt: Content, views: Sequence[ReplyView]) -> None:
        super().__init__()
        self.panes = [ReplyPane(serial, view) for view in views]
        self._prompt = Static(prompt, markup=False, classes="prompt")
        self._replies = Container(*self.panes, classes="replies")

    def compose(self) -> ComposeResult:
        """The prompt, then the replies."""
        yield self._prompt
        yield self._replies

    def show(self, prompt: Content, views: Sequence[ReplyView]) -> None:
        """Updates prompt and replies."""
        self._prompt.update(prompt)
        for pane, view in zip(self.panes, views, strict=True):
            pane.show(view)

    def on_resize(self, event: events.Resize) -> None:
        """Places the replies side by side if there is room."""
        count = len(self.panes)
        self.set_class(count > 1 and event.size.width >= max(WIDE, count * COLUMN_WIDTH), "-columns")


class Turns(VerticalScroll, can_focus=False):
    """The turns of `chat`, with the replies in progress of `streams`; `lens` is the kind of token lens."""

    def __init__(self, chat: Chat, streams: ReplyStreams, id: str) -> None:
        super().__init__(id=id)
        self._chat, self._streams = chat, streams
        self._blocks: dict[int, TurnBlock] = {}
        self.lens = OFF

    def compose(self) -> ComposeResult:
        """A line about earlier turns, or the welcome text."""
        yield Static("", markup=False, id="chat-earlier")

    def on_mount(self) -> None:
        """Scrolls to the end, also when the content grows."""
        self.anchor()

    def show(self, welcome: Content) -> None:
        """Updates all turns; `welcome` is shown if there are none."""
        serials = self._chat.serials[-MOST_SHOWN:]
        for serial in self._blocks.keys() - set(serials):
            self._blocks.pop(serial).remove()
        new = [serial for serial in serials if serial not in self._blocks]
        for serial in serials:
            self.refresh_turn(serial)
        for serial in new:
            self._blocks[serial] = TurnBlock(serial, self._prompt(serial), self._views(serial))
        hidden = len(self._chat.serials) - len(serials)
        earlier = self.query_one("#chat-earlier", Static)
        more = f"{hidden} earlier turn{'s' * (hidden != 1)} not shown, but part of the conversation"
        earlier.update(welcome if not serials else Content.styled(more, "italic $foreground-muted"))
        earlier.display = not serials or hidden > 0
        if new:
            self.mount_all(self._blocks[serial] for serial in new)
            self.anchor()

    def refresh_turn(self, serial: int) -> None:
        """Updates one turn, if it is shown."""
        if serial in self._blocks:
            self._blocks[serial].show(self._prompt(serial), self._views(serial))

    def show_partial(self, key: ReplyKey) -> None:
        """Shows the text so far of a reply in progress."""
        serial, model, by = key
        for pane in self.panes(serial):
            if (pane.view.model, pane.view.by) == (model, by):
                pane.show_partial(self._streams.text(key) or "")

    def panes(self, serial: int) -> list[ReplyPane]:
        """The panes of a turn; none if it is not shown."""
        return self._blocks[serial].panes if serial in self._blocks else []

    def _views(self, serial: int) -> list[ReplyView]:
        chat, turn = self._chat, self._chat.turn(serial)
        scale = lens_scale(self.lens, chat.shown_replies(serial).values()) if self.lens != OFF else None
        highest = chat.highest_reward(serial)
        return [
            self._view(serial, turn, number, scale, model in highest) for number, model in enumerate(turn.models, 1)
        ]

    def _view(self, serial: int, turn: Turn, number: int, scale: LensScale | None, highest: bool) -> ReplyView:
        chat, model = self._chat, turn.models[number - 1]
        by = chat.selected.get((serial, model), model)
        partial = self._streams.text((serial, model, by))
        reply = chat.shown_reply(serial, model)
        return ReplyView(
            number=number,
            model=model,
            by=by,
            text=partial or "",
            reply=reply if partial is None else None,
            in_progress=partial is not None,
            vote=_vote_on(turn, by),
            highest=highest,
            note="" if reply is None or self._noted_before(serial, model, reply.note) else reply.note,
            continued="" if chat.has_template.get(by, True) else turn.prompt,
            scale=scale,
        )

    def _noted_before(self, serial: int, model: str, note: str) -> bool:
        """Whether the model's previous reply has the same note."""
        at = self._chat.serials.index(serial)
        before = self._chat.turns[at - 1].replies.get(model) if at > 0 else None
        return before is not None and before.note == note

    def _prompt(self, serial: int) -> Content:
        """The prompt with system prompt and verdict; for continued text, which the panes show, its length."""
        turn = self._chat.turn(serial)
        system = f"system: {one_line(turn.system)}\n" if turn.system else ""
        verdict = f"\n{VERDICTS[turn.vote.verdict]}" if turn.vote is not None and not turn.vote.best else ""
        follow = f"\nall continue from the reply of {one_line(turn.follow)}" if turn.follow else ""
        if turn.models and not any(self._chat.has_template.get(model, True) for model in turn.models):
            length = self._chat.context_length(serial, turn.models[0])
            what = f"{length} characters and the underlined text" if length else "the underlined text"
            prompt = Content.styled(f"continues {what}", "italic $foreground-muted")
        else:
            prompt = Content.styled(clean(turn.prompt), "bold")
        muted = "italic $foreground-muted"
        return Content.assemble(Content.styled(system, muted), prompt, Content.styled(verdict + follow, muted))


def _vote_on(turn: Turn, by: str) -> str:
    """The vote on a checkpoint's reply in words; "" for none."""
    vote, edit = turn.vote, turn.edit
    words = ["much better" if vote.strength == 2 else "better"] if vote is not None and vote.best == by else []
    return ", ".join([*words, *(["edited"] if edit is not None and edit.best == by else [])])
