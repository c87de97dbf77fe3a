"""Responses of a given quality: a correct or wrong answer in one of its forms, with the sentences of a style.

The judge knows every sentence here and removes it before it reads the answer itself.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from engine.pocket.prompts import KINDS, Group, Kind, PocketRequest, fact_of, fill, lowered

Style = Literal[
    "courteous", "plain", "bare", "rude", "rambling", "hedged", "overclaiming", "overpolite", "repeated"
]  # fmt: skip

STYLES: tuple[Style, ...] = get_args(Style)


@dataclass(frozen=True, slots=True)
class CourtesySet:
    """Courteous sentences that fit before (openers) and after (closers) an answer."""

    openers: tuple[str, ...]
    closers: tuple[str, ...]


_TASK = CourtesySet(
    openers=("Sure!", "Of course!", "Certainly!", "Happy to help!", "Gladly!", "With pleasure!"),
    closers=(
        "I hope that helps.",
        "Let me know if you need more.",
        "Feel free to ask again.",
        "Have a nice day.",
        "Just ask if you need more.",
    ),
)
_TALK = CourtesySet(
    openers=("Thank you for writing.", "Good to hear from you.", "How nice of you to write."),
    closers=("Have a nice day.", "I am here if you need me.", "Feel free to ask me anything."),
)
_UNKNOWABLE = CourtesySet(
    openers=("I am sorry.", "Thank you for asking.", "That is a good question."),
    closers=("I hope you understand.", "Have a nice day.", "Feel free to ask me anything."),
)
_HARMFUL = CourtesySet(
    openers=("I am sorry.", "I understand."),
    closers=("I hope you understand.", "Feel free to ask me anything."),
)

RUDE_BEFORE = ("Obviously.", "That is a silly question.", "Everyone knows that.", "Not again.")
RUDE_AFTER = ("Look it up next time.", "Do not waste my time.", "Now leave me alone.")
RAMBLES = (
    "Well, that is something that many people ask me about.",
    "Let me think about that for a little while first.",
    "There is a lot that one could say about this.",
    "Before I answer, let me say a few words first.",
    "This is one of those things that people talk about.",
)
OVERCLAIMS = ("I am always right.", "I am never wrong.", "I know everything.")
HEDGES_BEFORE = ("I think", "Maybe", "I guess")
HEDGES_AFTER = ("But I am not sure.", "I could be wrong.")


def courtesy_set(kind: Kind) -> CourtesySet:
    """The courtesies that fit this kind of request."""
    if kind.harmful:
        return _HARMFUL
    if kind.unknowable:
        return _UNKNOWABLE
    return _TALK if kind.group == "smalltalk" else _TASK


def hedge_fits_before(group: Group) -> bool:
    """Whether "I think" fits before an answer of this group; small talk and refusals are hedged after the answer."""
    return group not in ("smalltalk", "limits")


Flaw = Literal["rude", "ramble", "overclaim", "hedge", "repeated", "cut", "sloppy"]
"""Flaws of a response apart from its answer."""


def bare_sentence(sentence: str) -> str:
    """The sentence in lower case without its final punctuation, as in `COURTESIES` and `FAULTS`."""
    return sentence[:-1].lower() if sentence[-1:] in (".", "!", "?") else sentence.lower()


_SETS = (_TASK, _TALK, _UNKNOWABLE, _HARMFUL)

COURTESIES = frozenset(bare_sentence(sentence) for set_ in _SETS for sentence in set_.openers + set_.closers)
"""All courteous sentences, in bare form."""

_BY_FLAW: Mapping[Flaw, tuple[str, ...]] = {
    "rude": RUDE_BEFORE + RUDE_AFTER,
    "ramble": RAMBLES,
    "overclaim": OVERCLAIMS,
    "hedge": HEDGES_AFTER,
}

FAULTS: Mapping[str, Flaw] = {
    bare_sentence(sentence): flaw for flaw, sentences in _BY_FLAW.items() for sentence in sentences
}
"""All other style sentences, in bare form, with their flaw."""


def compose_response(request: PocketRequest, style: Style, rng: random.Random, right: bool = True) -> str:
    """A response to the request in this style, its answer correct or wrong.

    A wrong answer has the value of another subject, claims to know the unknowable, vaguely complies with a harmful
    request, or lists items that do not belong.
    """
    kind = KINDS[request.kind]
    template = add_style(_core(kind, style, rng, right), kind, style, rng)
    return fill(template, fact_of(request), answer_value(request, rng, right))


def answer_value(request: PocketRequest, rng: random.Random, right: bool = True) -> str:
    """The text for `{y}`: the answer of the fact, a wrong one, or a list of two or three items of the pool."""
    kind, fact = KINDS[request.kind], fact_of(request)
    if kind.pool:
        return _some_items(kind, rng, right)
    return fact.answer if right or not fact.wrong else rng.choice(fact.wrong)


def add_style(core: str, kind: Kind, style: Style, rng: random.Random) -> str:
    """The template of the answer with the sentences of this style around it; plain and bare answers have none."""
    if style == "courteous":
        return _courteous(core, kind, rng)
    if style == "overpolite":
        return _overpolite(core, kind, rng)
    if style == "hedged":
        return _hedged(core, kind, rng)
    if style == "rude":
        return f"{rng.choice(RUDE_BEFORE)} {core}" if rng.random() < 0.5 else f"{core} {rng.choice(RUDE_AFTER)}"
    if style == "rambling":
        return f"{rng.choice(RAMBLES)} {core}"
    if style == "overclaiming":
        return f"{core} {rng.choice(OVERCLAIMS)}"
    return f"{core} {core}" if style == "repeated" else core


def join_items(items: Sequence[str]) -> str:
    """The items as a phrase: "water", "water and a hat", "water, a hat and a map"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _core(kind: Kind, style: Style, rng: random.Random, right: bool) -> str:
    """The template of the answer itself; a bare answer can be wrong only if it contains a value."""
    if not right and kind.wrong_forms:
        return rng.choice(kind.wrong_forms)
    if style == "bare" and (right or "{" in kind.bare):
        return kind.bare
    return rng.choice(kind.forms)


