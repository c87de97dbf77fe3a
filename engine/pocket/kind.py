"""What a kind of request is: data for the group files, and the few functions that fill its templates.

A kind is a table: ways to ask (phrasings), things to ask about (facts) and ways to answer (forms). A new kind is one
`Kind(...)` in a group file, listed in that file's `KINDS`. Prompts are made in requests.py, answers in answers.py.

Templates have fields: `{x}` and `{z}` are the words asked about, `{y}` is the answer, `{w}` a wrong one. `{X}` and
`{Y}` are the same with a capital, for words that have none of their own ("a dog", not "France").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Group = Literal["knowledge", "arithmetic", "language", "advice", "smalltalk", "limits"]

GROUPS: tuple[Group, ...] = ("knowledge", "arithmetic", "language", "advice", "smalltalk", "limits")

PHRASINGS = 10
"""Ways to ask, for each kind."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing to ask about: the words that fill `{x}` and `{z}`, the right `{y}`, and the wrong ones people give."""

    words: tuple[str, ...]
    answer: str = ""
    wrong: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return " / ".join(self.words)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request.

    `forms` answer it in full, `partial` in part (a refusal that offers nothing), `bare` in a word or two. `wrong_forms`
    are wrong as they stand; a kind without them goes wrong by a form with a wrong `{y}`. `statements` say the fact
    where the forms make no sense without the prompt. `pool` makes `{y}` a list of two or three of its items, and
    `strays` are items that do not belong there. `harmful` marks prompts whose wrong answers do harm, `unknowable`
    those whose wrong answers claim what nobody can know.
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
        """True where one answer is right and all others are wrong."""
        return self.group in ("knowledge", "arithmetic", "language")


def lookups(answers: Mapping[str, str], wrong: Mapping[str, tuple[str, ...]] | None = None) -> tuple[Fact, ...]:
    """Facts from a table of subject and answer; what is wrong for one is what is right for its siblings.

    `wrong` replaces the siblings' answers for the subjects that it names.
    """
    values = tuple(dict.fromkeys(answers.values()))
    chosen = wrong or {}
    return tuple(
        Fact((subject,), answer, chosen.get(subject, tuple(value for value in values if value != answer)))
        for subject, answer in answers.items()
    )


def topics(subjects: Iterable[str]) -> tuple[Fact, ...]:
    """Facts that have a subject and no answer of their own."""
    return tuple(Fact((subject,)) for subject in subjects)


def capital(text: str) -> str:
    """The text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


def fill(template: str, fact: Fact, answer: str) -> str:
    """The template with the fact's words and this answer in its fields."""
    x, z, w = fact.words[0], fact.words[-1], fact.wrong[0] if fact.wrong else ""
    return template.format(x=x, z=z, y=answer, w=w, X=capital(x), Y=capital(answer))


def lowered(template: str) -> str:
    """The template as it reads in the middle of a sentence: first letter small, unless it is "I" or a field."""
    if template.startswith(("{X}", "{Y}")):
        return template[0] + template[1].lower() + template[2:]
    if template.startswith(("I ", "{")):
        return template
    return template[:1].lower() + template[1:]
