"""What can be done with the replies of a chat: judge, edit, copy them, and look at other checkpoints' in their place.

Each function takes the screen whose keys ask for it, and raises an EngineError for what cannot be done.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from slmctl.chat.conversation import Reply, Turn, Unfit, common_prompt, given_to
from slmctl.chat.state import REPLIES_COME
from slmctl.chat.votes import BOTH_BAD, CHOICE, TIE
from slmctl.console.safe import clean, one_line
from slmctl.tui.chat.ballot_box import Poll
from slmctl.tui.chat.edit_dialog import EditScreen
from slmctl.tui.chat.lens import KINDS

if TYPE_CHECKING:
    from slmctl.tui.chat.screen import ChatScreen


def judge(screen: "ChatScreen", verdict: str, number: int | None) -> None:
    """Has a vote kept: reply `number`, as it stands on the screen, is better, or a verdict on all alike."""
    serial = _serial(screen)
    chat, turns = screen.chat, _turns_to(screen, serial)
    shown = chat.candidates(serial)
    models = turns[-1].models
    best = None
    if number is not None:
        if not 1 <= number <= len(models) or models[number - 1] not in shown:
            raise Unfit(f"there is no reply {number} here; the numbers stand before the names")
        best = list(shown).index(models[number - 1])
    prompt = common_prompt(shown, turns) if len(shown) > 1 else ""
    poll = Poll(serial, _labels(screen), prompt, turns[-1], list(shown.values()), _seconds(screen, serial))
    screen.spawn(screen.ballots.vote(poll, verdict, best))


def take_back(screen: "ChatScreen") -> None:
    """Has the last judgement of a turn withdrawn."""
    serial = _serial(screen)
    poll = Poll(serial, _labels(screen), "", screen.chat.turn_of(serial), (), 0.0)
    screen.spawn(screen.ballots.take_back(poll))


def edit(screen: "ChatScreen", number: int | None) -> None:
    """Opens a reply for editing, the focused one where none is numbered; what is kept becomes a demonstration."""
    serial = _serial(screen)
    model, reply = _reply(screen, serial, number)
    turns = _turns_to(screen, serial)
    prompt = given_to(model, reply.chat, turns)
    poll = Poll(serial, _labels(screen), prompt, turns[-1], (reply,), _seconds(screen, serial))

    def keep(text: str | None) -> None:
        if text is not None:
            screen.spawn(screen.ballots.edit(poll, reply, text))

    screen.app.push_screen(EditScreen(turns[-1].prompt, reply.by, reply.text), keep)


def copy(screen: "ChatScreen") -> None:
    """Puts the focused reply, else the last turn's first one, on the clipboard, cleaned."""
    _, reply = _reply(screen, _serial(screen), None)
    screen.playground.copy(clean(reply.text))


def scrub(screen: "ChatScreen", steps: int) -> None:
    """Looks at the checkpoint `steps` further along the run of the focused reply's model."""
    serial, model = place_of(screen)
    look_at(screen, screen.chat.beside(serial, model, steps))


def look_at(screen: "ChatScreen", by: str) -> None:
    """Shows the reply of another checkpoint in place of the focused one's, drawn where it is not there yet."""
    serial, model = place_of(screen)
    screen.begin(screen.chat.look(serial, model, by))


def regenerate(screen: "ChatScreen") -> None:
    """Has the last prompt answered again; the first reply to it keeps the focus, if one had it."""
    focused = screen.focused_pane is not None
    screen.begin(screen.chat.regenerate())
    if focused:
        screen.call_after_refresh(screen.action_replies)


def go(screen: "ChatScreen", steps: int) -> None:
    """Goes to the same place in the turn before or after."""
    pane = screen.focused_pane
    if pane is not None:
        serials = screen.chat.serials
        at = serials.index(pane.serial) + steps
        panes = screen.turns.panes(serials[at]) if 0 <= at < len(serials) else []
        if panes:
            panes[min(pane.view.number, len(panes)) - 1].focus()


def write(screen: "ChatScreen") -> None:
    """Goes to the box."""
    screen.box.focus()


def look_closer(screen: "ChatScreen") -> None:
    """Looks through the next lens."""
    screen.look_through(KINDS[(KINDS.index(screen.turns.lens) + 1) % len(KINDS)])


def place_of(screen: "ChatScreen") -> tuple[int, str]:
    """The turn and the model that keys concern: those of the focused reply, else of the last turn the first that is
    trained away from another and has other checkpoints.

    Raises: Unfit where there is no reply yet.
    """
    pane = screen.focused_pane
    if pane is not None:
        return pane.serial, pane.view.model
    serial = _serial(screen)
    models, around = screen.chat.turn_of(serial).models, screen.chat.around
    trained = sorted(models, key=lambda model: around.refs.get(model) == model)
    return serial, next((model for model in trained if len(around.steps.get(model, ())) > 1), models[0])


def _serial(screen: "ChatScreen") -> int:
    if screen.focused_pane is not None:
        return screen.focused_pane.serial
    if not screen.chat.turns:
        raise Unfit("there is no reply yet")
    return screen.chat.serials[-1]


def _reply(screen: "ChatScreen", serial: int, number: int | None) -> tuple[str, Reply]:
    models = screen.chat.turn_of(serial).models
    pane = screen.focused_pane
    model = pane.view.model if pane is not None else models[0]
    if number is not None:
        if not 1 <= number <= len(models):
            raise Unfit(f"there is no reply {number} here; the numbers stand before the names")
        model = models[number - 1]
    reply = screen.chat.shown(serial, model)
    if reply is None or not reply.said:
        raise Unfit(f"{one_line(model)} has not replied here")
    return model, reply


def _turns_to(screen: "ChatScreen", serial: int) -> tuple[Turn, ...]:
    if screen.chat.busy and serial == screen.chat.serials[-1]:
        raise Unfit(REPLIES_COME)
    return screen.chat.turns[: screen.chat.serials.index(serial) + 1]


def _labels(screen: "ChatScreen") -> Path:
    return screen.labels_of(screen.chat.turn_of(_serial(screen)).models)


def _seconds(screen: "ChatScreen", serial: int) -> float:
    ended = screen.ended_at.get(serial)
    return 0.0 if ended is None else round(time.monotonic() - ended, 1)


LOOK_FIRST = ("scrub", "regenerate")  # what wants to know what the run has saved by now
KEYS: dict[str, Callable[["ChatScreen", int], None]] = {
    "vote": lambda screen, number: judge(screen, CHOICE, number),
    "tie": lambda screen, _: judge(screen, TIE, None),
    "bad": lambda screen, _: judge(screen, BOTH_BAD, None),
    "take_back": lambda screen, _: take_back(screen),
    "edit": lambda screen, _: edit(screen, None),
    "copy": lambda screen, _: copy(screen),
    "scrub": scrub,
    "turn": go,
    "regenerate": lambda screen, _: regenerate(screen),
    "lens": lambda screen, _: look_closer(screen),
    "write": lambda screen, _: write(screen),
}
