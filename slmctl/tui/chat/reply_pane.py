"""One model's reply to one prompt: who answers, the text, and what was measured of it. Keys here concern replies."""

from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from slmctl.chat.conversation import Reply
from slmctl.console.safe import clean, one_line
from slmctl.tui.chat.lens import Scale, missing, number_of, seen_through, token_line

BETTER, BEST, DOT = "▲", "★", "·"
ONE_LINE = 66  # columns that a line of all numbers needs


@dataclass(frozen=True)
class View:
    """What a pane shows. `by` is the checkpoint that answers in the place of `model`; `text` what has come so far,
    `reply` the whole once it has; `mark` is what a person said of it; `highest` says that its reward is."""

    number: int
    model: str
    by: str
    text: str = ""
    reply: Reply | None = None
    waits: bool = False
    mark: str = ""
    highest: bool = False
    note: str = ""  # what was not measured
    opening: str = ""  # what a model without a template goes on from: it stands before the reply, as it was sent
    scale: Scale | None = None


class ReplyPane(Static, can_focus=True):
    """A reply that can be focused, to vote on it, copy it, edit it, look at its tokens or at other checkpoints."""

    HELP = (
        "Here keys concern the reply: 1 to 4 say which one is better, the same key again that it is much better; the "
        "judgement goes into the label database of the first model's run, else of this folder, or of --db. Backspace "
        "takes it back.\n"
        "[ and ] show what other saved steps of the model's run answer to the same prompt and seed.\n"
        "Left and right move along the tokens while a lens is on."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "screen.reply('vote', 1)", "Vote", id="chat.better1", key_display="1-4"),
        Binding("2", "screen.reply('vote', 2)", "Reply 2 is better", id="chat.better2", show=False),
        Binding("3", "screen.reply('vote', 3)", "Reply 3 is better", id="chat.better3", show=False),
        Binding("4", "screen.reply('vote', 4)", "Reply 4 is better", id="chat.better4", show=False),
        Binding("0", "screen.reply('tie')", "Tie", id="chat.tie"),
        Binding("x", "screen.reply('bad')", "Bad", id="chat.bad"),
        Binding("backspace", "screen.reply('take_back')", "Take the vote back", id="chat.unvote", show=False),
        Binding("e", "screen.reply('edit')", "Edit", id="chat.edit"),
        Binding("t", "screen.reply('lens')", "Lens", id="chat.lens"),
        Binding("y", "screen.reply('copy')", "Copy", id="chat.copy"),
        Binding("left_square_bracket", "screen.reply('scrub', -1)", "Steps", id="chat.earlier", key_display="[ ]"),
        Binding("right_square_bracket", "screen.reply('scrub', 1)", "Next step", id="chat.later", show=False),
        Binding("r", "screen.reply('regenerate')", "Answer again", id="chat.regenerate"),
        Binding("left", "left", "Token to the left", id="chat.token_left", show=False),
        Binding("right", "right", "Token to the right", id="chat.token_right", show=False),
        Binding("up", "screen.reply('turn', -1)", "Turn before", id="chat.turn_before", show=False),
        Binding("down", "screen.reply('turn', 1)", "Turn after", id="chat.turn_after", show=False),
        Binding("i,enter", "screen.reply('write')", "Write", id="chat.write", show=False),
        Binding("ctrl+o", "screen.sampling", "Sampling", id="chat.sampling"),
        Binding("f4", "screen.editor", "$EDITOR", id="chat.editor"),
    ]

    def __init__(self, serial: int, view: View) -> None:
        super().__init__(markup=False)
        self.serial = serial
        self.view = view
        self.cursor = 0
        self._narrow = False

    def on_mount(self) -> None:
        """Draws what it was made with."""
        self.show(self.view)

    def on_resize(self, event: events.Resize) -> None:
        """Breaks the line of numbers where it would not fit."""
        narrow = event.size.width < ONE_LINE
        if narrow != self._narrow:
            self._narrow = narrow
            self.show(self.view)

    def watch_has_focus(self, has_focus: bool) -> None:
        """Shows or hides the token under the cursor."""
        super().watch_has_focus(has_focus)
        self.show(self.view)

    def show(self, view: View) -> None:
        """Shows another state."""
        self.view = view
        self.set_class(view.waits, "-waits")
        self.set_class(bool(view.mark), "-marked")
        self.update(Content("\n").join(self._lines()))

    def grow(self, text: str) -> None:
        """Shows what has come so far."""
        self.show(replace(self.view, text=text))

    def action_left(self) -> None:
        """A token back, where tokens are looked at."""
        self._move(-1)

    def action_right(self) -> None:
        """A token on."""
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
            return [*lines, _opened(view, Content(clean(view.text)))] if view.text or view.opening else lines
        lens = view.scale is not None and bool(reply.lens)
        if lens:
            assert view.scale is not None
            cursor = self._at(reply) if self.has_focus else None
            lines.append(_opened(view, seen_through(reply.lens, view.scale, cursor)))
        elif reply.text or view.opening:
            lines.append(_opened(view, Content(clean(reply.text))))
        elif not reply.error:
            lines.append(Content.styled("(nothing)", "italic $foreground-muted"))
        if reply.error:
            return [*lines, Content.styled(f"! {clean(reply.error)}", "$text-error")]
        lines.append(Content.styled(measured(view, self._narrow), "$foreground-muted"))
        if view.note:
            lines.append(Content.styled(clean(view.note), "italic $text-warning"))
        if lens and self.has_focus:
            assert view.scale is not None
            lines.append(Content(token_line(reply, view.scale.kind, self._at(reply))))
        elif view.scale is not None and reply.lens and not _has_number(reply, view.scale):
            lines.append(Content.styled(missing(reply, view.scale.kind), "italic $foreground-muted"))
        return lines


