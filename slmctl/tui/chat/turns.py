"""The turns of a chat, oldest first, the newest kept in sight: a picture of the state in chatting/chat.py."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from slmctl.chat.conversation import Judged, Turn
from slmctl.chat.state import Chat
from slmctl.console.safe import clean, one_line
from slmctl.tui.chat.lens import OFF, Scale, scale_of
from slmctl.tui.chat.reply_pane import ReplyPane, View
from slmctl.tui.chat.turn_block import TurnBlock

SHOWN = 40  # turns; earlier ones are part of the conversation and not drawn
Key = tuple[int, str, str]


class Turns(VerticalScroll, can_focus=False):
    """The turns of `chat`; `drawing` holds the keys of draws that are under way, `lens` what tokens are coloured by."""

    def __init__(self, chat: Chat, id: str) -> None:
        super().__init__(id=id)
        self._chat = chat
        self._texts: dict[Key, str] = {}
        self._blocks: dict[int, TurnBlock] = {}
        self.drawing: set[Key] = set()
        self.lens = OFF

    def compose(self) -> ComposeResult:
        """What is said of turns that are not shown, or where there are none."""
        yield Static("", markup=False, id="chat-earlier")

    def on_mount(self) -> None:
        """Keeps the end in sight."""
        self.anchor()

    def show(self, welcome: Content) -> None:
        """Draws all turns; `welcome` stands where there are none."""
        serials = self._chat.serials[-SHOWN:]
        for serial in self._blocks.keys() - set(serials):
            self._blocks.pop(serial).remove()
        fresh = [serial for serial in serials if serial not in self._blocks]
        for serial in fresh:
            self._blocks[serial] = TurnBlock(serial, self._asked(serial), self._views(serial))
        for serial in serials:
            if serial not in fresh:
                self.refresh_turn(serial)
        hidden = len(self._chat.serials) - len(serials)
        earlier = self.query_one("#chat-earlier", Static)
        earlier.update(welcome if not serials else Content.styled(_hidden(hidden), "italic $foreground-muted"))
        earlier.display = not serials or hidden > 0
        if fresh:
            self.mount_all(self._blocks[serial] for serial in fresh)
            self.anchor()

    def refresh_turn(self, serial: int) -> None:
        """Draws one turn anew, if it is shown."""
        if serial in self._blocks:
            self._blocks[serial].show(self._asked(serial), self._views(serial))

    def grow(self, key: Key, text: str) -> None:
        """Shows what has come so far of a draw, where that is looked at."""
        serial, model, by = key
        self._texts[key] = text
        for pane in self._blocks[serial].panes if serial in self._blocks else []:
            if (pane.view.model, pane.view.by) == (model, by):
                pane.grow(text)

    def over(self, key: Key) -> None:
        """Forgets the stream of a draw that has ended."""
        self.drawing.discard(key)
        self._texts.pop(key, None)

    def panes(self, serial: int) -> list[ReplyPane]:
        """The panes of a turn, if it is shown."""
        return self._blocks[serial].panes if serial in self._blocks else []

    def _views(self, serial: int) -> list[View]:
        turn = self._chat.turn_of(serial)
        scale = self._scale(serial)
        highest = self._chat.highest(serial)
        return [self._view(serial, turn, model, i, scale, model in highest) for i, model in enumerate(turn.models)]

    def _view(self, serial: int, turn: Turn, model: str, place: int, scale: Scale | None, highest: bool) -> View:
        chat = self._chat
        by = chat.looked_at.get((serial, model), model)
        key = (serial, model, by)
        reply = chat.shown(serial, model)
        waits = key in self.drawing
        return View(
            number=place + 1,
            model=model,
            by=by,
            text=self._texts.get(key, ""),
            reply=None if waits else reply,
            waits=waits,
            mark=_mark(turn, by),
            highest=highest,
            note="" if reply is None or self._said_before(serial, model, reply.note) else reply.note,
            opening="" if chat.chatty.get(by, True) else turn.prompt,
            scale=scale,
        )

    def _said_before(self, serial: int, model: str, note: str) -> bool:
        """Whether the model's reply in the turn before says the same already."""
        at = self._chat.serials.index(serial)
        before = self._chat.turns[at - 1].replies.get(model) if at > 0 else None
        return before is not None and before.note == note

    def _scale(self, serial: int) -> Scale | None:
        return scale_of(self.lens, self._chat.candidates(serial).values()) if self.lens != OFF else None

    def _asked(self, serial: int) -> Content:
        """What was typed; of text that is continued, how much went before, since it stands in the panes itself."""
        turn = self._chat.turn_of(serial)
        system = f"system: {one_line(turn.system)}\n" if turn.system else ""
        follow = f"\nall go on from the reply of {one_line(turn.follow)}" if turn.follow else ""
        tied = turn.judged is not None and not turn.judged.best
        verdict = f"\n{_MARKS[turn.judged.verdict]}" if tied and turn.judged is not None else ""
        if turn.models and not any(self._chat.chatty.get(model, True) for model in turn.models):
            before = self._chat.before(serial, turn.models[0])
            went = (
                f"continues {before} characters and the underlined ones" if before else "continues the underlined text"
            )
            words = Content.styled(went, "italic $foreground-muted")
        else:
            words = Content.styled(clean(turn.prompt), "bold")
        return Content.assemble(
            Content.styled(system, "italic $foreground-muted"),
            words,
            Content.styled(verdict + follow, "italic $foreground-muted"),
        )


_MARKS = {"tie": "judged a tie", "both_bad": "judged all bad"}


def _mark(turn: Turn, by: str) -> str:
    said = [_said(judged) for judged in (turn.judged, turn.edited) if judged is not None and judged.best == by]
    return ", ".join(said)


def _said(judged: Judged) -> str:
    return "edited" if judged.verdict == "edit" else "much better" if judged.strength == 2 else "better"


def _hidden(count: int) -> str:
    return f"{count} earlier turn{'s' * (count != 1)} belong to the conversation and are not shown"
