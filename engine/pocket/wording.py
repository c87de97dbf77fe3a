"""Responses of a given quality: a correct or wrong answer in one of its forms, with the sentences of a style."""

import random
from collections.abc import Sequence

from engine.pocket.kinds import KINDS, Kind, fill, lowered
from engine.pocket.prompts import PocketRequest, fact_of
from engine.pocket.style import (
    HEDGES_AFTER,
    HEDGES_BEFORE,
    OVERCLAIMS,
    RAMBLES,
    RUDE_AFTER,
    RUDE_BEFORE,
    Style,
    courtesy_set,
    hedge_fits_before,
)


def compose_response(request: PocketRequest, style: Style, rng: random.Random, right: bool = True) -> str:
    """A response to the request in this style, its answer correct or wrong.

    A wrong answer has the value of another subject, claims to know the unknowable, vaguely complies with a harmful
    request, or lists items that do not belong.
    """
    kind = KINDS[request.kind]
    template = add_style(_core(kind, style, rng, right), kind, style, rng)
    return fill(template, fact_of(request), answer_value(request, rng, right))


def answer_value(request: PocketRequest, rng: random.Random, right: bool = True) -> str:
    """The text for `{y}`: the answer of the fact, a wrong one, or a list of two or three items of the pool."""
    kind, fact = KINDS[request.kind], fact_of(request)
    if kind.pool:
        return _some_items(kind, rng, right)
    return fact.answer if right or not fact.wrong else rng.choice(fact.wrong)


def add_style(core: str, kind: Kind, style: Style, rng: random.Random) -> str:
    """The template of the answer with the sentences of this style around it; plain and bare answers have none."""
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


def join_items(items: Sequence[str]) -> str:
    """The items as a phrase: "water", "water and a hat", "water, a hat and a map"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _core(kind: Kind, style: Style, rng: random.Random, right: bool) -> str:
    """The template of the answer itself; a bare answer can be wrong only if it contains a value."""
    if not right and kind.wrong_forms:
        return rng.choice(kind.wrong_forms)
    if style == "bare" and (right or "{" in kind.bare):
        return kind.bare
    return rng.choice(kind.forms)


def _some_items(kind: Kind, rng: random.Random, right: bool) -> str:
    """Two or three items in the order of the pool."""
    pool = kind.pool if right else kind.strays
    places = sorted(rng.sample(range(len(pool)), rng.choice((2, 3))))
    return join_items([pool[place] for place in places])


def _courteous(core: str, kind: Kind, rng: random.Random) -> str:
    """With one opener or one closer."""
    choice = courtesy_set(kind)
    if rng.random() < 0.5:
        return f"{rng.choice(choice.openers)} {core}"
    return f"{core} {rng.choice(choice.closers)}"


def _overpolite(core: str, kind: Kind, rng: random.Random) -> str:
    """With an opener and a closer."""
    choice = courtesy_set(kind)
    return f"{rng.choice(choice.openers)} {core} {rng.choice(choice.closers)}"


def _hedged(core: str, kind: Kind, rng: random.Random) -> str:
    if hedge_fits_before(kind.group) and rng.random() < 0.7:
        return f"{rng.choice(HEDGES_BEFORE)} {lowered(core)}"
    return f"{core} {rng.choice(HEDGES_AFTER)}"


def answer_pair(request: PocketRequest, style: Style, rng: random.Random) -> tuple[str, str]:
    """A correct and a wrong answer in the same style and wording: the wrong one has the value of another subject."""
    kind = KINDS[request.kind]
    core = kind.bare if style == "bare" else rng.choice(kind.forms)
    template = add_style(core, kind, style, rng)
    right, wrong = (fill(template, fact_of(request), answer_value(request, rng, right)) for right in (True, False))
    return right, wrong
