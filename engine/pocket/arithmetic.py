"""The arithmetic kinds: sums and differences within ten, the larger of two, the next number, counting a list.

The numbers are small, so that a model with a million parameters learns all of them in two minutes.
"""

from __future__ import annotations

from itertools import combinations

from engine.pocket.kind import Fact, Kind

_LARGEST = 10
_MOST_TAKEN = 2
_LARGEST_COMPARED = 6
_LAST_COUNTED = 12
_SLIPS = (-2, -1, 1, 2)
"""Errors of wrong answers."""


def _number(words: tuple[str, ...], answer: int) -> Fact:
    """A fact whose wrong answers are close to the correct one."""
    near = [answer + slip for slip in _SLIPS]
    return Fact(words, str(answer), tuple(str(value) for value in near if value >= 1))


ADD = Kind(
    name="add",
    group="arithmetic",
    phrasings=(
        "What is {x} plus {z}?",
        "Add {x} and {z}.",
        "How much is {x} plus {z}?",
        "What is {x} + {z}?",
        "What do {x} and {z} make?",
        "Find the sum of {x} and {z}.",
        "What is the sum of {x} and {z}?",
        "Work out {x} plus {z}.",
        "How much are {x} and {z} together?",
        "Tell me {x} plus {z}.",
    ),
    facts=tuple(
        _number((str(first), str(second)), first + second)
        for first in range(1, _LARGEST)
        for second in range(1, min(first, _LARGEST - first) + 1)
    ),
    forms=("{x} plus {z} is {y}.", "The sum of {x} and {z} is {y}."),
)

SUBTRACT = Kind(
    name="subtract",
    group="arithmetic",
    phrasings=(
        "What is {x} minus {z}?",
        "Take {z} away from {x}.",
        "How much is {x} minus {z}?",
        "What is {x} - {z}?",
        "What is {x} less {z}?",
        "Work out {x} minus {z}.",
        "If I have {x} and lose {z}, how many are left?",
        "What remains of {x} without {z}?",
        "Find {x} minus {z}.",
        "Tell me {x} minus {z}.",
    ),
    facts=tuple(
        _number((str(first), str(second)), first - second)
        for first in range(2, _LARGEST + 1)
        for second in range(1, min(first, _MOST_TAKEN + 1))
    ),
    forms=("{x} minus {z} is {y}.", "The result of {x} minus {z} is {y}."),
)


def _pairs() -> tuple[Fact, ...]:
    """Every pair of numbers once, the larger one first in half of them."""
    facts = []
    for low, high in combinations(range(1, _LARGEST_COMPARED + 1), 2):
        words = (str(low), str(high)) if (low + high) % 2 else (str(high), str(low))
        facts.append(Fact(words, str(high), (str(low),)))
    return tuple(facts)


LARGER = Kind(
    name="larger",
    group="arithmetic",
    phrasings=(
        "Which is larger, {x} or {z}?",
        "Which number is bigger, {x} or {z}?",
        "What is the larger of {x} and {z}?",
        "Name the larger number, {x} or {z}.",
        "Is {x} or {z} the larger number?",
        "Which is more, {x} or {z}?",
        "Tell me which is larger, {x} or {z}.",
        "Pick the larger number, {x} or {z}.",
        "Which one is bigger, {x} or {z}?",
        "What is more, {x} or {z}?",
    ),
    facts=_pairs(),
    forms=("The larger number is {y}.", "{y} is the larger number."),
    statements=("{y} is larger than {w}.", "The larger of {x} and {z} is {y}."),
)

NEXT = Kind(
    name="next",
    group="arithmetic",
    phrasings=(
        "Which number comes after {x}?",
        "What number comes after {x}?",
        "What comes right after {x}?",
        "Tell me the number after {x}.",
        "What is the next number after {x}?",
        "Name the number after {x}.",
        "Count on from {x}, which number is next?",
        "Which number follows {x}?",
        "Give me the next number after {x}.",
        "When I count, what follows {x}?",
    ),
    facts=tuple(_number((str(number),), number + 1) for number in range(1, _LAST_COUNTED + 1)),
    forms=("The number after {x} is {y}.", "{y} comes after {x}."),
)

_THINGS = ("cup", "hat", "pen", "key", "ball")


def _lists() -> tuple[Fact, ...]:
    """Lists of two to five items, five of each length."""
    facts = []
    for length in range(2, 6):
        for start in range(len(_THINGS)):
            things = [_THINGS[(start + place) % len(_THINGS)] for place in range(length)]
            wrong = tuple(str(number) for number in range(2, 6) if number != length)
            facts.append(Fact((", ".join(things),), str(length), wrong))
    return tuple(facts)


COUNT = Kind(
    name="count",
    group="arithmetic",
    phrasings=(
        "How many things are in this list: {x}?",
        "Count these things: {x}.",
        "How many things are these: {x}?",
        "Tell me how many things are here: {x}.",
        "How long is this list: {x}?",
        "Count the things in this list: {x}.",
        "How many words are here: {x}?",
        "What is the number of things here: {x}?",
        "Give me the number of things in this list: {x}.",
        "How many do you count: {x}?",
    ),
    facts=_lists(),
    forms=("The list has {y} things.", "There are {y} things in the list."),
    statements=("The list has {y} things: {x}.",),
)

KINDS = (ADD, SUBTRACT, LARGER, NEXT, COUNT)
