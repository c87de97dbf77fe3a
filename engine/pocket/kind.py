"""Kinds of requests: the tables that the group files fill, and the functions that fill their templates.

A kind has ways to ask (phrasings), things to ask about (facts) and ways to answer (forms). To add one, add a
`Kind(...)` to a group file and to its `KINDS`. prompts.py makes prompts from kinds, wording.py makes responses.

Templates have fields: `{x}` and `{z}` are the words asked about, `{y}` is the answer, `{w}` a wrong answer. `{X}` and
`{Y}` are the same, capitalized, for words that are not names ("a dog", not "France").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Group = Literal["knowledge", "arithmetic", "language", "advice", "smalltalk", "limits"]
GROUPS: tuple[Group, ...] = get_args(Group)

PHRASINGS = 10
"""Number of phrasings of each kind."""


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


def lookups(answers: Mapping[str, str], wrong: Mapping[str, tuple[str, ...]] | None = None) -> tuple[Fact, ...]:
    """Facts from a table of subjects and answers.

    The wrong answers of a subject are the answers of the others, or those in `wrong`.
    """
    values = tuple(dict.fromkeys(answers.values()))
    chosen = wrong or {}
    return tuple(
        Fact((subject,), answer, chosen.get(subject, tuple(value for value in values if value != answer)))
        for subject, answer in answers.items()
    )


def topics(subjects: Iterable[str]) -> tuple[Fact, ...]:
    """Facts with a subject and no answer."""
    return tuple(Fact((subject,)) for subject in subjects)


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
    if template.startswith(("I ", "{")):
        return template
    return template[:1].lower() + template[1:]
