"""The pocket world: kinds of requests with their facts, and all prompts in three splits, with lookup by text.

A kind has ways to ask (phrasings), things to ask about (facts) and ways to answer (forms). The tables are in
kinds.json, except for the facts that are generated here. Any change to them changes the prompts, their splits and all
numbers of the preset `tiny`.

Facts come from one of these fields: `answers` (subject to answer), `subjects` (no answer, perhaps `wrong` ones) or
`repeated` (the answer is the subject); the name of one of the `lists` may replace a list.

Templates have fields: `{x}` and `{z}` are the words asked about, `{y}` is the answer, `{w}` a wrong answer. `{X}` and
`{Y}` are the same, capitalized, for words that are not names ("a dog", not "France").

Combinations of kind, phrasing and subject are split 80/10/10 into train, validation and test by hash; all wrappers of a
combination are in one split. So a held-out prompt combines a phrasing and a subject that no stage has seen together,
while every phrasing and every subject occurs in training.
"""

import hashlib
import importlib.resources
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, Literal, get_args

from engine.core.seeding import python_rng

Group = Literal["knowledge", "arithmetic", "language", "advice", "smalltalk", "limits"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing to ask about: the words for `{x}` and `{z}`, the correct `{y}`, and plausible wrong ones."""

    words: tuple[str, ...]
    answer: str = ""
    wrong: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return " / ".join(self.words)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request.

    `forms` are full answers, `partial` ones leave something out (a refusal without an alternative), `bare` is a word or
    two. `wrong_forms` are wrong in themselves; without them, wrong answers are forms with a wrong `{y}`. `statements`
    state the fact without the prompt, if the forms cannot. With a `pool`, `{y}` is a list of two or three of its items,
    and `strays` are items that do not belong in it. Wrong answers to `harmful` prompts cause harm; wrong answers to
    `unknowable` prompts claim to know what cannot be known.
    """

    name: str
    group: Group
    phrasings: tuple[str, ...]
    facts: tuple[Fact, ...]
    forms: tuple[str, ...]
    bare: str = "{Y}."
    partial: tuple[str, ...] = ()
    wrong_forms: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    pool: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    harmful: bool = False
    unknowable: bool = False

    @property
    def answerable(self) -> bool:
        """Whether exactly one answer is correct."""
        return self.group in ("knowledge", "arithmetic", "language")


def capital(text: str) -> str:
    """The text with its first letter capitalized."""
    return text[:1].upper() + text[1:]


def fill(template: str, fact: Fact, answer: str) -> str:
    """The template with the words of the fact and this answer filled in."""
    x, z, w = fact.words[0], fact.words[-1], fact.wrong[0] if fact.wrong else ""
    return template.format(x=x, z=z, y=answer, w=w, X=capital(x), Y=capital(answer))


def lowered(template: str) -> str:
    """The template for the middle of a sentence: first letter in lower case, unless it is "I" or a field."""
    if template.startswith(("{X}", "{Y}")):
        return template[0] + template[1].lower() + template[2:]
    return template if template.startswith(("I ", "{")) else template[:1].lower() + template[1:]


def _lookup(answers: Mapping[str, str]) -> tuple[Fact, ...]:
    """A fact per subject; its wrong answers are those of the other subjects."""
    values = dict.fromkeys(answers.values())
    return tuple(
        Fact((subject,), answer, tuple(value for value in values if value != answer))
        for subject, answer in answers.items()
    )


def _number(words: Sequence[object], answer: int) -> Fact:
    """A fact whose wrong answers are close to the correct one."""
    wrong = [answer + error for error in (-2, -1, 1, 2)]
    return Fact(tuple(map(str, words)), str(answer), tuple(str(value) for value in wrong if value >= 1))


def _better_of(ordered: Sequence[str], first_is_better: bool) -> tuple[Fact, ...]:
    """Every pair once, in the given order in half of them; the answer is the first or the last in that order."""
    facts = []
    for low, high in combinations(range(len(ordered)), 2):
        pair = (ordered[low], ordered[high])
        answer, wrong = pair if first_is_better else pair[::-1]
        facts.append(Fact(pair if (low + high) % 2 else pair[::-1], answer, (wrong,)))
    return tuple(facts)


def _things(length: int, start: int) -> str:
    things = ("cup", "hat", "pen", "key", "ball")
    return ", ".join(things[(start + place) % len(things)] for place in range(length))


def _questions(statements: Sequence[str]) -> tuple[Fact, ...]:
    """Each statement as a question; the wrong answers are questions from other statements of the same length."""
    return tuple(
        Fact(
            (statement,),
            f"Do {statement}?",
            tuple(
                f"Do {other}?"
                for other in statements
                if other != statement and len(other.split()) == len(statement.split())
            ),
        )
        for statement in statements
    )


def _generated(lists: Mapping[str, Sequence[str]]) -> dict[str, tuple[Fact, ...]]:
    """The facts of the kinds that have none in kinds.json; numbers are small, so that a tiny model learns them all."""
    return {
        "add": tuple(_number((a, b), a + b) for a in range(1, 10) for b in range(1, min(a, 10 - a) + 1)),
        "subtract": tuple(_number((a, b), a - b) for a in range(2, 11) for b in range(1, min(a, 3))),
        "larger": _better_of([str(number) for number in range(1, 7)], first_is_better=False),
        "next": tuple(_number((number,), number + 1) for number in range(1, 13)),
        "count": tuple(
            Fact((_things(length, start),), str(length), tuple(str(other) for other in range(2, 6) if other != length))
            for length in range(2, 6)
            for start in range(5)
        ),
        "letter": _lookup({word: word[0].upper() for word in lists["words"]}),
        "order": _better_of(("apple", "ball", "cat", "dog", "fish", "hat"), first_is_better=True),
        "question": _questions(lists["statements"]),
    }


def _load() -> dict[str, Kind]:
    tables: dict[str, dict[str, Any]] = json.loads((importlib.resources.files(__package__) / "kinds.json").read_bytes())
    lists = tables.pop("lists")
    generated = _generated(lists)
    kinds = {}
    for name, table in tables.items():
        fields = {key: lists.get(value, value) if isinstance(value, str) else value for key, value in table.items()}
        fields = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
        answers = fields.pop("answers", {}) | {word: word for word in fields.pop("repeated", ())}
        wrong = fields.pop("wrong", ())
        topics = tuple(Fact((subject,), "", wrong) for subject in fields.pop("subjects", ()))
        kinds[name] = Kind(name=name, facts=topics or generated.get(name) or _lookup(answers), **fields)
    return kinds


KINDS = _load()
"""Every kind by name, ordered by group."""


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
