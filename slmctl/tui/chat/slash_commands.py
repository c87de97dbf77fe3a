"""The slash commands of Chat: their list, parsing, completion, and the interpreter that runs them."""

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from engine.core.errors import did_you_mean
from engine.run.inputs import NONE
from slmctl.chat.chat import Chat
from slmctl.chat.conversation import ChatError, check_models
from slmctl.chat.related_models import list_policies, list_scorers
from slmctl.chat.sessions import Session, SessionFiles, SessionSummary
from slmctl.chat.votes import BOTH_BAD, CHOICE, TIE
from slmctl.tui.chat.lens import KINDS, OFF
from slmctl.tui.chat.session_saver import SessionSaver
from slmctl.worker.sampler import Sampler
from slmctl.worker.sampling_settings import SETTINGS, setting_named

SLASH = "/"
LENSES = (*(kind for kind in KINDS if kind != OFF), "off")


@dataclass(frozen=True)
class SlashCommand:
    """A command: how it is typed, and what it does."""

    name: str
    usage: str
    help: str


COMMANDS = {
    command.name: command
    for command in (
        SlashCommand("regen", "/regen", "reply to the last prompt again, with the next random step"),
        SlashCommand("undo", "/undo", "remove the last turn and return its prompt to the box"),
        SlashCommand(
            "branch", "/branch [TURNS] [NAME]", "continue in a copy of this conversation or of its first turns"
        ),
        SlashCommand("system", "/system TEXT|none", "set the system prompt"),
        SlashCommand("set", "/set temperature=0.7", "change sampling settings: " + ", ".join(SETTINGS)),
        SlashCommand("save", "/save NAME", "name this conversation; it is saved after each turn anyway"),
        SlashCommand("load", "/load [NAME]", "open a saved conversation; without a name, choose from a list"),
        SlashCommand("model", "/model A [B C D]", "chat with other models, up to four side by side"),
        SlashCommand("score", "/score MODEL|none", "choose the scorer of replies, such as tiny:rm or pocket:judge"),
        SlashCommand("ref", "/ref MODEL|none", "choose the reference for KL"),
        SlashCommand(
            "follow", "/follow 1|none", "make all models continue from reply 1, to compare their next replies"
        ),
        SlashCommand("vote", "/vote 1|2|tie|bad|none", "vote for the better reply, saved to the label database"),
        SlashCommand("edit", "/edit [1]", "write a better reply, saved to the label database as a demonstration"),
        SlashCommand("lens", "/lens kl|logprob|value|off", "color each token by one of its numbers"),
        SlashCommand("new", "/new", "start a new conversation with the same models"),
        SlashCommand("help", "/help", "show keys and commands"),
    )
}


@dataclass(frozen=True)
class Completion:
    """A completion of a line, and a description of it."""

    line: str
    help: str


@dataclass(frozen=True)
class KnownNames:
    """The names that commands can be completed to."""

    models: Sequence[str] = ()
    scorers: Sequence[str] = ()
    sessions: Sequence[str] = ()


def find_names(home: Path) -> KnownNames:
    """The names that exist in the runs folder. Reads files, so not for the event loop of a screen."""
    return KnownNames(list_policies(home), list_scorers(home), SessionFiles(home).names())


def parse(text: str) -> tuple[str, str] | None:
    """The name and argument of a command; None for a prompt, which may start with two slashes.

    Raises: ChatError for an unknown command, or an argument to one that takes none.
    """
    if not text.startswith(SLASH) or text.startswith(SLASH * 2):
        return None
    name, _, rest = text.removeprefix(SLASH).partition(" ")
    name, _, next_line = name.partition("\n")
    if name not in COMMANDS:
        hint = "/help lists all commands, and // starts a prompt with a slash"
        raise ChatError(f"there is no command {SLASH + name[:40]!r}{did_you_mean(name, COMMANDS)}; {hint}")
    argument = f"{next_line} {rest}".strip()
    if argument and COMMANDS[name].usage == SLASH + name:
        raise ChatError(f"/{name} takes no argument, but {argument[:40]!r} was given")
    return name, argument


def unescape_prompt(text: str) -> str:
    """The prompt that a text stands for: one slash in place of two at its start."""
    return text.removeprefix(SLASH) if text.startswith(SLASH * 2) else text


def escape_prompt(prompt: str) -> str:
    """The text to type for a prompt: with two slashes if it starts with one."""
    return SLASH + prompt if prompt.startswith(SLASH) else prompt


