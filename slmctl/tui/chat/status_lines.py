"""The lines around the turns of a chat: settings at the top, notes and key hints at the bottom, the welcome text."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from slmctl.chat.chat import Chat
from slmctl.console.safe import clean, one_line
from slmctl.tui.chat.prompt_box import COMMANDS
from slmctl.worker.sampling_settings import describe_sampling

NAME_WIDTH = 30
MARGINS = 2  # columns beside a line
MOST_COMPLETIONS = 6  # in the hint
HELP = (
    "Esc stops the replies. Tab selects them; keys then vote on, copy, edit or inspect the selected reply.\n"
    "Each reply shows its reward (the highest is marked), its KL to the reference, its tokens, and how it ended: by "
    "itself (ended), by you (stopped) or at the maximum length (cut off).\n\n"
    + "\n".join(f"{command.usage}  {command.help}" for command in COMMANDS.values())
)


class NoteLine(Static):
    """One sentence, shown until the next action; hidden without one."""

    def __init__(self, id: str) -> None:
        super().__init__("", markup=False, id=id)
        self._sentence = ""

    def show(self, sentence: str, problem: bool = False) -> None:
        """Replaces the sentence; "" hides the line."""
        self._sentence, self.display = sentence, bool(sentence)
        self.update(Content.styled(("! " if problem else "") + clean(sentence), "$text-error" if problem else ""))

    def clear_if(self, sentence: str) -> None:
        """Hides a sentence that no longer applies, if it is shown."""
        if self._sentence == sentence:
            self.show("")


def settings_line(chat: Chat, saved: bool, width: int) -> Content:
    """Sampling, scorer, reference and name of the conversation. Cut from the end to fit; a conversation that is not
    saved comes first."""
    session, related = chat.session, chat.related
    refs = list(dict.fromkeys(ref for ref in related.refs.values() if ref))
    parts = [describe_sampling(session.sampling), f"seed {session.seed}"]
    parts += [f"reward by {one_line(related.scorer, NAME_WIDTH)}"] if related.scorer else ["no reward: /score MODEL"]
    parts += [f"KL to {one_line(' and '.join(refs), NAME_WIDTH)}"] if refs else []
    parts += ["system prompt"] if session.system else []
    name = one_line(session.name, NAME_WIDTH)
    parts = [*parts, name] if saved else [f"{name} (not saved)", *parts]
    while len(parts) > 1 and cell_len(" · ".join(parts)) > width - MARGINS:
        parts.pop()
    return Content.styled(" · ".join(parts), "$foreground-muted")


def key_hint(chat: Chat, completions: Mapping[str, str], typed: str, serial: int | None) -> str:
    """What the keys do: on the selected reply to the turn `serial`, else in the prompt box."""
    if serial is not None:
        count = len(chat.turn(serial).models)
        vote = (
            "e: write a better reply"
            if count == 1
            else f"1 {'or' if count == 2 else 'to'} {count}: better, again: much better"
        )
        return f"{vote} · backspace: withdraw · esc: prompt box"
    if completions:
        if len(completions) == 1:
            return clean(*completions.values())
        words = [line.rpartition(" ")[2] for line in completions]
        more = f" and {len(words) - MOST_COMPLETIONS} more" if len(words) > MOST_COMPLETIONS else ""
        return one_line(f"tab: {'  '.join(words[:MOST_COMPLETIONS])}{more}")
    if chat.busy:
        return "esc: stop the replies, keeping their text"
    if chat.completes_text():
        length = chat.context_length(None, chat.session.models[0]) + len(typed)
        return f"no chat template: {length} characters are continued verbatim · /: commands"
    return "enter: send · ctrl+j: new line · up: history · /: commands · tab: replies"


def welcome(chat: Chat, names: Sequence[str], labels: Path) -> Content:
    """What to do first in an empty conversation; `labels` is the label database."""
    models = chat.session.models
    if not models:
        known = ", ".join(one_line(name) for name in names[:6]) or "none yet; train some with slmctl run"
        return Content(f"Choose models with /model and one to four names.\nModels: {known}")
    who = " and ".join(one_line(model) for model in models)
    if chat.completes_text():
        first = f"Type the beginning of a text. Without a chat template, {who} will continue it."
    else:
        reply = "replies" if len(models) == 1 else "reply side by side, with the same seed"
        first = f"Type a prompt. {who} {reply}."
    vote = "1 or 2 votes for the better one, " if len(models) > 1 else ""
    then = f"Tab selects replies: {vote}e edits one. Votes and edits are saved to {one_line(str(labels))}."
    return Content.assemble(Content.styled(first, "italic"), "\n", Content.styled(then, "$foreground-muted"))