def title(view: View, focused: bool) -> Content:
    """Number and name, the checkpoint that is looked at, what a person said, whether it still comes."""
    pointer = ">" if focused else " "
    name = Content.styled(one_line(view.by), "bold")
    parts = [Content(f"{pointer}{view.number} "), name]
    if view.by != view.model:
        parts.append(Content.styled(f" in place of {one_line(view.model)}", "$foreground-muted"))
    if view.mark:
        parts.append(Content.styled(f"  {BEST} {view.mark}", "bold $text-success"))
    if view.waits:
        parts.append(Content.styled("  …", "$text-accent"))
    return Content.assemble(*parts)


def measured(view: View, narrow: bool = False) -> str:
    """Reward and KL, then tokens, speed and how it ended, as far as they are known; on two lines where `narrow`."""
    reply = view.reply
    assert reply is not None
    told, counted = [], []
    if reply.score is not None:
        better = f" {BETTER}" if view.highest else ""
        told.append(f"reward {reply.score:+.2f}{better}")
    if reply.kl_nats is not None:
        told.append(f"KL {reply.kl_nats:.2f} nats")
    elif reply.by_reference:
        told.append("KL: the reference")
    counted.append(f"{reply.tokens} token{'s' * (reply.tokens != 1)}")
    if reply.seconds > 0 and reply.tokens:
        counted.append(f"{reply.tokens / reply.seconds:.0f}/s")
    counted.append("ended" if reply.finished else "stopped" if reply.stopped else "cut off")
    link = f" {DOT} "
    return ("\n" if narrow and told else link).join(filter(None, (link.join(told), link.join(counted))))


def _opened(view: View, text: Content) -> Content:
    if not view.opening:
        return text
    return Content.assemble(Content.styled(clean(view.opening), "underline"), text)


def _has_number(reply: Reply, scale: Scale) -> bool:
    return any(number_of(scale.kind, token) is not None for token in reply.lens)
