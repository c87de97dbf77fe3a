"""Kinds of requests of the pocket world: their tables, their facts, and the functions that fill their templates.

A kind has ways to ask (phrasings), things to ask about (facts) and ways to answer (forms). The tables are in
kinds.json, except for the facts that are generated here. Any change to them changes the prompts, their splits and all
numbers of the preset `tiny`. prompts.py makes prompts from kinds, wording.py makes responses.

Facts come from one of these fields: `answers` (subject to answer), `subjects` (no answer, perhaps `wrong` ones) or
`repeated` (the answer is the subject); the name of one of the `lists` may replace a list.

Templates have fields: `{x}` and `{z}` are the words asked about, `{y}` is the answer, `{w}` a wrong answer. `{X}` and
`{Y}` are the same, capitalized, for words that are not names ("a dog", not "France").
"""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, get_args

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
