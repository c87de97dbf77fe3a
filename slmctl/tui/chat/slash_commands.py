"""The slash commands of Chat, as they are run; prompt_box.py lists, parses and completes them."""

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from engine.run.inputs import NONE
from slmctl.chat.chat import Chat
from slmctl.chat.conversation import ChatError, check_models
from slmctl.chat.sessions import Session, SessionFiles, SessionSummary
from slmctl.chat.votes import BOTH_BAD, CHOICE, TIE
from slmctl.tui.chat.lens import OFF
from slmctl.tui.chat.prompt_box import LENSES, escape_prompt
from slmctl.worker.protocol import Sampler
from slmctl.worker.sampling_settings import setting_named


class ChatActions(Protocol):
    """What commands need from the chat screen. Actions raise ChatError if they are not possible."""

    chat: Chat
    files: SessionFiles
    names: Mapping[str, Sequence[str]]

    async def on_disk(self, job: Callable[..., Any], *args: Any) -> Any:
        """The result of a job on files."""

    async def update_related(self) -> None:
        """Finds the models related to those of the chat."""

    def open_session(self, session: Session) -> None:
        """Shows another session."""

    def set_models(self, models: Sequence[str]) -> None:
        """Continues with other models."""

    def set_lens(self, kind: str) -> None:
        """Colors tokens by one of their numbers."""

    def fill_prompt(self, text: str) -> None:
        """Puts a prompt into the box, selected."""

    def regenerate(self) -> None:
        """Replies to the last prompt again."""

    def vote(self, verdict: str, number: int | None = None) -> None:
        """Saves a vote, or withdraws the last one."""

    def edit_reply(self, number: int | None = None) -> None:
        """Opens a reply for editing."""

    def choose_session(self, summaries: Sequence[SessionSummary]) -> None:
        """Opens the list of saved sessions."""

    async def run_action(self, action: str) -> None:
        """Runs an action of Textual."""


