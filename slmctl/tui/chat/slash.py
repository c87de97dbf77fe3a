"""The slash commands of a chat: which there are, what a typed line means, and how it can be completed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.core.errors import did_you_mean
from slmctl.chat.conversation import Unfit
from slmctl.chat.run_models import policies_there, scorers_there
from slmctl.chat.sampling_settings import DIALS
from slmctl.chat.sessions import Sessions

MARK = "/"


@dataclass(frozen=True)
class Slash:
    """A command as it is typed, and what it does."""

    name: str
    usage: str
    about: str


SLASHES = (
    Slash("regen", "/regen", "answer the last prompt again, from the next step of the seed"),
    Slash("undo", "/undo", "take the last turn back; its prompt returns to the box, selected"),
    Slash("branch", "/branch [TURNS] [NAME]", "go on in a copy of this conversation, or of its first turns"),
    Slash("system", "/system TEXT|none", "the system prompt from now on"),
    Slash("set", "/set temperature=0.7", "change sampling: " + ", ".join(DIALS)),
    Slash("save", "/save NAME", "give this conversation a name; it is kept after each turn anyway"),
    Slash("load", "/load [NAME]", "go on with a kept conversation; without a name, choose from a list"),
    Slash("model", "/model A [B C D]", "talk to other models, up to four side by side"),
    Slash("score", "/score MODEL|none", "who gives the reward under each reply, such as tiny:rm or pocket:judge"),
    Slash("ref", "/ref MODEL|none", "the model that KL is taken to"),
    Slash("follow", "/follow 1|none", "all models go on from reply 1, so that their next replies can be compared"),
    Slash("vote", "/vote 1|2|tie|bad|none", "which reply is better, into the label database"),
    Slash("edit", "/edit [1]", "write a better reply: a demonstration in the label database"),
    Slash("lens", "/lens kl|logprob|value|off", "colour each token by a number"),
    Slash("new", "/new", "begin a new conversation with the same models"),
    Slash("help", "/help", "keys and commands"),
)
BY_NAME = {slash.name: slash for slash in SLASHES}


@dataclass(frozen=True)
class Order:
    """A command that was typed, with the rest of its line."""

    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest, word by word."""
        return self.rest.split()


@dataclass(frozen=True)
class Completion:
    """What a line could become, and what is said of it."""

    line: str
    about: str


@dataclass(frozen=True)
class There:
    """What names can be completed to."""

    models: Sequence[str] = ()
    scorers: Sequence[str] = ()
    sessions: Sequence[str] = ()


def order_of(text: str) -> Order | None:
    """The command that a text is; None for a prompt. Two slashes begin a prompt that has one.

    Raises: Unfit for an unknown command, and for arguments of a command that takes none.
    """
    if not text.startswith(MARK) or text.startswith(MARK * 2):
        return None
    name, _, rest = text.removeprefix(MARK).partition(" ")
    head, _, more = name.partition("\n")
    if head not in BY_NAME:
        near = did_you_mean(head, BY_NAME)
        raise Unfit(
            f"there is no command {'/' + head[:40]!r}{near}; /help lists them, and // begins a prompt with a slash"
        )
    words = f"{more} {rest}".strip() if more else rest.strip()
    if words and BY_NAME[head].usage == MARK + head:
        raise Unfit(f"/{head} stands alone, and {words[:40]!r} was typed behind it")
    return Order(head, words)


def prompt_of(text: str) -> str:
    """The prompt that a text is: one slash where two were typed."""
    return text.removeprefix(MARK) if text.startswith(MARK * 2) else text


def typed_for(prompt: str) -> str:
    """What is typed to send a prompt: two slashes where it begins with one."""
    return MARK + prompt if prompt.startswith(MARK) else prompt


def names_there(home: Path) -> There:
    """The names that a home of runs has now. Reads files: not for the loop of a screen."""
    return There(policies_there(home), scorers_there(home), Sessions(home).names())


def completions(text: str, there: There) -> list[Completion]:
    """What the line could become, likeliest first; nothing for a prompt."""
    if not text.startswith(MARK) or text.startswith(MARK * 2) or "\n" in text:
        return []
    name, space, rest = text.removeprefix(MARK).partition(" ")
    if not space:
        found = [slash for slash in SLASHES if slash.name.startswith(name)]
        return [Completion(MARK + slash.name, f"{slash.usage} · {slash.about}") for slash in found]
    slash = BY_NAME.get(name)
    if slash is None:
        return []
    values: Mapping[str, Sequence[str]] = {
        "model": there.models,
        "ref": (*there.models, "none"),
        "score": (*there.scorers, "none"),
        "load": there.sessions,
        "set": tuple(f"{dial}=" for dial in DIALS),
        "lens": ("kl", "logprob", "value", "off"),
        "vote": ("1", "2", "tie", "bad", "none"),
    }
    head, gap, last = rest.rpartition(" ")
    start = f"{MARK}{name} {head}{gap}"
    found_values = [value for value in values.get(name, ()) if value.startswith(last) and value != last]
    about = f"{slash.usage} · {slash.about}"
    return [Completion(start + value, about) for value in found_values] or [Completion(text, about)]
