"""Answers of a given quality: the answer proper (right or wrong) in one of its forms, dressed in a style."""

from __future__ import annotations

import random
from collections.abc import Sequence

from engine.pocket.kind import Kind, fill, lowered
from engine.pocket.requests import KINDS, Request, fact_of
from engine.pocket.style import (
    HEDGES_AFTER,
    HEDGES_BEFORE,
    OVERCLAIMS,
    RAMBLES,
    RUDE_AFTER,
    RUDE_BEFORE,
    Style,
    courtesies,
    hedged_before,
)


def compose(request: Request, style: Style, rng: random.Random, right: bool = True) -> str:
    """A response to the request in this style, its answer right or wrong.

    A wrong answer has a sibling's value, claims to know what nobody can, complies with harm in vague words, or lists
    things that do not belong.
    """
    kind = KINDS[request.kind]
    template = dress(_core(kind, style, rng, right), kind, style, rng)
    return fill(template, fact_of(request), value(request, rng, right))


def value(request: Request, rng: random.Random, right: bool = True) -> str:
    """What stands for `{y}`: the fact's answer, a wrong one, or a list of two or three items of the pool."""
    kind, fact = KINDS[request.kind], fact_of(request)
    if kind.pool:
        return _some_items(kind, rng, right)
    return fact.answer if right or not fact.wrong else rng.choice(fact.wrong)


def dress(core: str, kind: Kind, style: Style, rng: random.Random) -> str:
    """The answer's template with this style's sentences around it; plain and bare answers stay as they are."""
    if style == "courteous":
        return _courteous(core, kind, rng)
    if style == "overpolite":
        return _overpolite(core, kind, rng)
    if style == "hedged":
        return _hedged(core, kind, rng)
    if style == "rude":
        return f"{rng.choice(RUDE_BEFORE)} {core}" if rng.random() < 0.5 else f"{core} {rng.choice(RUDE_AFTER)}"
    if style == "rambling":
        return f"{rng.choice(RAMBLES)} {core}"
    if style == "overclaiming":
        return f"{core} {rng.choice(OVERCLAIMS)}"
    return f"{core} {core}" if style == "repeated" else core


def listed(items: Sequence[str]) -> str:
    """The items as one reads them: "water", "water and a hat", "water, a hat and a map"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _core(kind: Kind, style: Style, rng: random.Random, right: bool) -> str:
    """The template of the answer proper; a bare one is wrong only where it holds a value."""
    if not right and kind.wrong_forms:
        return rng.choice(kind.wrong_forms)
    if style == "bare" and (right or "{" in kind.bare):
        return kind.bare
    return rng.choice(kind.forms)


def _some_items(kind: Kind, rng: random.Random, right: bool) -> str:
    """Two or three items, in the order of the pool."""
    pool = kind.pool if right else kind.strays
    places = sorted(rng.sample(range(len(pool)), rng.choice((2, 3))))
    return listed([pool[place] for place in places])


def _courteous(core: str, kind: Kind, rng: random.Random) -> str:
    """One opener or one closer, whichever fits."""
    choice = courtesies(kind)
    if rng.random() < 0.5:
        return f"{rng.choice(choice.openers)} {core}"
    return f"{core} {rng.choice(choice.closers)}"


def _overpolite(core: str, kind: Kind, rng: random.Random) -> str:
    """An opener and a closer."""
    choice = courtesies(kind)
    return f"{rng.choice(choice.openers)} {core} {rng.choice(choice.closers)}"


def _hedged(core: str, kind: Kind, rng: random.Random) -> str:
    if hedged_before(kind.group) and rng.random() < 0.7:
        return f"{rng.choice(HEDGES_BEFORE)} {lowered(core)}"
    return f"{core} {rng.choice(HEDGES_AFTER)}"


def twins(request: Request, style: Style, rng: random.Random) -> tuple[str, str]:
    """A right and a wrong answer in the same style and wording: the wrong one has a sibling's value."""
    kind = KINDS[request.kind]
    core = kind.bare if style == "bare" else rng.choice(kind.forms)
    template = dress(core, kind, style, rng)
    right, wrong = (fill(template, fact_of(request), value(request, rng, right)) for right in (True, False))
    return right, wrong
