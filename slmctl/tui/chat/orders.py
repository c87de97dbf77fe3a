"""Does what the slash commands of a chat say; which there are stands in slash.py.

Each raises an EngineError for what cannot be done, and the screen shows its sentence.
"""

import shlex
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.run.inputs import NONE
from slmctl.chat.conversation import Unfit, check_models
from slmctl.chat.sampling_settings import dial_named
from slmctl.chat.votes import BOTH_BAD, CHOICE, TIE
from slmctl.tui.chat import replying
from slmctl.tui.chat.lens import KINDS, OFF
from slmctl.tui.chat.sessions_dialog import SessionsScreen
from slmctl.tui.chat.slash import Order, typed_for

if TYPE_CHECKING:
    from slmctl.tui.chat.screen import ChatScreen


async def obey(screen: "ChatScreen", order: Order) -> None:
    """Does what was typed. Raises: EngineError where it cannot be done."""
    await ORDERS[order.name](screen, order)


async def _regen(screen: "ChatScreen", order: Order) -> None:
    await screen.look_around()
    replying.regenerate(screen)


async def _undo(screen: "ChatScreen", order: Order) -> None:
    prompt = screen.chat.undo()
    screen.refresh_all()
    screen.box.fill(typed_for(prompt), selected=True)
    screen.tell("the last turn is taken back: enter sends its prompt again, typing replaces it, an arrow key edits it")
    screen.keep()


async def _branch(screen: "ChatScreen", order: Order) -> None:
    words = order.words
    count = len(screen.chat.turns)
    turns = int(words.pop(0)) if words and words[0].isdecimal() else count
    if not 0 < turns <= count:
        raise Unfit(f"turns to branch from: {count}; /branch {max(count, 1)} takes them all")
    session = await screen.keeper.do(screen.keeper.sessions.branch, screen.chat.session, turns, " ".join(words))
    screen.open_session(session)
    copied = "the first turn" if turns == 1 else f"the first {turns} turns"
    screen.tell(f"this is {session.name}, a copy of {copied}; the other one is kept as it was")


async def _system(screen: "ChatScreen", order: Order) -> None:
    session = screen.chat.session
    if not order.rest:
        said = f"the system prompt is: {session.system}" if session.system else "there is no system prompt"
        screen.tell(f"{said} (/system TEXT sets it, /system none takes it away)")
        return
    screen.chat.session = replace(session, system="" if order.rest == NONE else order.rest)
    deaf = [model for model in session.models if not screen.chat.chatty.get(model, True)]
    hint = f"; {deaf[0]} has no chat template and is not told" if deaf else ""
    screen.tell(f"the system prompt {'is gone' if order.rest == NONE else 'holds'} from the next prompt on{hint}")


async def _set(screen: "ChatScreen", order: Order) -> None:
    changed: dict[str, float] = {}
    for word in order.words:
        name, mark, value = word.partition("=")
        dial = dial_named(name)
        if not mark:
            raise Unfit(f"type /set {dial.name}=VALUE, such as /set {dial.name}={dial.usual:g}")
        changed[dial.name] = dial.read(value)
    if not changed:
        screen.action_sampling()
        return
    screen.take_settings(changed)


async def _save(screen: "ChatScreen", order: Order) -> None:
    if not order.rest:
        raise Unfit("type /save and a name, such as /save greetings")
    before = screen.chat.session
    kept = await screen.keeper.do(screen.keeper.sessions.rename, before, order.rest)
    screen.chat.session = replace(screen.chat.session, name=kept.name, named=True)
    screen.refresh_all()
    screen.tell(f"kept as {kept.name}; slmctl chat --session {shlex.quote(kept.name)} goes on from here")


async def _load(screen: "ChatScreen", order: Order) -> None:
    if order.rest:
        screen.open_session(await screen.keeper.do(screen.keeper.sessions.load, order.rest))
        return
    listed = await screen.keeper.do(screen.keeper.sessions.listed)
    if not listed:
        raise Unfit("no conversation has been kept yet")

    def load(name: str | None) -> None:
        if name is not None:
            screen.box.fill(f"/load {name}")
            screen.box.action_send()

    screen.app.push_screen(SessionsScreen(listed), load)


