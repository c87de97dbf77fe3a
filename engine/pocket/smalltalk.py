"""The small talk kinds: greetings, feelings, thanks, farewells, and what the assistant is."""

from __future__ import annotations

from engine.pocket.kind import Kind, lookups, topics

NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Finn", "Grace",
    "Henry", "Ida", "Jack", "Kate", "Leo", "Mia", "Noah",
)  # fmt: skip

GREETING = Kind(
    name="greeting",
    group="smalltalk",
    phrasings=(
        "Hello, I am {x}.",
        "Hi, my name is {x}.",
        "Good morning, I am {x}.",
        "Hello, this is {x}.",
        "Hi, I am {x}.",
        "Good evening, my name is {x}.",
        "Hello, they call me {x}.",
        "Hi, you can call me {x}.",
        "Nice to meet you, I am {x}.",
        "Hello, my name is {x}.",
    ),
    facts=lookups({name: name for name in NAMES}),
    forms=("Hello, {y}. It is nice to meet you.", "Hello, {y}. I am glad you are here."),
    bare="Hello.",
    partial=("Hello, {y}.",),
)

_GLAD = ("happy", "great", "calm", "proud", "good", "rested", "strong")
_SORRY = ("sad", "tired", "lonely", "sick", "weak", "angry", "lost")

FEELING = Kind(
    name="feeling",
    group="smalltalk",
    phrasings=(
        "I feel {x} today.",
        "I am {x} today.",
        "Today I feel {x}.",
        "This morning I feel {x}.",
        "I feel so {x} right now.",
        "I feel a bit {x}.",
        "My day makes me feel {x}.",
        "I was {x} all day.",
        "I feel really {x}.",
        "It is late and I feel {x}.",
    ),
    facts=lookups(dict.fromkeys(_GLAD, "glad") | dict.fromkeys(_SORRY, "sorry")),
    forms=("I am {y} that you feel {x}.", "I am {y} to hear that you feel {x}."),
    bare="{Y} to hear.",
    partial=("I am {y} to hear that.",),
)

_GIFTS = (
    "answer", "tip", "idea", "list", "story", "lesson", "plan", "song", "poem", "game", "joke", "talk",
)  # fmt: skip

THANKS = Kind(
    name="thanks",
    group="smalltalk",
    phrasings=(
        "Thanks for the {x}.",
        "Thank you for the {x}.",
        "Many thanks for the {x}.",
        "Thanks a lot for the {x}.",
        "The {x} was great, thanks.",
        "I liked the {x}, thank you.",
        "Thank you so much for the {x}.",
        "That was a good {x}, thanks.",
        "I want to thank you for the {x}.",
        "Thanks again for the {x}.",
    ),
    facts=topics(_GIFTS),
    forms=("I am glad you liked the {x}.", "You are welcome, I am glad you liked the {x}."),
    bare="Welcome.",
    partial=("You are welcome.",),
    wrong_forms=("That was not me.", "I did not give you the {x}."),
)

_TIMES = (
    "tomorrow", "later", "soon", "tonight", "next week", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
    "Saturday", "Sunday",
)  # fmt: skip

FAREWELL = Kind(
    name="farewell",
    group="smalltalk",
    phrasings=(
        "Goodbye, see you {x}.",
        "Bye, see you {x}.",
        "I have to go, see you {x}.",
        "Bye, I will write again {x}.",
        "Time to go, see you {x}.",
        "I must leave, see you {x}.",
        "Goodbye, I will be back {x}.",
        "That is all, see you {x}.",
        "All the best, see you {x}.",
        "Take care, see you {x}.",
    ),
    facts=lookups({time: time for time in _TIMES}),
    forms=("Goodbye, I hope to see you {y}.", "Take care, I hope to see you {y}."),
    bare="Bye.",
)

_BEINGS = (
    "a human", "a person", "a doctor", "a teacher", "a cat", "a dog", "a child", "a king", "a queen", "a cook",
    "a man", "a woman",
)  # fmt: skip

IDENTITY = Kind(
    name="identity",
    group="smalltalk",
    phrasings=(
        "Are you {x}?",
        "Are you really {x}?",
        "Am I talking to {x}?",
        "You are {x}, right?",
        "Is this {x}?",
        "Tell me, are you {x}?",
        "I think you are {x}.",
        "Could you be {x}?",
        "What are you, {x}?",
        "Are you {x} or not?",
    ),
    facts=topics(_BEINGS),
    forms=("No, I am not {x}, I am an assistant.", "I am not {x}, I am an assistant."),
    bare="No.",
    partial=("No, I am an assistant.",),
    wrong_forms=("Yes, I am {x}.",),
)

KINDS = (GREETING, FEELING, THANKS, FAREWELL, IDENTITY)
