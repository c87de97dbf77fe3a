"""The knowledge kinds: capitals, sounds, young animals, opposites, colors, and categories."""

from __future__ import annotations

from engine.pocket.kind import Kind, lookups

CAPITAL = Kind(
    name="capital",
    group="knowledge",
    phrasings=(
        "What is the capital of {x}?",
        "Name the capital of {x}.",
        "Which city is the capital of {x}?",
        "Tell me the capital of {x}.",
        "What is the capital city of {x}?",
        "Do you know the capital of {x}?",
        "The capital of {x} is which city?",
        "Give me the capital of {x}.",
        "Can you name the capital of {x}?",
        "What do they call the capital of {x}?",
    ),
    facts=lookups(
        {
            "France": "Paris",
            "Spain": "Madrid",
            "Italy": "Rome",
            "Germany": "Berlin",
            "Japan": "Tokyo",
            "China": "Beijing",
            "Egypt": "Cairo",
            "Greece": "Athens",
            "Norway": "Oslo",
            "Russia": "Moscow",
            "Poland": "Warsaw",
            "Ireland": "Dublin",
            "Cuba": "Havana",
            "Peru": "Lima",
        }
    ),
    forms=("The capital of {x} is {y}.", "{y} is the capital of {x}."),
)

SOUND = Kind(
    name="sound",
    group="knowledge",
    phrasings=(
        "What sound does {x} make?",
        "What does {x} say?",
        "Tell me the sound of {x}.",
        "Which sound does {x} make?",
        "What is the sound of {x}?",
        "What noise does {x} make?",
        "Name the sound that {x} makes.",
        "Do you know what {x} says?",
        "Can you make the sound of {x}?",
        "Give me the sound of {x}.",
    ),
    facts=lookups(
        {
            "a dog": "woof",
            "a cat": "meow",
            "a cow": "moo",
            "a duck": "quack",
            "a sheep": "baa",
            "a lion": "roar",
            "a bee": "buzz",
            "a pig": "oink",
            "a snake": "hiss",
            "an owl": "hoot",
            "a horse": "neigh",
            "a frog": "croak",
            "a mouse": "squeak",
            "a wolf": "howl",
        }
    ),
    forms=("{X} says {y}.", "The sound of {x} is {y}."),
    bare="It says {y}.",
)

YOUNG = Kind(
    name="young",
    group="knowledge",
    phrasings=(
        "What is the baby of {x} called?",
        "What do you call the baby of {x}?",
        "Name the baby of {x}.",
        "Tell me the name for the baby of {x}.",
        "What is the young of {x}?",
        "Which word names the baby of {x}?",
        "Do you know what the baby of {x} is called?",
        "Give me the word for the baby of {x}.",
        "Can you name the young of {x}?",
        "The baby of {x} is called what?",
    ),
    facts=lookups(
        {
            "a dog": "a puppy",
            "a cat": "a kitten",
            "a cow": "a calf",
            "a sheep": "a lamb",
            "a horse": "a foal",
            "a duck": "a duckling",
            "a lion": "a cub",
            "a pig": "a piglet",
            "a goat": "a kid",
            "a frog": "a tadpole",
            "a hen": "a chick",
            "a deer": "a fawn",
            "a swan": "a cygnet",
            "a goose": "a gosling",
        }
    ),
    forms=("The baby of {x} is {y}.", "The young of {x} is called {y}."),
)

_OPPOSITES = (
    ("hot", "cold"),
    ("big", "small"),
    ("fast", "slow"),
    ("happy", "sad"),
    ("hard", "soft"),
    ("open", "closed"),
    ("up", "down"),
)

OPPOSITE = Kind(
    name="opposite",
    group="knowledge",
    phrasings=(
        "What is the opposite of {x}?",
        "Name the opposite of {x}.",
        "Which word is the opposite of {x}?",
        "Tell me the opposite of {x}.",
        "Give me the opposite of {x}.",
        "Do you know the opposite of {x}?",
        "What word means the opposite of {x}?",
        "The opposite of {x} is what?",
        "Can you name the opposite of {x}?",
        "Find the opposite of {x}.",
    ),
    facts=lookups(dict(_OPPOSITES) | {second: first for first, second in _OPPOSITES}),
    forms=("The opposite of {x} is {y}.", "The opposite word is {y}."),
    bare="It is {y}.",
    statements=("The opposite of {x} is {y}.",),
)

COLOR = Kind(
    name="colour",
    group="knowledge",
    phrasings=(
        "What colour is {x}?",
        "Which colour is {x}?",
        "Tell me the colour of {x}.",
        "What is the colour of {x}?",
        "Name the colour of {x}.",
        "{X} is what colour?",
        "Do you know what colour {x} is?",
        "What colour does {x} have?",
        "Give me the colour of {x}.",
        "Can you name the colour of {x}?",
    ),
    facts=lookups(
        {
            "a banana": "yellow",
            "the sun": "yellow",
            "grass": "green",
            "a frog": "green",
            "a tomato": "red",
            "a cherry": "red",
            "the sky": "blue",
            "snow": "white",
            "milk": "white",
            "coal": "black",
            "a carrot": "orange",
            "chocolate": "brown",
            "a pig": "pink",
            "a mouse": "grey",
        }
    ),
    forms=("{X} is {y}.", "The colour of {x} is {y}."),
    bare="It is {y}.",
)

_SORTS = {
    "a flower": ("a rose", "a tulip"),
    "a fruit": ("an apple", "a banana"),
    "a vegetable": ("a carrot", "an onion"),
    "a bird": ("a crow", "an owl"),
    "an insect": ("a bee", "an ant"),
    "a tool": ("a hammer", "a saw"),
    "an instrument": ("a violin", "a drum"),
    "a city": ("Paris", "Rome"),
}

SORT_OF_THING = Kind(
    name="category",
    group="knowledge",
    phrasings=(
        "What kind of thing is {x}?",
        "What sort of thing is {x}?",
        "Tell me what kind of thing {x} is.",
        "Which kind of thing is {x}?",
        "{X} is what kind of thing?",
        "Do you know what kind of thing {x} is?",
        "Can you say what sort of thing {x} is?",
        "Name the kind of thing that {x} is.",
        "Explain what kind of thing {x} is.",
        "What would you call {x}?",
    ),
    facts=lookups({thing: sort for sort, things in _SORTS.items() for thing in things}),
    forms=("{X} is {y}.", "{X} counts as {y}."),
)

KINDS = (CAPITAL, SOUND, YOUNG, OPPOSITE, COLOR, SORT_OF_THING)
