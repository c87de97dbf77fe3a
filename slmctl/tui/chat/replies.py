"""The replies on the screen, a view of the state in slmctl/chat/chat.py: panes, turns, the bar of checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from slmctl.chat.chat import Chat, ReplyKey
from slmctl.chat.conversation import Reply, Turn
from slmctl.console.safe import clean, one_line
from slmctl.tui.chat.lens import OFF, LensScale, lens_content, lens_scale, number_of, token_line, why_missing
from slmctl.tui.chat.reply_streams import ReplyStreams

HIGHEST, VOTE = "▲", "★"
ONE_LINE = 66  # columns needed to show all measurements on one line
MOST_SHOWN = 40  # turns; earlier ones belong to the conversation but are not shown
COLUMN_WIDTH = 34  # the least width of replies side by side
WIDE = 96  # the least width of a screen with replies side by side
VERDICTS = {"tie": "voted a tie", "both_bad": "voted all bad"}
MUTED, FAINT = "$foreground-muted", "italic $foreground-muted"
LINK = " ─ "
KEYS = "   [ and ] on a reply"


class ReplyPane(Static, can_focus=True):
    """The reply in the place of one model to one turn, with its measurements.

    It can be focused, to vote on it, copy it, edit it, look at its tokens or at other checkpoints. `scale` is that of
    the token lens, None without one.
    """

    HELP = (
        "These keys act on the selected reply. 1 to 4 vote for a reply; press the same number again for much better. "
        "Votes are saved to the label database of the first model's run, else of this folder, or to that of --db. "
        "Backspace withdraws the last vote.\n"
        "[ and ] show the replies of other checkpoints of the run to the same prompt, with the same seed.\n"
        "Left and Right move from token to token while a lens is on."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "screen.vote('choice', 1)", "Vote", id="chat.better1", key_display="1-4"),
        Binding("2", "screen.vote('choice', 2)", "Reply 2 is better", id="chat.better2", show=False),
        Binding("3", "screen.vote('choice', 3)", "Reply 3 is better", id="chat.better3", show=False),
        Binding("4", "screen.vote('choice', 4)", "Reply 4 is better", id="chat.better4", show=False),
        Binding("0", "screen.vote('tie')", "Tie", id="chat.tie"),
        Binding("x", "screen.vote('both_bad')", "Bad", id="chat.bad"),
        Binding("backspace", "screen.vote('none')", "Withdraw vote", id="chat.unvote", show=False),
        Binding("e", "screen.edit_reply", "Edit", id="chat.edit"),
        Binding("t", "screen.next_lens", "Lens", id="chat.lens"),
        Binding("y", "screen.copy_reply", "Copy", id="chat.copy"),
        Binding("left_square_bracket", "screen.select_step(-1)", "Steps", id="chat.earlier", key_display="[ ]"),
        Binding("right_square_bracket", "screen.select_step(1)", "Later checkpoint", id="chat.later", show=False),
        Binding("r", "screen.regenerate", "Regenerate", id="chat.regenerate"),
        Binding("left", "move(-1)", "Previous token", id="chat.token_left", show=False),
        Binding("right", "move(1)", "Next token", id="chat.token_right", show=False),
        Binding("up", "screen.select_turn(-1)", "Previous turn", id="chat.turn_before", show=False),
        Binding("down", "screen.select_turn(1)", "Next turn", id="chat.turn_after", show=False),
        Binding("i,enter", "app.focus('chat-box')", "Prompt box", id="chat.write", show=False),
        Binding("ctrl+o", "screen.sampling", "Sampling", id="chat.sampling"),
        Binding("f4", "screen.editor", "$EDITOR", id="chat.editor"),
    ]

    def __init__(self, chat: Chat, streams: ReplyStreams, serial: int, number: int) -> None:
        super().__init__(markup=False)
        self._chat, self._streams = chat, streams
        self.serial, self.number = serial, number
        self.model = chat.turn(serial).models[number - 1]
        self.scale: LensScale | None = None
        self.cursor = 0
        self._narrow = False

    @property
    def by(self) -> str:
        """The checkpoint whose reply is shown."""
        return self._chat.selected.get((self.serial, self.model), self.model)

    @property
    def reply(self) -> Reply | None:
        """The reply, None while it is in progress."""
        in_progress = self._streams.text((self.serial, self.model, self.by)) is not None
        return None if in_progress else self._chat.shown_reply(self.serial, self.model)

    def on_mount(self) -> None:
        """Shows the reply."""
        self.show()

    def on_resize(self, event: events.Resize) -> None:
        """Breaks the line of measurements if it does not fit."""
        narrow = event.size.width < ONE_LINE
        if narrow != self._narrow:
            self._narrow = narrow
            self.show()

    def watch_has_focus(self, has_focus: bool) -> None:
        """Shows or hides the token under the cursor."""
        super().watch_has_focus(has_focus)
        self.show()

    def show(self) -> None:
        """Shows the current state, unless the turn was removed and this pane soon is."""
        if self.serial in self._chat.serials:
            self.update(Content("\n").join(self._lines()))

    def action_move(self, tokens: int) -> None:
        """Moves the cursor by some tokens, while a lens is on."""
        if self.scale is not None and (reply := self.reply) is not None and reply.lens:
            self.cursor = (self._at(reply) + tokens) % len(reply.lens)
            self.show()

    def _at(self, reply: Reply) -> int:
        return min(self.cursor, len(reply.lens) - 1)

    def _lines(self) -> list[Content]:
        chat, partial, reply = self._chat, self._streams.text((self.serial, self.model, self.by)), self.reply
        turn = chat.turn(self.serial)
        continued = "" if chat.has_template.get(self.by, True) else turn.prompt
        before = Content.styled(clean(continued), "underline")
        lines = [self._title(turn, partial is not None)]
        if reply is None:
            return [*lines, before + Content(clean(partial or ""))] if partial or continued else lines
        scale = self.scale if reply.lens else None
        if scale is not None:
            lines.append(before + lens_content(reply.lens, scale, self._at(reply) if self.has_focus else None))
        elif reply.text or continued:
            lines.append(before + Content(clean(reply.text)))
        elif not reply.error:
            lines.append(Content.styled("(empty)", FAINT))
        if reply.error:
            return [*lines, Content.styled(f"! {clean(reply.error)}", "$text-error")]
        lines.append(Content.styled(self._measurements(reply), MUTED))
        if reply.note and not self._noted_before(reply.note):
            lines.append(Content.styled(clean(reply.note), "italic $text-warning"))
        if scale is not None and self.has_focus:
            lines.append(Content(token_line(reply, scale.kind, self._at(reply))))
        elif scale is not None and all(number_of(scale.kind, token) is None for token in reply.lens):
            lines.append(Content.styled(why_missing(reply, scale.kind), FAINT))
        return lines

    def _title(self, turn: Turn, in_progress: bool) -> Content:
        """Number and name, the checkpoint, the vote, and whether the reply is in progress."""
        vote, edit = turn.vote, turn.edit
        marks = ["much better" if vote.strength == 2 else "better"] if vote is not None and vote.best == self.by else []
        marks += ["edited"] if edit is not None and edit.best == self.by else []
        return Content.assemble(
            f"{'>' if self.has_focus else ' '}{self.number} ",
            (one_line(self.by), "bold"),
            (f" instead of {one_line(self.model)}" if self.by != self.model else "", MUTED),
            (f"  {VOTE} {', '.join(marks)}" if marks else "", "bold $text-success"),
            ("  …" if in_progress else "", "$text-accent"),
        )

    def _measurements(self, reply: Reply) -> str:
        """Reward and KL, then tokens, speed and how the reply ended, as far as known; on two lines if they are long."""
        scores = []
        if reply.score is not None:
            highest = self.model in self._chat.highest_reward(self.serial)
            scores.append(f"reward {reply.score:+.2f}{f' {HIGHEST}' if highest else ''}")
        if reply.kl_nats is not None:
            scores.append(f"KL {reply.kl_nats:.2f} nats")
        elif reply.by_reference:
            scores.append("KL: the reference")
        counts = [f"{reply.tokens} token{'s' * (reply.tokens != 1)}"]
        if reply.seconds > 0 and reply.tokens:
            counts.append(f"{reply.tokens / reply.seconds:.0f}/s")
        counts.append("ended" if reply.finished else "stopped" if reply.stopped else "cut off")
        parts = filter(None, (" · ".join(scores), " · ".join(counts)))
        return ("\n" if self._narrow and scores else " · ").join(parts)

    def _noted_before(self, note: str) -> bool:
        """Whether the model's previous reply has the same note."""
        at = self._chat.serials.index(self.serial)
        before = self._chat.turns[at - 1].replies.get(self.model) if at > 0 else None
        return before is not None and before.note == note


