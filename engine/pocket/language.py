"""The language kinds: plurals, past tenses, spelling, first letters, alphabetical order, and making a question."""

from __future__ import annotations

from itertools import combinations

from engine.pocket.kind import Fact, Kind, lookups

PLURAL = Kind(
    name="plural",
    group="language",
    phrasings=(
        "What is the plural of {x}?",
        "Give me the plural of {x}.",
        "Write the plural of {x}.",
        "Make the word {x} plural.",
        "What is the plural form of {x}?",
        "Do you know the plural of {x}?",
        "Which word is the plural of {x}?",
        "Name the plural of {x}.",
        "What is the word for more than one {x}?",
        "Tell me the plural of {x}.",
    ),
    facts=lookups(
        {
            "cat": "cats",
            "dog": "dogs",
            "book": "books",
            "box": "boxes",
            "child": "children",
            "mouse": "mice",
            "man": "men",
            "woman": "women",
            "foot": "feet",
            "tooth": "teeth",
            "key": "keys",
            "fox": "foxes",
            "cup": "cups",
            "hat": "hats",
        }
    ),
    forms=("The plural of {x} is {y}.", "The plural form is {y}."),
    bare="It is {y}.",
    statements=("The plural of {x} is {y}.", "One {x}, two {y}."),
)

PAST = Kind(
    name="past",
    group="language",
    phrasings=(
        "What is the past tense of {x}?",
        "Give me the past tense of {x}.",
        "Put the word {x} in the past tense.",
        "Write the past tense of {x}.",
        "What is the past form of {x}?",
        "Tell me the past tense of {x}.",
        "Which word is the past tense of {x}?",
        "Name the past tense of {x}.",
        "Do you know the past tense of {x}?",
        "Can you name the past tense of {x}?",
    ),
    facts=lookups(
        {
            "go": "went",
            "eat": "ate",
            "see": "saw",
            "run": "ran",
            "write": "wrote",
            "buy": "bought",
            "take": "took",
            "swim": "swam",
            "drink": "drank",
            "fly": "flew",
            "make": "made",
            "sleep": "slept",
            "walk": "walked",
            "play": "played",
        }
    ),
    forms=("The past tense of {x} is {y}.", "The past form is {y}."),
    bare="It is {y}.",
    statements=("The past tense of {x} is {y}.",),
)

SPELLING = Kind(
    name="spelling",
    group="language",
    phrasings=(
        "Correct this word: {x}.",
        "How do you spell {x} correctly?",
        "Fix the spelling of {x}.",
        "What is the correct spelling of {x}?",
        "Spell this word correctly: {x}.",
        "Can you correct the word {x}?",
        "Which word do I mean by {x}?",
        "Tell me the correct spelling of {x}.",
        "Mend this word: {x}.",
        "Write the word {x} correctly.",
    ),
    facts=lookups(
        {
            "freind": "friend",
            "tommorow": "tomorrow",
            "skool": "school",
            "muther": "mother",
            "brothr": "brother",
            "watter": "water",
            "munny": "money",
            "yelow": "yellow",
            "gardin": "garden",
            "morrning": "morning",
            "peple": "people",
            "flowr": "flower",
            "bananna": "banana",
            "teecher": "teacher",
        }
    ),
    forms=("The correct spelling is {y}.", "The word is spelled {y}."),
    bare="It is {y}.",
    statements=("The correct spelling of {x} is {y}.", "Do not write {x}, write {y}."),
)

_FIRST_LETTERS = (
    "apple", "ball", "cat", "dog", "egg", "fish", "garden", "hat", "key", "lemon", "moon", "pen", "sun",
)  # fmt: skip

LETTER = Kind(
    name="letter",
    group="language",
    phrasings=(
        "What is the first letter of {x}?",
        "Which letter does {x} start with?",
        "Name the first letter of {x}.",
        "Tell me the first letter of {x}.",
        "What letter does the word {x} start with?",
        "Give me the first letter of {x}.",
        "Which letter comes first in {x}?",
        "The word {x} starts with which letter?",
        "Do you know the first letter of {x}?",
        "Find the first letter of {x}.",
    ),
    facts=lookups({word: word[0].upper() for word in _FIRST_LETTERS}),
    forms=("The first letter of {x} is {y}.", "The word {x} starts with {y}."),
)

_SORTED = ("apple", "ball", "cat", "dog", "fish", "hat")


def _word_pairs() -> tuple[Fact, ...]:
    """Every pair of the sorted words once, the earlier one first in half of them."""
    facts = []
    for low, high in combinations(range(len(_SORTED)), 2):
        early, late = _SORTED[low], _SORTED[high]
        words = (early, late) if (low + high) % 2 else (late, early)
        facts.append(Fact(words, early, (late,)))
    return tuple(facts)


ORDER = Kind(
    name="order",
    group="language",
    phrasings=(
        "Which word comes first in the alphabet, {x} or {z}?",
        "What comes first in the alphabet, {x} or {z}?",
        "Sort by alphabet and name the first word, {x} or {z}.",
        "Which is first in the alphabet, {x} or {z}?",
        "Tell me which comes first in the alphabet, {x} or {z}.",
        "In the alphabet, is {x} or {z} first?",
        "Name the first word in the alphabet, {x} or {z}.",
        "By the alphabet, which word is first, {x} or {z}?",
        "Pick the word that is first in the alphabet, {x} or {z}.",
        "Does {x} or {z} come first in the alphabet?",
    ),
    facts=_word_pairs(),
    forms=("In the alphabet, {y} comes first.", "The first word is {y}."),
    bare="It is {y}.",
    statements=("In the alphabet, {y} comes before {w}.", "Of {x} and {z}, {y} comes first in the alphabet."),
)

_STATEMENTS = (
    "you like tea", "you like milk", "you like music", "you like dogs",
    "you live in Rome", "you live in Paris",
    "you have a dog", "you have a cat", "you have a garden",
    "they play chess", "they play music", "they need water",
    "we need a book", "we need a plan",
)  # fmt: skip


def _questions() -> tuple[Fact, ...]:
    """Each statement as a question; the wrong answers are questions from other statements of the same length."""
    return tuple(
        Fact(
            (statement,),
            f"Do {statement}?",
            tuple(
                f"Do {other}?"
                for other in _STATEMENTS
                if other != statement and len(other.split()) == len(statement.split())
            ),
        )
        for statement in _STATEMENTS
    )


QUESTION = Kind(
    name="question",
    group="language",
    phrasings=(
        "Turn this into a question: {X}.",
        "Make a question from this: {X}.",
        "Write this as a question: {X}.",
        "How do I ask this: {X}?",
        "Make this a question: {X}.",
        "Change this into a question: {X}.",
        "What is the question for this: {X}?",
        "Form a question from this: {X}.",
        "Give me this as a question: {X}.",
        "Can you make this a question: {X}?",
    ),
    facts=_questions(),
    forms=("The question is: {y}", "You can ask: {y}"),
    bare="{y}",
    statements=("{X}. The question is: {y}", "This is how you ask if {x}: {y}"),
)

KINDS = (PLURAL, PAST, SPELLING, LETTER, ORDER, QUESTION)
