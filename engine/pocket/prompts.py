"""All prompts of the pocket world (kind, phrasing, subject, wrapper) in three splits, with lookup by text.

Combinations of kind, phrasing and subject are split 80/10/10 into train, validation and test by hash; all wrappers of a
combination are in one split. So a held-out prompt combines a phrasing and a subject that no stage has seen together,
while every phrasing and every subject occurs in training.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from engine.core.seeding import python_rng
from engine.pocket.kinds import KINDS, Fact, Group, Kind, fill, lowered

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

WRAPPERS = ("plain", "polite", "friendly", "blunt", "careless", "slips")
"""Tones of a prompt; `PocketRequest.wrapper` is an index into this tuple."""

_TYPING_SLIPS = {"what": "waht", "the": "teh", "which": "wich", "how": "hwo", "and": "adn", "you": "u", "hello": "helo"}


@dataclass(frozen=True, slots=True)
class PocketRequest:
    """One prompt and what it was made from; `phrasing` and `wrapper` are indices into their tuples."""

    kind: str
    group: Group
    subject: str
    phrasing: int
    wrapper: int
    text: str


def wrap(template: str, group: Group, wrapper: int) -> str:
    """The phrasing in one of the six tones, with its fields unfilled."""
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
    """The phrasing in lower case without its final punctuation; `slips` adds typos, or "pls" or "hey"."""
    text = template.lower().rstrip(".?!")
    if not slips:
        return text
    slipped = re.sub(r"[a-z]+", lambda found: _TYPING_SLIPS.get(found.group(), found.group()), text)
    if slipped != text:
        return slipped
    return f"hey {text}" if group == "smalltalk" else f"{text} pls"


def normalized(text: str) -> str:
    """The text in lower case, with single spaces and without punctuation at its ends."""
    return re.sub(r"\s+", " ", text).strip(" .,;:!?\"'").lower()


def fact_of(request: PocketRequest) -> Fact:
    """The fact that the request asks about."""
    return fact_named(request.kind, request.subject)


def fact_named(kind: str, subject: str) -> Fact:
    """The fact of a kind and subject. Raises: KeyError."""
    return _facts()[kind, subject]


@cache
def all_requests(split: Split) -> tuple[PocketRequest, ...]:
    """Every prompt of one split, in a fixed order: kinds, phrasings, subjects, wrappers."""
    assert split in SPLITS, f"split {split!r} is not one of {SPLITS}"
    chosen = _splits()
    return tuple(
        request
        for kind in KINDS.values()
        for phrasing in range(len(kind.phrasings))
        for fact in kind.facts
        if chosen[kind.name, phrasing, fact.subject] == split
        for request in _wrapped(kind, phrasing, fact)
    )


def by_kind(split: Split) -> dict[str, list[PocketRequest]]:
    """Every prompt of one split, by kind."""
    piles: dict[str, list[PocketRequest]] = {name: [] for name in KINDS}
    for request in all_requests(split):
        piles[request.kind].append(request)
    return piles


def draw_requests(split: Split, n: int, seed: int, stream: str) -> list[PocketRequest]:
    """`n` distinct prompts of one split in random order, spread evenly over the kinds where possible.

    Raises: ValueError if the split has fewer than `n`.
    """
    everything = all_requests(split)
    if not 0 <= n <= len(everything):
        raise ValueError(f"cannot draw {n} prompts from the {split} split: it has {len(everything)}")
    rng = python_rng(seed, stream)
    piles = by_kind(split)
    for pile in piles.values():
        rng.shuffle(pile)
    drawn: list[PocketRequest] = []
    while len(drawn) < n:
        holders = [pile for pile in piles.values() if pile]
        rng.shuffle(holders)
        drawn.extend(pile.pop() for pile in holders[: n - len(drawn)])
    rng.shuffle(drawn)
    return drawn


def find_request(prompt: str) -> PocketRequest | None:
    """The request with this text, ignoring case, spacing and outer punctuation, or None."""
    exact, loose = _by_text()
    return exact.get(prompt) or loose.get(normalized(prompt))


def describe_world() -> dict[str, object]:
    """A summary: kinds, groups, subjects, phrasings, and prompts by split and group."""
    return {
        "kinds": len(KINDS),
        "groups": dict(Counter(kind.group for kind in KINDS.values())),
        "subjects": {kind.name: len(kind.facts) for kind in KINDS.values()},
        "phrasings": sum(len(kind.phrasings) for kind in KINDS.values()),
        "wrappers": len(WRAPPERS),
        "prompts": {split: len(all_requests(split)) for split in SPLITS},
        "prompts_by_group": {
            split: dict(Counter(request.group for request in all_requests(split))) for split in SPLITS
        },
    }


def _wrapped(kind: Kind, phrasing: int, fact: Fact) -> Iterator[PocketRequest]:
    for wrapper in range(len(WRAPPERS)):
        text = fill(wrap(kind.phrasings[phrasing], kind.group, wrapper), fact, "")
        yield PocketRequest(kind.name, kind.group, fact.subject, phrasing, wrapper, text)


@cache
def _facts() -> dict[tuple[str, str], Fact]:
    return {(kind.name, fact.subject): fact for kind in KINDS.values() for fact in kind.facts}


@cache
def _splits() -> dict[tuple[str, int, str], Split]:
    """The split of every combination; moves one to train if a phrasing or subject would be missing there."""
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
    """The split by hash: eight tenths train, one tenth each validation and test."""
    digest = hashlib.blake2b(f"{kind}|{phrasing}|{subject}".encode(), digest_size=8).digest()
    tenth = int.from_bytes(digest, "big") % 10
    return "train" if tenth < 8 else "validation" if tenth == 8 else "test"


@cache
def _by_text() -> tuple[dict[str, PocketRequest], dict[str, PocketRequest]]:
    """Two lookup tables of all prompts: by text, and by normalized text (the plainest wrapper wins)."""
    exact: dict[str, PocketRequest] = {}
    loose: dict[str, PocketRequest] = {}
    for split in SPLITS:
        for request in all_requests(split):
            exact.setdefault(request.text, request)
            loose.setdefault(normalized(request.text), request)
    return exact, loose
