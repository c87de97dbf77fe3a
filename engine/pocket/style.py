"""How a crowd answers: the sentences that people put around an answer, and the styles made of them.

Every sentence here is known to the judge, which strips it before it reads the answer proper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from engine.pocket.kind import Group, Kind

Style = Literal[
    "courteous", "plain", "bare", "rude", "rambling", "hedged", "overclaiming", "overpolite", "repeated"
]  # fmt: skip

STYLES: tuple[Style, ...] = (
    "courteous", "plain", "bare", "rude", "rambling", "hedged", "overclaiming", "overpolite", "repeated",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Courtesies:
    """The courteous sentences that read well before (openers) and after (closers) an answer."""

    openers: tuple[str, ...]
    closers: tuple[str, ...]


_TASK = Courtesies(
    openers=("Sure!", "Of course!", "Certainly!", "Happy to help!", "Gladly!", "With pleasure!"),
    closers=(
        "I hope that helps.",
        "Let me know if you need more.",
        "Feel free to ask again.",
        "Have a nice day.",
        "Just ask if you need more.",
    ),
)
_TALK = Courtesies(
    openers=("Thank you for writing.", "Good to hear from you.", "How nice of you to write."),
    closers=("Have a nice day.", "I am here if you need me.", "Feel free to ask me anything."),
)
_UNKNOWABLE = Courtesies(
    openers=("I am sorry.", "Thank you for asking.", "That is a good question."),
    closers=("I hope you understand.", "Have a nice day.", "Feel free to ask me anything."),
)
_HARMFUL = Courtesies(
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


def courtesies(kind: Kind) -> Courtesies:
    """The courtesies that fit this kind of request."""
    if kind.harmful:
        return _HARMFUL
    if kind.unknowable:
        return _UNKNOWABLE
    return _TALK if kind.group == "smalltalk" else _TASK


def hedged_before(group: Group) -> bool:
    """Whether "I think" can stand before an answer of this group; small talk and refusals are hedged after it."""
    return group not in ("smalltalk", "limits")


Flaw = Literal["rude", "ramble", "overclaim", "hedge", "repeated", "cut", "sloppy"]
"""What can be wrong with a response beside its answer."""


def bare_sentence(sentence: str) -> str:
    """The sentence in small letters without its last mark, as `COURTESIES` and `FAULTS` know it."""
    return sentence[:-1].lower() if sentence[-1:] in (".", "!", "?") else sentence.lower()


_SETS = (_TASK, _TALK, _UNKNOWABLE, _HARMFUL)

COURTESIES = frozenset(bare_sentence(sentence) for set_ in _SETS for sentence in set_.openers + set_.closers)
"""Every courteous sentence, bare."""

_BY_FLAW: Mapping[Flaw, tuple[str, ...]] = MappingProxyType(
    {"rude": RUDE_BEFORE + RUDE_AFTER, "ramble": RAMBLES, "overclaim": OVERCLAIMS, "hedge": HEDGES_AFTER}
)

FAULTS: Mapping[str, Flaw] = MappingProxyType(
    {bare_sentence(sentence): flaw for flaw, sentences in _BY_FLAW.items() for sentence in sentences}
)
"""Every other sentence of style, bare, and what is wrong with it."""