class TurnBlock(Vertical):
    """One turn: the prompt above a pane for each reply, side by side if there is room, else stacked."""

    def __init__(self, panes: Sequence[ReplyPane]) -> None:
        super().__init__()
        self.panes, self.prompt = panes, Static(markup=False, classes="prompt")

    def compose(self) -> ComposeResult:
        """The prompt, then the replies."""
        yield self.prompt
        yield Container(*self.panes, classes="replies")

    def on_resize(self, event: events.Resize) -> None:
        """Places the replies side by side if there is room."""
        count = len(self.panes)
        self.set_class(count > 1 and event.size.width >= max(WIDE, count * COLUMN_WIDTH), "-columns")


class Turns(VerticalScroll, can_focus=False):
    """The turns of `chat`, oldest first, scrolled to the newest, with the replies in progress of `streams`.

    `lens` is the kind of token lens.
    """

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
        chat = self._chat
        serials = chat.serials[-MOST_SHOWN:]
        for serial in self._blocks.keys() - set(serials):
            self._blocks.pop(serial).remove()
        new = [serial for serial in serials if serial not in self._blocks]
        for serial in new:
            numbers = range(1, len(chat.turn(serial).models) + 1)
            self._blocks[serial] = TurnBlock([ReplyPane(chat, self._streams, serial, number) for number in numbers])
        for serial in serials:
            self.refresh_turn(serial)
        hidden = len(chat.serials) - len(serials)
        earlier = self.query_one("#chat-earlier", Static)
        more = f"{hidden} earlier turn{'s' * (hidden != 1)} not shown, but part of the conversation"
        earlier.update(welcome if not serials else Content.styled(more, FAINT))
        earlier.display = not serials or hidden > 0
        if new:
            self.mount_all(self._blocks[serial] for serial in new)
            self.anchor()

    def refresh_turn(self, serial: int) -> None:
        """Updates one turn, if it is shown."""
        if (block := self._blocks.get(serial)) is not None:
            replies = self._chat.shown_replies(serial).values()
            block.prompt.update(self._prompt(serial))
            for pane in block.panes:
                pane.scale = lens_scale(self.lens, replies) if self.lens != OFF else None
                pane.show()

    def show_partial(self, key: ReplyKey) -> None:
        """Shows the text so far of a reply in progress."""
        for pane in self.panes(key[0]):
            if (pane.model, pane.by) == key[1:]:
                pane.show()

    def panes(self, serial: int) -> Sequence[ReplyPane]:
        """The panes of a turn; none if it is not shown."""
        return self._blocks[serial].panes if serial in self._blocks else []

    def _prompt(self, serial: int) -> Content:
        """The prompt with system prompt and verdict; for continued text, which the panes show, its length."""
        turn = self._chat.turn(serial)
        system = f"system: {one_line(turn.system)}\n" if turn.system else ""
        verdict = f"\n{VERDICTS[turn.vote.verdict]}" if turn.vote is not None and not turn.vote.best else ""
        follow = f"\nall continue from the reply of {one_line(turn.follow)}" if turn.follow else ""
        prompt = Content.styled(clean(turn.prompt), "bold")
        if turn.models and not any(self._chat.has_template.get(model, True) for model in turn.models):
            length = self._chat.context_length(serial, turn.models[0])
            what = f"{length} characters and the underlined text" if length else "the underlined text"
            prompt = Content.styled(f"continues {what}", FAINT)
        return Content.assemble((system, FAINT), prompt, (verdict + follow, FAINT))


