"""The advice kinds: what to pack, what to give, what to do on a rainy day, how to learn something. Short lists."""

from __future__ import annotations

from engine.pocket.kind import Kind, topics

PEOPLE = (
    "brother", "sister", "mother", "father", "friend", "teacher", "neighbour",
    "boss", "doctor", "aunt", "uncle", "cousin", "grandmother",
)  # fmt: skip

_TO_PACK = ("water", "a hat", "a towel", "a snack", "sun cream", "a map")
_TO_GIVE = ("a book", "a mug", "a scarf", "flowers", "chocolate", "a plant")
_TO_DO = ("read a book", "play a game", "bake a cake", "draw a picture", "watch a film", "call a friend")
_TO_LEARN = ("practise daily", "start slowly", "take breaks", "ask a teacher", "watch others", "make notes")

_OUTINGS = (
    "the beach", "the park", "the lake", "the pool", "the zoo", "the river", "a picnic", "a trip",
    "a long walk", "a day out", "a boat trip", "a summer trip", "an island",
)  # fmt: skip

PACKING = Kind(
    name="packing",
    group="advice",
    phrasings=(
        "What should I pack for {x}?",
        "What do I need for {x}?",
        "Help me pack for {x}.",
        "Tell me what to pack for {x}.",
        "Give me a packing list for {x}.",
        "What is useful for {x}?",
        "Name some things to pack for {x}.",
        "Can you help me pack for {x}?",
        "What goes in my bag for {x}?",
        "Write a packing list for {x}.",
    ),
    facts=topics(_OUTINGS),
    forms=("For {x}, you could pack {y}.", "You could pack {y} for {x}."),
    pool=_TO_PACK,
    strays=_TO_GIVE,
)

GIFT = Kind(
    name="gift",
    group="advice",
    phrasings=(
        "What gift could I buy for my {x}?",
        "What should I give my {x}?",
        "Help me find a gift for my {x}.",
        "Name some gifts for my {x}.",
        "What would my {x} like as a gift?",
        "Give me gift ideas for my {x}.",
        "Which gift is good for my {x}?",
        "Can you think of a gift for my {x}?",
        "Tell me a good gift for my {x}.",
        "I need a gift, what could I get my {x}?",
    ),
    facts=topics(PEOPLE),
    forms=("You could give your {x} {y}.", "Your {x} may like {y}."),
    pool=_TO_GIVE,
    strays=_TO_PACK,
)

_TIMES = (
    "day", "morning", "afternoon", "evening", "weekend", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
    "Saturday", "Sunday",
)  # fmt: skip

RAINY = Kind(
    name="rainy",
    group="advice",
    phrasings=(
        "What can I do on a rainy {x}?",
        "What should I do on a rainy {x}?",
        "Give me ideas for a rainy {x}.",
        "Tell me what to do on a rainy {x}.",
        "Help me plan a rainy {x}.",
        "What is fun on a rainy {x}?",
        "Name some things to do on a rainy {x}.",
        "How can I spend a rainy {x}?",
        "Can you plan a rainy {x} for me?",
        "What do people do on a rainy {x}?",
    ),
    facts=topics(_TIMES),
    forms=("On a rainy {x}, you could {y}.", "A rainy {x} is a good time to {y}."),
    pool=_TO_DO,
    strays=_TO_LEARN,
)

_SKILLS = (
    "a song", "a dance", "a poem", "a game", "chess", "cooking", "drawing", "Spanish", "French", "German",
    "the piano", "the violin", "the drums",
)  # fmt: skip

LEARNING = Kind(
    name="learning",
    group="advice",
    phrasings=(
        "How can I learn {x}?",
        "How do I learn {x}?",
        "Help me learn {x}.",
        "What is a good way to learn {x}?",
        "Tell me how to learn {x}.",
        "Give me advice on how to learn {x}.",
        "What helps me learn {x}?",
        "Can you help me learn {x}?",
        "Name some ways to learn {x}.",
        "What should I do to learn {x}?",
    ),
    facts=topics(_SKILLS),
    forms=("To learn {x}, you could {y}.", "You can learn {x} if you {y}."),
    pool=_TO_LEARN,
    strays=_TO_DO,
)

KINDS = (PACKING, GIFT, RAINY, LEARNING)