class CommandInterpreter:
    """Runs commands. Each method returns the note to show, and raises EngineError if the command is not possible."""

    def __init__(self, screen: ChatActions, sampler: Callable[[], Sampler]) -> None:
        self._screen, self._sampler = screen, sampler

    async def run(self, name: str, argument: str) -> str:
        """Runs a command; its note, or "". Raises: EngineError."""
        method: Callable[[str], Awaitable[str]] = getattr(self, f"do_{name}")
        return await method(argument)

    async def do_regen(self, _: str) -> str:
        """Replies to the last prompt again."""
        await self._screen.update_related()
        self._screen.regenerate()
        return ""

    async def do_undo(self, _: str) -> str:
        """Removes the last turn."""
        self._screen.fill_prompt(escape_prompt(self._screen.chat.undo()))
        return (
            "turn removed; press Enter to send its prompt again, type to replace it, or press an arrow key to edit it"
        )

    async def do_branch(self, argument: str) -> str:
        """Continues in a copy."""
        words, count = argument.split(), len(self._screen.chat.turns)
        turns = int(words.pop(0)) if words and words[0].isdecimal() else count
        if not 0 < turns <= count:
            raise ChatError(f"cannot copy {turns} turns; the conversation has {count}")
        screen = self._screen
        branch = await screen.on_disk(screen.files.branch, screen.chat.session, turns, " ".join(words))
        screen.open_session(branch)
        copied = "the first turn" if turns == 1 else f"the first {turns} turns"
        return f"this is {branch.name}, a copy of {copied}; the original conversation is unchanged"

    async def do_system(self, argument: str) -> str:
        """Shows or changes the system prompt."""
        chat, session = self._screen.chat, self._screen.chat.session
        if not argument:
            now = f"system prompt: {session.system}" if session.system else "no system prompt"
            return f"{now} (/system TEXT sets it, /system none removes it)"
        chat.session = replace(session, system="" if argument == NONE else argument)
        without = [model for model in session.models if not chat.has_template.get(model, True)]
        hint = f"; {without[0]} has no chat template and ignores it" if without else ""
        return f"system prompt {'removed' if argument == NONE else 'set'}; applies from the next prompt{hint}"

    async def do_set(self, argument: str) -> str:
        """Changes sampling settings."""
        changed: dict[str, float] = {}
        for word in argument.split():
            name, equals, value = word.partition("=")
            setting = setting_named(name)
            if not equals:
                raise ChatError(f"type /set {setting.name}=VALUE, such as /set {setting.name}={setting.default:g}")
            changed[setting.name] = setting.parse(value)
        if changed:
            self._screen.chat.set_sampling(changed)
        else:
            await self._screen.run_action("sampling")
        return ""

    async def do_save(self, argument: str) -> str:
        """Names the conversation."""
        if not argument:
            raise ChatError("type /save and a name, such as /save greetings")
        chat = self._screen.chat
        saved = await self._screen.on_disk(self._screen.files.rename, chat.session, argument)
        chat.session = replace(chat.session, name=saved.name, named=True)
        return f"saved as {saved.name}; reopen it with slmctl chat --session {shlex.quote(saved.name)}"

    async def do_load(self, argument: str) -> str:
        """Opens a saved conversation."""
        files = self._screen.files
        if argument:
            self._screen.open_session(await self._screen.on_disk(files.load, argument))
            return ""
        summaries = await self._screen.on_disk(files.summaries)
        if not summaries:
            raise ChatError("there are no saved conversations yet")
        self._screen.choose_session(summaries)
        return ""

    async def do_model(self, argument: str) -> str:
        """Changes the models."""
        if not argument:
            known = ", ".join(self._screen.names.get("model", ())) or "none yet; train some with slmctl run"
            raise ChatError(f"type /model and one to four names (models: {known}) or paths")
        models = check_models(_split(argument))
        for model in models:
            await self._sampler().load(model)  # before any of them joins the chat
        self._screen.set_models(models)
        return ""

    async def do_score(self, argument: str) -> str:
        """Shows or changes the scorer."""
        chat = self._screen.chat
        if not argument:
            return f"scorer: {chat.related.scorer or NONE} (change it with /score MODEL or /score none)"
        if argument != NONE:
            await self._sampler().load(argument, scorer=True)
        chat.session = replace(chat.session, scorer=argument)
        await self._screen.update_related()
        return f"scorer: {chat.related.scorer or NONE}; applies from the next reply, /regen replies again"

    async def do_ref(self, argument: str) -> str:
        """Shows or changes the reference for KL."""
        chat = self._screen.chat
        if not argument:
            refs = sorted({ref for ref in chat.related.refs.values() if ref})
            return f"reference for KL: {' and '.join(refs) or NONE} (change it with /ref MODEL or /ref none)"
        if argument != NONE:
            await self._sampler().load(argument)
        chat.session = replace(chat.session, ref=argument)
        await self._screen.update_related()
        return f"reference for KL: {argument}; applies from the next reply"

    async def do_follow(self, argument: str) -> str:
        """Makes all models continue from one reply."""
        chat = self._screen.chat
        if not chat.turns:
            raise ChatError("there is no reply to follow yet")
        models = chat.turns[-1].models
        if argument != NONE and not (argument.isdecimal() and 1 <= int(argument) <= len(models)):
            raise ChatError(
                "type /follow and the number of a reply in the last turn, such as /follow 1, or /follow none"
            )
        followed = "" if argument == NONE else models[int(argument) - 1]
        chat.follow(followed)
        return f"all models continue from {followed}" if followed else "each model continues from its own replies"

    async def do_vote(self, argument: str) -> str:
        """Votes on the last turn, or on that of the selected reply."""
        verdicts = {"tie": TIE, "bad": BOTH_BAD, NONE: NONE}
        if argument.isdecimal():
            self._screen.vote(CHOICE, int(argument))
        elif argument in verdicts:
            self._screen.vote(verdicts[argument])
        else:
            raise ChatError("type /vote 1 (or 2, ...), /vote tie, /vote bad, or /vote none to withdraw a vote")
        return ""

    async def do_edit(self, argument: str) -> str:
        """Opens a reply for editing."""
        if argument and not argument.isdecimal():
            raise ChatError("type /edit and the number of a reply, such as /edit 1")
        self._screen.edit_reply(int(argument) if argument else None)
        return ""

    async def do_lens(self, argument: str) -> str:
        """Changes the token lens."""
        if argument not in LENSES:
            raise ChatError(f"type /lens and one of {', '.join(LENSES)}")
        self._screen.set_lens(OFF if argument == "off" else argument)
        return ""

    async def do_new(self, _: str) -> str:
        """Starts a new conversation with the same models and settings."""
        session, name = self._screen.chat.session, self._screen.files.new_name()
        self._screen.open_session(replace(session, name=name, named=False, turns=()))
        return ""

    async def do_help(self, _: str) -> str:
        """Opens the help."""
        await self._screen.run_action("app.help")
        return ""


def _split(text: str) -> tuple[str, ...]:
    """The words of a line; names with spaces are quoted."""
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())
