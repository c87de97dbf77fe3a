"""The lines of the chat screen: what holds, what the keys do now, what is said where there is nothing yet."""

from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len
from textual.content import Content

from slmctl.chat.sampling_settings import in_words
from slmctl.chat.state import Chat
from slmctl.console.safe import clean, one_line
from slmctl.tui.chat.slash import SLASHES, Completion

NAME_WIDTH = 30
MARGINS = 2  # columns beside a line
SHOWN = 6  # completions in the hint
HELP = (
    "Esc stops the replies; tab goes to them, where one key votes, copies, edits or looks closer.\n"
    "Under a reply stand its reward (the highest is marked), its KL to the reference, its tokens, and how it "
    "ended: by itself (ended), by you (stopped) or at the longest length (cut off).\n\n"
    + "\n".join(f"{slash.usage}  {slash.about}" for slash in SLASHES)
)


def head(chat: Chat, kept: bool, width: int) -> Content:
    """How replies are drawn and measured, then the conversation's name; first of all, if it is not on the disk. What
    does not fit is left out, the last first."""
    session, around = chat.session, chat.around
    refs = list(dict.fromkeys(ref for ref in around.refs.values() if ref))
    parts = [in_words(session.sampling), f"seed {session.seed}"]
    parts += [f"reward by {one_line(around.scorer, NAME_WIDTH)}"] if around.scorer else ["no reward: /score MODEL"]
    parts += [f"KL to {one_line(' and '.join(refs), NAME_WIDTH)}"] if refs else []
    parts += ["system prompt"] if session.system else []
    name = one_line(session.name, NAME_WIDTH)
    parts = [*parts, name] if kept else [f"{name} (not kept)", *parts]
    while len(parts) > 1 and cell_len(" · ".join(parts)) > width - MARGINS:
        parts.pop()
    return Content.styled(" · ".join(parts), "$foreground-muted")


def hint(chat: Chat, completions: Sequence[Completion], typed: str, serial: int | None) -> str:
    """What the keys do now: to replies where one to the turn `serial` has the focus, else in the box, or what is being
    completed there."""
    if serial is not None:
        count = len(chat.turn_of(serial).models)
        better = "e writes a better reply" if count == 1 else f"1 to {count}: better, twice: much better"
        return f"{better} · backspace takes it back · esc to the box"
    if completions:
        (first, *others) = completions
        if not others:
            return clean(first.about)
        words = [completion.line.rpartition(" ")[2] for completion in completions]
        more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
        return one_line(f"tab: {'  '.join(words[:SHOWN])}{more}")
    if chat.busy:
        return "esc stops the replies, what has come stays"
    if chat.continues():
        told = chat.before(None, chat.session.models[0])
        return f"no chat template: {told + len(typed)} characters are continued as they stand · / commands"
    return "enter sends · ctrl+j new line · up recalls · / commands · tab to the replies"


def welcome(chat: Chat, there: Sequence[str], labels: Path) -> Content:
    """What to do first, where nothing has been said; `labels` is where judgements go."""
    models = chat.session.models
    if not models:
        known = ", ".join(one_line(name) for name in there[:6]) or "none yet; slmctl run makes some"
        return Content(f"Whom to talk to? Type /model and one to four names.\nThere are: {known}")
    names = " and ".join(one_line(model) for model in models)
    if chat.continues():
        first = f"{names} continues what you type: the beginning of a text, for example."
    else:
        side = "" if len(models) == 1 else ", each with the same prompt and seed"
        first = f"Say something to {names}{side}."
    then = "tab leads to the replies: e writes a better one" + (
        ", 1 or 2 says which is better" if len(models) > 1 else ""
    )
    kept = f"{then}. That is kept in {one_line(str(labels))}."
    return Content.assemble(Content.styled(first, "italic"), "\n", Content.styled(kept, "$foreground-muted"))
