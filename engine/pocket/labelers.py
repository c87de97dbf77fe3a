"""Simulated labelers: the preferences of each persona, noisy rankings, and how often two labelers agree."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise

from engine.core.errors import ConfigError, did_you_mean
from engine.pocket.judge import WEIGHTS, JudgeScores, weigh
from engine.rundir.references import POCKET

_STEPS = 60
"""Steps of the bisection for the noise scale, enough for float precision."""


@dataclass(frozen=True, slots=True)
class Persona:
    """Preferences of a labeler: the weight of each component of the judge, summing to 1."""

    name: str
    weights: Mapping[str, float]


_WEIGHTS = {  # of the judge's components, in the order of its own WEIGHTS
    "helpful": tuple(WEIGHTS.values()),
    "concise": (0.35, 0.10, 0.10, 0.00, 0.45),
    "warm": (0.30, 0.05, 0.15, 0.45, 0.05),
    "cautious": (0.25, 0.35, 0.30, 0.05, 0.05),
    "strict": (0.75, 0.20, 0.05, 0.00, 0.00),
}
PERSONAS = {name: Persona(name, dict(zip(WEIGHTS, weights, strict=True))) for name, weights in _WEIGHTS.items()}
"""Every persona by name; `helpful`, the default, has the weights of the judge."""


def persona_utility(scores: JudgeScores, persona: Persona) -> float:
    """The utility of a response to this persona, in [0, 1]."""
    return weigh({name: part for name, part in asdict(scores).items() if name in persona.weights}, persona.weights)


def noisy_ranks(utilities: Sequence[float], scale: float, rng: random.Random, tie_margin: float) -> tuple[int, ...]:
    """The rank of each response (0 is best) by utility plus Gumbel noise.

    A response whose noisy utility is less than `tie_margin` below the next better one is tied with it. Without ties the
    order follows Plackett-Luce: i beats j with probability sigmoid((u_i - u_j) / scale).
    Source: Plackett-Luce by Gumbel noise, Yellott 1977.
    """
    noisy = [utility - scale * math.log(-math.log(_open_uniform(rng))) for utility in utilities]
    order = sorted(range(len(noisy)), key=lambda place: -noisy[place])
    ranks = [0] * len(noisy)
    for better, worse in pairwise(order):
        ranks[worse] = ranks[better] + (noisy[better] - noisy[worse] >= tie_margin)
    return tuple(ranks)


def expected_agreement(differences: Iterable[float], scale: float) -> float:
    """The probability that two labelers order a pair alike, p^2 + (1-p)^2, averaged over utility differences."""
    chances = [_chance(difference, scale) for difference in differences]
    return sum(chance**2 + (1.0 - chance) ** 2 for chance in chances) / len(chances)


def accuracy_ceiling(differences: Iterable[float], scale: float, tie_margin: float = 0.0) -> float:
    """The best accuracy that any reward model can reach on these labels: the mean of max(p, 1 - p).

    `tie_margin` restricts it to pairs that are not tied, which are easier.
    """
    chances = [_chance(difference, scale, tie_margin) for difference in differences]
    return sum(max(chance, 1.0 - chance) for chance in chances) / len(chances)


def measured_agreement(rankings: Iterable[tuple[Sequence[int], Sequence[int]]]) -> float:
    """The fraction of pairs that two labelers order alike, without pairs that either calls a tie; nan if none."""
    alike = [
        (one[i] < one[j]) == (other[i] < other[j])
        for one, other in rankings
        for i, j in combinations(range(len(one)), 2)
        if one[i] != one[j] and other[i] != other[j]
    ]
    return sum(alike) / len(alike) if alike else math.nan


def utility_differences(utility_lists: Iterable[Sequence[float]]) -> list[float]:
    """The utility difference of every pair of responses to one prompt."""
    return [first - second for utilities in utility_lists for first, second in combinations(utilities, 2)]


def solve_scale(utility_lists: Iterable[Sequence[float]], agreement: float = 0.73) -> float:
    """The noise scale at which two labelers agree on this fraction of all pairs within a prompt.

    Pairs of equal utility agree half of the time at any scale, which limits the agreement that can be reached.
    Raises: ValueError if no scale reaches it.
    """
    pairs = utility_differences(utility_lists)
    if not pairs:
        raise ValueError("cannot set the noise: no prompt has two responses to compare")
    unequal = sum(pair != 0.0 for pair in pairs) / len(pairs)
    highest = 0.5 + 0.5 * unequal
    if not 0.5 < agreement < highest:
        raise ValueError(
            f"two labelers cannot agree on {agreement:.3f} of these pairs: {unequal:.1%} of them differ in utility, "
            f"so the agreement must be between 0.5 and {highest:.3f}"
        )
    return _bisect(pairs, agreement)


def _bisect(pairs: Sequence[float], wanted: float) -> float:
    """The scale with this agreement, by bisection of its power of ten; agreement falls as the scale grows."""
    low, high = -9.0, 6.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if expected_agreement(pairs, 10.0**middle) > wanted:
            low = middle
        else:
            high = middle
    return float(10.0 ** ((low + high) / 2))


def _chance(difference: float, scale: float, tie_margin: float = 0.0) -> float:
    """The probability that the first of a pair is ranked above the second, given that they are not tied.

    Without a margin it is sigmoid(difference / scale): the difference of two Gumbel variables is logistic.
    """
    above, below = (_sigmoid((signed - tie_margin) / scale) for signed in (difference, -difference))
    return above / (above + below)


def _sigmoid(x: float) -> float:
    return 0.5 * (1.0 + math.tanh(x / 2.0))


def _open_uniform(rng: random.Random) -> float:
    """A random number strictly between 0 and 1."""
    return 1.0 - rng.random() or 0.5**53


def persona_named(name: str) -> Persona:
    """The persona of this name. Raises: ConfigError."""
    if name not in PERSONAS:
        known = ", ".join(PERSONAS)
        raise ConfigError(
            f"comparisons.persona = {name!r}: unknown persona{did_you_mean(name, PERSONAS)} (personas: {known})"
        )
    return PERSONAS[name]


def pocket_scorer_name(reference: str) -> str:
    """The name after `pocket:`, "judge" or a persona. Raises: ConfigError."""
    name, names = reference.removeprefix(POCKET), ["judge", *PERSONAS]
    if name not in names:
        raise ConfigError(f"unknown pocket scorer {name!r}{did_you_mean(name, names)} (scorers: {', '.join(names)})")
    return name