@dataclass
class CheckpointClicked(Message):
    """A checkpoint in the checkpoint bar was clicked."""

    by: str


class CheckpointBar(Static):
    """The checkpoints of a model's run on one line, the selected one marked; a click selects another.

    Hidden if there are fewer than two.
    """

    def __init__(self, id: str) -> None:
        super().__init__(markup=False, id=id)
        self._shown: tuple[str, Sequence[str], str] = "", (), ""  # model, its checkpoints, the selected one
        self._spans: list[tuple[int, int, str]] = []  # first and last column of a checkpoint

    def show(self, chat: Chat, reply: tuple[int, str] | None) -> None:
        """Shows the checkpoints for a reply, given by turn and model."""
        checkpoints = chat.related.checkpoints.get(reply[1], ()) if reply is not None else ()
        self.display = len(checkpoints) > 1
        if reply is not None and self.display:
            self._shown = reply[1], checkpoints, chat.selected.get(reply, reply[1])
            self.on_resize()

    def on_resize(self) -> None:
        """Shows as many as fit."""
        model, checkpoints, selected = self._shown
        if not checkpoints:
            return
        head = f"checkpoints of {one_line(model.partition('@')[0], 24)}  "
        at = checkpoints.index(selected) if selected in checkpoints else len(checkpoints) - 1
        room = max(20, self.size.width - cell_len(head))
        first, last = visible_range([cell_len(step_label(one)) + len(LINK) for one in checkpoints], at, room)
        parts, column = [Content.styled(head, MUTED)], cell_len(head)
        self._spans = []
        for i in range(first, last + 1):
            word, lead = step_label(checkpoints[i]), "" if i == first else LINK
            word = f"[{word}]" if i == at else word
            parts += [Content(lead), Content.styled(word, "bold reverse" if i == at else "")]
            start = column + len(lead)
            column = start + cell_len(word)
            self._spans.append((start, column, checkpoints[i]))
        if column + len(KEYS) <= self.size.width:
            parts.append(Content.styled(KEYS, MUTED))
        self.update(Content.assemble(*parts))

    def on_click(self, event: events.Click) -> None:
        """Posts the clicked checkpoint."""
        for first, last, by in self._spans:
            if first <= event.x < last:
                self.post_message(CheckpointClicked(by))


def step_label(checkpoint: str) -> str:
    """A short name of a checkpoint: its step, or its stage if it is final."""
    _, at, step = checkpoint.rpartition("@")
    return step if at else one_line(checkpoint.rpartition(":")[2], 12)


def visible_range(widths: Sequence[int], at: int, room: int) -> tuple[int, int]:
    """The first and last of the items around number `at` that together fit into `room`."""
    first = last = at
    used = widths[at] + 2  # its brackets
    while True:
        left = first > 0 and used + widths[first - 1] <= room
        right = last + 1 < len(widths) and used + widths[last + 1] <= room
        if right and (not left or last - at <= at - first):
            last += 1
            used += widths[last]
        elif left:
            first -= 1
            used += widths[first]
        else:
            return first, last