def completions(text: str, names: KnownNames) -> list[Completion]:
    """The completions of a line; none for a prompt."""
    if not text.startswith(SLASH) or text.startswith(SLASH * 2) or "\n" in text:
        return []
    name, space, rest = text.removeprefix(SLASH).partition(" ")
    if not space:
        found = [command for command in COMMANDS.values() if command.name.startswith(name)]
        return [Completion(SLASH + command.name, f"{command.usage} · {command.help}") for command in found]
    if name not in COMMANDS:
        return []
    values: Mapping[str, Sequence[str]] = {
        "model": names.models,
        "ref": (*names.models, NONE),
        "score": (*names.scorers, NONE),
        "load": names.sessions,
        "set": tuple(f"{setting}=" for setting in SETTINGS),
        "lens": LENSES,
        "vote": ("1", "2", "tie", "bad", NONE),
    }
    before, gap, last = rest.rpartition(" ")
    start = f"{SLASH}{name} {before}{gap}"
    found_values = [value for value in values.get(name, ()) if value.startswith(last) and value != last]
    help = f"{COMMANDS[name].usage} · {COMMANDS[name].help}"
    return [Completion(start + value, help) for value in found_values] or [Completion(text, help)]


class ChatActions(Protocol):
    """What commands need from the chat screen. Actions raise ChatError if they are not possible."""

    chat: Chat
    names: KnownNames
    saver: SessionSaver

    @property
    def sampler(self) -> Sampler:
        """The current sampler."""

    async def update_related(self) -> None:
        """Finds the models related to those of the chat."""

    def open_session(self, session: Session) -> None:
        """Shows another session."""

    def set_models(self, models: Sequence[str]) -> None:
        """Continues with other models."""

    def set_sampling(self, values: Mapping[str, float]) -> None:
        """Changes sampling settings and seed."""

    def set_lens(self, kind: str) -> None:
        """Colors tokens by one of their numbers."""

    def fill_prompt(self, text: str) -> None:
        """Puts a prompt into the box, selected."""

    def regenerate(self) -> None:
        """Replies to the last prompt again."""

    def vote(self, verdict: str, number: int | None = None) -> None:
        """Saves a vote."""

    def withdraw_vote(self) -> None:
        """Withdraws the last vote or edit."""

    def edit_reply(self, number: int | None = None) -> None:
        """Opens a reply for editing."""

    def action_sampling(self) -> None:
        """Opens the sampling settings."""

    def choose_session(self, summaries: Sequence[SessionSummary]) -> None:
        """Opens the list of saved sessions."""

    async def run_action(self, action: str) -> None:
        """Runs an action of Textual."""


class CommandInterpreter:
    """Runs commands. Each method returns the note to show, and raises EngineError if the command is not possible."""

    def __init__(self, screen: ChatActions) -> None:
        self._screen = screen

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
        files, session = self._screen.saver.files, self._screen.chat.session
        branch = await self._screen.saver.run(files.branch, session, turns, " ".join(words))
        self._screen.open_session(branch)
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
            self._screen.set_sampling(changed)
        else:
            self._screen.action_sampling()
        return ""

    async def do_save(self, argument: str) -> str:
        """Names the conversation."""
        if not argument:
            raise ChatError("type /save and a name, such as /save greetings")
        chat, saver = self._screen.chat, self._screen.saver
        saved = await saver.run(saver.files.rename, chat.session, argument)
        chat.session = replace(chat.session, name=saved.name, named=True)
        return f"saved as {saved.name}; reopen it with slmctl chat --session {shlex.quote(saved.name)}"

    async def do_load(self, argument: str) -> str:
        """Opens a saved conversation."""
        saver = self._screen.saver
        if argument:
            self._screen.open_session(await saver.run(saver.files.load, argument))
            return ""
        summaries = await saver.run(saver.files.summaries)
        if not summaries:
            raise ChatError("there are no saved conversations yet")
        self._screen.choose_session(summaries)
        return ""

    async def do_model(self, argument: str) -> str:
        """Changes the models."""
        if not argument:
            known = ", ".join(self._screen.names.models) or "none yet; train some with slmctl run"
            raise ChatError(f"type /model and one to four names (models: {known}) or paths")
        models = check_models(_split(argument))
        for model in models:
            await self._screen.sampler.load(model)  # before any of them joins the chat
        self._screen.set_models(models)
        return ""

    async def do_score(self, argument: str) -> str:
        """Shows or changes the scorer."""
        chat = self._screen.chat
        if not argument:
            return f"scorer: {chat.related.scorer or NONE} (change it with /score MODEL or /score none)"
        if argument != NONE:
            await self._screen.sampler.load(argument, scorer=True)
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
            await self._screen.sampler.load(argument)
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
        if argument.isdecimal():
            self._screen.vote(CHOICE, int(argument))
        elif argument in ("tie", "bad"):
            self._screen.vote(TIE if argument == "tie" else BOTH_BAD)
        elif argument == NONE:
            self._screen.withdraw_vote()
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
        files, session = self._screen.saver.files, self._screen.chat.session
        self._screen.open_session(replace(session, name=files.new_name(), named=False, turns=()))
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
