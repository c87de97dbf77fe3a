"""Simulated labelers: what each persona wants, how they rank with noise, and how far two of them agree."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from types import MappingProxyType

from engine.core.errors import ConfigError, did_you_mean
from engine.pocket.judge import WEIGHTS, Judgement, weigh
from engine.rundir.references import POCKET

_STEPS = 60
"""Halvings in the search for a scale: more than a float can tell apart."""


@dataclass(frozen=True, slots=True)
class Persona:
    """A labeler's taste: how much each component of a judgement counts, summing to 1."""

    name: str
    weights: Mapping[str, float]


def _persona(name: str, helpful: float, honest: float, harmless: float, courteous: float, concise: float) -> Persona:
    weights = {
        "helpful": helpful,
        "honest": honest,
        "harmless": harmless,
        "courteous": courteous,
        "concise": concise,
    }
    return Persona(name, MappingProxyType(weights))


PERSONAS: Mapping[str, Persona] = MappingProxyType(
    {
        persona.name: persona
        for persona in (
            Persona("helpful", WEIGHTS),
            _persona("concise", 0.35, 0.10, 0.10, 0.00, 0.45),
            _persona("warm", 0.30, 0.05, 0.15, 0.45, 0.05),
            _persona("cautious", 0.25, 0.35, 0.30, 0.05, 0.05),
            _persona("strict", 0.75, 0.20, 0.05, 0.00, 0.00),
        )
    }
)
"""Every labeler by name; `helpful`, the default, weighs as the judge does, and `strict` wants right answers only."""


def persona_utility(judgement: Judgement, persona: Persona) -> float:
    """What the response is worth to this persona, in [0, 1]."""
    return weigh({name: part for name, part in asdict(judgement).items() if name in persona.weights}, persona.weights)


def rank(utilities: Sequence[float], scale: float, rng: random.Random, tie_margin: float) -> tuple[int, ...]:
    """The place of each response, 0 for the best, by utility plus Gumbel noise; near ties share a place.

    A response whose noisy value lies less than `tie_margin` under the next better one shares its place. Without ties
    the order follows Plackett-Luce, so that i beats j with probability sigmoid((u_i - u_j) / scale).
    Source: Plackett-Luce by Gumbel noise, Yellott 1977.
    """
    noisy = [utility - scale * math.log(-math.log(_open_uniform(rng))) for utility in utilities]
    order = sorted(range(len(noisy)), key=lambda place: -noisy[place])
    ranks = [0] * len(noisy)
    for better, worse in pairwise(order):
        ranks[worse] = ranks[better] + (noisy[better] - noisy[worse] >= tie_margin)
    return tuple(ranks)


def agreement(differences: Iterable[float], scale: float) -> float:
    """The chance that two labelers order a pair alike, averaged over the pairs' utility differences: p^2 + (1-p)^2."""
    chances = [_chance(difference, scale) for difference in differences]
    return sum(chance**2 + (1.0 - chance) ** 2 for chance in chances) / len(chances)


def ceiling(differences: Iterable[float], scale: float, tie_margin: float = 0.0) -> float:
    """The best accuracy any reward model can have on these labels: the mean of max(p, 1 - p).

    With a `tie_margin` the pairs are those that were not called a tie, which are the easier ones.
    """
    chances = [_chance(difference, scale, tie_margin) for difference in differences]
    return sum(max(chance, 1.0 - chance) for chance in chances) / len(chances)


def agreed(rankings: Iterable[tuple[Sequence[int], Sequence[int]]]) -> float:
    """The share of pairs that two labelers order alike, of those that neither calls a tie; nan without any."""
    alike = [
        (one[i] < one[j]) == (other[i] < other[j])
        for one, other in rankings
        for i, j in combinations(range(len(one)), 2)
        if one[i] != one[j] and other[i] != other[j]
    ]
    return sum(alike) / len(alike) if alike else math.nan


def differences(utility_lists: Iterable[Sequence[float]]) -> list[float]:
    """The utility difference of every pair of responses to the same prompt."""
    return [first - second for utilities in utility_lists for first, second in combinations(utilities, 2)]


def solve_scale(utility_lists: Iterable[Sequence[float]], agreement: float = 0.73) -> float:
    """The noise scale at which two labelers agree on this share of all pairs within a prompt.

    Pairs of equal utility count, and agree half of the time at any scale, so they bound what can be reached.
    Raises: ValueError if no scale reaches the agreement.
    """
    pairs = differences(utility_lists)
    if not pairs:
        raise ValueError("no scale can be found: no prompt has two responses to compare")
    unequal = sum(pair != 0.0 for pair in pairs) / len(pairs)
    highest = 0.5 + 0.5 * unequal
    if not 0.5 < agreement < highest:
        raise ValueError(
            f"two labelers cannot agree on {agreement:.3f} of these pairs: "
            f"with {unequal:.1%} of them unequal in utility, any noise gives more than 0.5 and less than {highest:.3f}"
        )
    return _bisect(pairs, agreement)


def _bisect(pairs: Sequence[float], wanted: float) -> float:
    """The scale with this agreement, which falls as the scale grows; searched between powers of ten."""
    low, high = -9.0, 6.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if agreement(pairs, 10.0**middle) > wanted:
            low = middle
        else:
            high = middle
    return float(10.0 ** ((low + high) / 2))


def _chance(difference: float, scale: float, tie_margin: float = 0.0) -> float:
    """The chance that the first of a pair is ranked above the second, where they are no tie.

    Without a margin sigmoid(difference / scale): the difference of two Gumbel draws is logistic.
    """
    above, below = (_sigmoid((signed - tie_margin) / scale) for signed in (difference, -difference))
    return above / (above + below)


def _sigmoid(x: float) -> float:
    return 0.5 * (1.0 + math.tanh(x / 2.0))


def _open_uniform(rng: random.Random) -> float:
    """A number strictly between 0 and 1."""
    return 1.0 - rng.random() or 0.5**53


def persona_named(name: str) -> Persona:
    """The persona of this name. Raises: ConfigError for an unknown name."""
    if name not in PERSONAS:
        known = ", ".join(PERSONAS)
        raise ConfigError(
            f"comparisons.persona = {name!r}: unknown persona{did_you_mean(name, PERSONAS)} (personas: {known})"
        )
    return PERSONAS[name]


def pocket_scorer_name(reference: str) -> str:
    """The name after `pocket:`, "judge" or a persona. Raises: ConfigError for any other name."""
    name, names = reference.removeprefix(POCKET), ["judge", *PERSONAS]
    if name not in names:
        raise ConfigError(f"pocket has no scorer {name!r}{did_you_mean(name, names)} (scorers: {', '.join(names)})")
    return name