async def _model(screen: "ChatScreen", order: Order) -> None:
    models = check_models(_names(order.rest)) if order.rest else ()
    if not models:
        there = ", ".join(screen.there.models) or "none yet; slmctl run makes some"
        raise Unfit(f"type /model and one to four names (there are: {there}), or the path of a model")
    for model in models:
        await screen.sampler.load(model)  # whoever cannot answer takes nobody's seat
    screen.talk_to(models)


async def _score(screen: "ChatScreen", order: Order) -> None:
    if not order.rest:
        screen.tell(
            f"reward is given by {screen.chat.around.scorer or 'nobody'}; /score MODEL or /score none changes it"
        )
        return
    if order.rest != NONE:
        await screen.sampler.load(order.rest, scorer=True)
    screen.chat.session = replace(screen.chat.session, scorer=order.rest)
    await screen.look_around()
    screen.tell(f"{screen.chat.around.scorer or 'nobody'} gives the reward from the next reply on; /regen asks again")


async def _ref(screen: "ChatScreen", order: Order) -> None:
    if not order.rest:
        refs = sorted({ref for ref in screen.chat.around.refs.values() if ref})
        screen.tell(f"KL is taken to {' and '.join(refs) or 'nothing'}; /ref MODEL or /ref none changes it")
        return
    if order.rest != NONE:
        await screen.sampler.load(order.rest)
    screen.chat.session = replace(screen.chat.session, ref=order.rest)
    await screen.look_around()
    screen.tell("KL is taken to it from the next reply on")


async def _follow(screen: "ChatScreen", order: Order) -> None:
    if not screen.chat.turns:
        raise Unfit("there is no reply to go on from yet")
    models = screen.chat.turns[-1].models
    if order.rest != NONE and not (order.rest.isdecimal() and 1 <= int(order.rest) <= len(models)):
        raise Unfit("type /follow and the number of a reply of the last turn, such as /follow 1, or /follow none")
    leading = "" if order.rest == NONE else models[int(order.rest) - 1]
    screen.chat.follow(leading)
    screen.refresh_all()
    screen.keep()
    screen.tell(f"all go on from the replies of {leading}" if leading else "each goes on from its own replies")


async def _vote(screen: "ChatScreen", order: Order) -> None:
    verdicts = {"tie": TIE, "bad": BOTH_BAD}
    if order.rest.isdecimal():
        replying.judge(screen, CHOICE, int(order.rest))
    elif order.rest in verdicts:
        replying.judge(screen, verdicts[order.rest], None)
    elif order.rest == NONE:
        replying.take_back(screen)
    else:
        raise Unfit("type /vote 1 (or 2, ...), /vote tie, /vote bad, or /vote none to take it back")


async def _edit(screen: "ChatScreen", order: Order) -> None:
    if order.rest and not order.rest.isdecimal():
        raise Unfit("type /edit and the number of a reply, such as /edit 1")
    replying.edit(screen, int(order.rest) if order.rest else None)


async def _lens(screen: "ChatScreen", order: Order) -> None:
    kind = OFF if order.rest == "off" else order.rest
    if kind not in KINDS or not order.rest:
        raise Unfit(f"type /lens and one of {', '.join(filter(None, KINDS))}, off")
    screen.look_through(kind)


async def _new(screen: "ChatScreen", order: Order) -> None:
    screen.open_session(screen.fresh())


async def _help(screen: "ChatScreen", order: Order) -> None:
    await screen.app.run_action("help")


ORDERS: dict[str, Callable[["ChatScreen", Order], Awaitable[None]]] = {
    "regen": _regen,
    "undo": _undo,
    "branch": _branch,
    "system": _system,
    "set": _set,
    "save": _save,
    "load": _load,
    "model": _model,
    "score": _score,
    "ref": _ref,
    "follow": _follow,
    "vote": _vote,
    "edit": _edit,
    "lens": _lens,
    "new": _new,
    "help": _help,
}


def _names(text: str) -> tuple[str, ...]:
    """The names in a line, quoted where they hold spaces."""
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())
