"""One model's reply to one prompt: the model, the text and its measurements, with the keys that act on replies."""

from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from slmctl.chat.conversation import Reply
from slmctl.console.safe import clean, one_line
from slmctl.tui.chat.lens import LensScale, lens_content, number_of, token_line, why_missing

HIGHEST, VOTE, DOT = "▲", "★", "·"
ONE_LINE = 66  # columns needed to show all measurements on one line


@dataclass(frozen=True)
class ReplyView:
    """What a pane shows: the reply of checkpoint `by` in the place of `model`.

    `text` is the text so far of a reply in progress, `continued` the prompt of a model without a chat template (shown
    before the reply), `note` names a measurement that failed.
    """

    number: int
    model: str
    by: str
    text: str = ""
    reply: Reply | None = None
    in_progress: bool = False
    vote: str = ""
    highest: bool = False  # whether its reward is the highest of the turn
    note: str = ""
    continued: str = ""
    scale: LensScale | None = None


class ReplyPane(Static, can_focus=True):
    """A reply that can be focused, to vote on it, copy it, edit it, look at its tokens or at other checkpoints."""

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
        Binding("backspace", "screen.withdraw_vote", "Withdraw vote", id="chat.unvote", show=False),
        Binding("e", "screen.edit_reply", "Edit", id="chat.edit"),
        Binding("t", "screen.next_lens", "Lens", id="chat.lens"),
        Binding("y", "screen.copy_reply", "Copy", id="chat.copy"),
        Binding("left_square_bracket", "screen.select_step(-1)", "Steps", id="chat.earlier", key_display="[ ]"),
        Binding("right_square_bracket", "screen.select_step(1)", "Later checkpoint", id="chat.later", show=False),
        Binding("r", "screen.regenerate", "Regenerate", id="chat.regenerate"),
        Binding("left", "left", "Previous token", id="chat.token_left", show=False),
        Binding("right", "right", "Next token", id="chat.token_right", show=False),
        Binding("up", "screen.select_turn(-1)", "Previous turn", id="chat.turn_before", show=False),
        Binding("down", "screen.select_turn(1)", "Next turn", id="chat.turn_after", show=False),
        Binding("i,enter", "app.focus('chat-box')", "Prompt box", id="chat.write", show=False),
        Binding("ctrl+o", "screen.sampling", "Sampling", id="chat.sampling"),
        Binding("f4", "screen.editor", "$EDITOR", id="chat.editor"),
    ]

    def __init__(self, serial: int, view: ReplyView) -> None:
        super().__init__(markup=False)
        self.serial = serial
        self.view = view
        self.cursor = 0
        self._narrow = False

    def on_mount(self) -> None:
        """Shows the first view."""
        self.show(self.view)

    def on_resize(self, event: events.Resize) -> None:
        """Breaks the line of measurements if it does not fit."""
        narrow = event.size.width < ONE_LINE
        if narrow != self._narrow:
            self._narrow = narrow
            self.show(self.view)

    def watch_has_focus(self, has_focus: bool) -> None:
        """Shows or hides the token under the cursor."""
        super().watch_has_focus(has_focus)
        self.show(self.view)

    def show(self, view: ReplyView) -> None:
        """Shows another view."""
        self.view = view
        self.update(Content("\n").join(self._lines()))

    def show_partial(self, text: str) -> None:
        """Shows the text so far."""
        self.show(replace(self.view, text=text))

    def action_left(self) -> None:
        """Moves to the previous token, while a lens is on."""
        self._move(-1)

    def action_right(self) -> None:
        """Moves to the next token, while a lens is on."""
        self._move(1)

    def _move(self, tokens: int) -> None:
        reply = self.view.reply
        if self.view.scale is not None and reply is not None and reply.lens:
            self.cursor = (self._at(reply) + tokens) % len(reply.lens)
            self.show(self.view)

    def _at(self, reply: Reply) -> int:
        return min(self.cursor, len(reply.lens) - 1)

    def _lines(self) -> list[Content]:
        view, reply = self.view, self.view.reply
        lines = [title(view, self.has_focus)]
        if reply is None:
            return [*lines, _with_prompt(view, Content(clean(view.text)))] if view.text or view.continued else lines
        scale = view.scale if reply.lens else None
        if scale is not None:
            cursor = self._at(reply) if self.has_focus else None
            lines.append(_with_prompt(view, lens_content(reply.lens, scale, cursor)))
        elif reply.text or view.continued:
            lines.append(_with_prompt(view, Content(clean(reply.text))))
        elif not reply.error:
            lines.append(Content.styled("(empty)", "italic $foreground-muted"))
        if reply.error:
            return [*lines, Content.styled(f"! {clean(reply.error)}", "$text-error")]
        lines.append(Content.styled(measurements(view, self._narrow), "$foreground-muted"))
        if view.note:
            lines.append(Content.styled(clean(view.note), "italic $text-warning"))
        if scale is not None and self.has_focus:
            lines.append(Content(token_line(reply, scale.kind, self._at(reply))))
        elif scale is not None and all(number_of(scale.kind, token) is None for token in reply.lens):
            lines.append(Content.styled(why_missing(reply, scale.kind), "italic $foreground-muted"))
        return lines


def title(view: ReplyView, focused: bool) -> Content:
    """Number and name, the checkpoint, the vote, and whether the reply is in progress."""
    parts = [Content(f"{'>' if focused else ' '}{view.number} "), Content.styled(one_line(view.by), "bold")]
    if view.by != view.model:
        parts.append(Content.styled(f" instead of {one_line(view.model)}", "$foreground-muted"))
    if view.vote:
        parts.append(Content.styled(f"  {VOTE} {view.vote}", "bold $text-success"))
    if view.in_progress:
        parts.append(Content.styled("  …", "$text-accent"))
    return Content.assemble(*parts)


def measurements(view: ReplyView, narrow: bool = False) -> str:
    """Reward and KL, then tokens, speed and how the reply ended, as far as known; on two lines if `narrow`."""
    reply = view.reply
    assert reply is not None
    scores = []
    if reply.score is not None:
        scores.append(f"reward {reply.score:+.2f}{f' {HIGHEST}' if view.highest else ''}")
    if reply.kl_nats is not None:
        scores.append(f"KL {reply.kl_nats:.2f} nats")
    elif reply.by_reference:
        scores.append("KL: the reference")
    counts = [f"{reply.tokens} token{'s' * (reply.tokens != 1)}"]
    if reply.seconds > 0 and reply.tokens:
        counts.append(f"{reply.tokens / reply.seconds:.0f}/s")
    counts.append("ended" if reply.finished else "stopped" if reply.stopped else "cut off")
    separator = f" {DOT} "
    return ("\n" if narrow and scores else separator).join(
        filter(None, (separator.join(scores), separator.join(counts)))
    )


def _with_prompt(view: ReplyView, text: Content) -> Content:
    return Content.assemble(Content.styled(clean(view.continued), "underline"), text) if view.continued else text
