"""Styles of responses: the sentences that people add to an answer.

The judge knows every sentence here and removes it before it reads the answer itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from engine.pocket.kinds import Group, Kind

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
