"""The universe of prompts: every kind, phrasing, subject and wrapper, cut into three splits, with look-up by text.

A combination is a kind, a phrasing and a subject. Combinations are cut 80/10/10 into train, validation and test by
hash; the wrappers of one combination stay together. So a held-out prompt joins a phrasing and a subject that no stage
has seen joined, while every phrasing and every subject of it occur in training.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

from engine.core.seeding import python_rng
from engine.pocket import advice, arithmetic, knowledge, language, refusals, smalltalk
from engine.pocket.kind import Fact, Group, Kind, fill, lowered

Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")

KINDS = MappingProxyType(
    {
        kind.name: kind
        for source in (knowledge, arithmetic, language, advice, smalltalk, refusals)
        for kind in source.KINDS
    }
)
"""Every kind by its name, group by group."""

WRAPPERS = ("plain", "polite", "friendly", "blunt", "careless", "slips")
"""The tones a prompt may come in; `Request.wrapper` is a place in this tuple."""

_TYPING_SLIPS = MappingProxyType(
    {"what": "waht", "the": "teh", "which": "wich", "how": "hwo", "and": "adn", "you": "u", "hello": "helo"}
)


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and what it was made from; `phrasing` and `wrapper` are places in their tuples."""

    kind: str
    group: Group
    subject: str
    phrasing: int
    wrapper: int
    text: str


def wrap(template: str, group: Group, wrapper: int) -> str:
    """The phrasing in one of the six tones, its fields untouched."""
    tone = WRAPPERS[wrapper]
    if tone == "plain":
        return template
    if tone in ("careless", "slips"):
        return _careless(template, group, slips=tone == "slips")
    if group == "smalltalk":
        opening = {"polite": "Well, ", "friendly": "Oh, ", "blunt": "So, "}[tone]
    elif tone == "polite":
        opening = "Please tell me, " if template.endswith("?") else "Please "
    else:
        opening = {"friendly": "Hello. ", "blunt": "Quick: "}[tone]
    return opening + (template if opening.endswith(". ") else lowered(template))


def _careless(template: str, group: Group, slips: bool) -> str:
    """The phrasing in small letters without its last mark; with typing slips, or else a "pls" or "hey", if asked."""
    text = template.lower().rstrip(".?!")
    if not slips:
        return text
    slipped = re.sub(r"[a-z]+", lambda found: _TYPING_SLIPS.get(found.group(), found.group()), text)
    if slipped != text:
        return slipped
    return f"hey {text}" if group == "smalltalk" else f"{text} pls"


def normalised(text: str) -> str:
    """The text in small letters, its spaces collapsed, without punctuation around it."""
    return re.sub(r"\s+", " ", text).strip(" .,;:!?\"'").lower()


def fact_of(request: Request) -> Fact:
    """What the request asks about, with its right answer."""
    return fact_named(request.kind, request.subject)


def fact_named(kind: str, subject: str) -> Fact:
    """The fact of this kind about this subject. Raises: KeyError if there is none."""
    return _facts()[kind, subject]


@cache
def requests(split: Split) -> tuple[Request, ...]:
    """Every prompt of one split, in a fixed order: kinds, phrasings, subjects, wrappers."""
    assert split in SPLITS, f"split {split!r} is none of {SPLITS}"
    chosen = _splits()
    return tuple(
        request
        for kind in KINDS.values()
        for phrasing in range(len(kind.phrasings))
        for fact in kind.facts
        if chosen[kind.name, phrasing, fact.subject] == split
        for request in _wrapped(kind, phrasing, fact)
    )


def draw(split: Split, n: int, seed: int, stream: str) -> list[Request]:
    """`n` different prompts of one split, as evenly over the kinds as their numbers allow, in random order.

    Raises: ValueError if the split holds fewer than `n`.
    """
    everything = requests(split)
    if not 0 <= n <= len(everything):
        raise ValueError(f"cannot draw {n} prompts from the {split} split: it holds {len(everything)}")
    rng = python_rng(seed, stream)
    piles: dict[str, list[Request]] = {name: [] for name in KINDS}
    for request in everything:
        piles[request.kind].append(request)
    for pile in piles.values():
        rng.shuffle(pile)
    drawn: list[Request] = []
    while len(drawn) < n:
        holders = [pile for pile in piles.values() if pile]
        rng.shuffle(holders)
        drawn.extend(pile.pop() for pile in holders[: n - len(drawn)])
    rng.shuffle(drawn)
    return drawn


def find(prompt: str) -> Request | None:
    """The request with this text, forgiving case, spaces and outer punctuation; None outside the world."""
    exact, loose = _by_text()
    return exact.get(prompt) or loose.get(normalised(prompt))


def describe() -> dict[str, object]:
    """What the world holds, for a person: kinds, groups, subjects, phrasings, and prompts by split and group."""
    return {
        "kinds": len(KINDS),
        "groups": dict(Counter(kind.group for kind in KINDS.values())),
        "subjects": {kind.name: len(kind.facts) for kind in KINDS.values()},
        "phrasings": sum(len(kind.phrasings) for kind in KINDS.values()),
        "wrappers": len(WRAPPERS),
        "prompts": {split: len(requests(split)) for split in SPLITS},
        "prompts_by_group": {split: dict(Counter(request.group for request in requests(split))) for split in SPLITS},
    }


def _wrapped(kind: Kind, phrasing: int, fact: Fact) -> Iterator[Request]:
    for wrapper in range(len(WRAPPERS)):
        text = fill(wrap(kind.phrasings[phrasing], kind.group, wrapper), fact, "")
        yield Request(kind.name, kind.group, fact.subject, phrasing, wrapper, text)


@cache
def _facts() -> dict[tuple[str, str], Fact]:
    return {(kind.name, fact.subject): fact for kind in KINDS.values() for fact in kind.facts}


@cache
def _splits() -> dict[tuple[str, int, str], Split]:
    """The split of every combination; one goes to train wherever a phrasing or a subject would lack there."""
    chosen: dict[tuple[str, int, str], Split] = {}
    for kind in KINDS.values():
        for fact in kind.facts:
            for phrasing in range(len(kind.phrasings)):
                chosen[kind.name, phrasing, fact.subject] = _hashed(kind.name, phrasing, fact.subject)
        for fact in kind.facts:
            if all(chosen[kind.name, phrasing, fact.subject] != "train" for phrasing in range(len(kind.phrasings))):
                chosen[kind.name, 0, fact.subject] = "train"
        for phrasing in range(len(kind.phrasings)):
            if all(chosen[kind.name, phrasing, fact.subject] != "train" for fact in kind.facts):
                chosen[kind.name, phrasing, kind.facts[0].subject] = "train"
    return chosen


def _hashed(kind: str, phrasing: int, subject: str) -> Split:
    """The split by hash alone: eight tenths train, one tenth each of the others."""
    digest = hashlib.blake2b(f"{kind}|{phrasing}|{subject}".encode(), digest_size=8).digest()
    tenth = int.from_bytes(digest, "big") % 10
    return "train" if tenth < 8 else "validation" if tenth == 8 else "test"


@cache
def _by_text() -> tuple[dict[str, Request], dict[str, Request]]:
    """Two look-ups of every prompt: by its text, and by its normalised text (the plainest wrapper wins)."""
    exact: dict[str, Request] = {}
    loose: dict[str, Request] = {}
    for split in SPLITS:
        for request in requests(split):
            exact.setdefault(request.text, request)
            loose.setdefault(normalised(request.text), request)
    return exact, loose