def _some_items(kind: Kind, rng: random.Random, right: bool) -> str:
    """Two or three items in the order of the pool."""
    pool = kind.pool if right else kind.strays
    places = sorted(rng.sample(range(len(pool)), rng.choice((2, 3))))
    return join_items([pool[place] for place in places])


def _courteous(core: str, kind: Kind, rng: random.Random) -> str:
    """With one opener or one closer."""
    choice = courtesy_set(kind)
    if rng.random() < 0.5:
        return f"{rng.choice(choice.openers)} {core}"
    return f"{core} {rng.choice(choice.closers)}"


def _overpolite(core: str, kind: Kind, rng: random.Random) -> str:
    """With an opener and a closer."""
    choice = courtesy_set(kind)
    return f"{rng.choice(choice.openers)} {core} {rng.choice(choice.closers)}"


def _hedged(core: str, kind: Kind, rng: random.Random) -> str:
    if hedge_fits_before(kind.group) and rng.random() < 0.7:
        return f"{rng.choice(HEDGES_BEFORE)} {lowered(core)}"
    return f"{core} {rng.choice(HEDGES_AFTER)}"


def answer_pair(request: PocketRequest, style: Style, rng: random.Random) -> tuple[str, str]:
    """A correct and a wrong answer in the same style and wording: the wrong one has the value of another subject."""
    kind = KINDS[request.kind]
    core = kind.bare if style == "bare" else rng.choice(kind.forms)
    template = add_style(core, kind, style, rng)
    right, wrong = (fill(template, fact_of(request), answer_value(request, rng, right)) for right in (True, False))
    return right, wrong
