"""Labelers: Plackett-Luce rankings, agreement and its ceiling by hand and by simulation, and personas."""

import math
import random
from itertools import permutations
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.pocket.judge import WEIGHTS, JudgeScores, judge
from engine.pocket.labelers import (
    PERSONAS,
    accuracy_ceiling,
    expected_agreement,
    measured_agreement,
    noisy_ranks,
    persona_utility,
    solve_scale,
    utility_differences,
)

SIMULATION_TOLERANCE = 0.02
SMALL_SIMULATION_TOLERANCE = 0.01
"""Three standard errors of a fraction over 20,000 draws."""


def test_agreement_and_ceiling_by_hand() -> None:
    # a difference of scale * ln 3 is ranked one way with p = 3/4: agreement 9/16 + 1/16, ceiling 3/4
    assert expected_agreement([2.0 * math.log(3)], scale=2.0) == pytest.approx(0.625)
    assert accuracy_ceiling([2.0 * math.log(3)], scale=2.0) == pytest.approx(0.75)
    assert expected_agreement([0.0], scale=1.0) == accuracy_ceiling([0.0], scale=1.0) == pytest.approx(0.5)
    assert expected_agreement([-math.log(3), 0.0], scale=1.0) == pytest.approx((0.625 + 0.5) / 2)


def test_differences_are_of_pairs_within_a_prompt() -> None:
    assert utility_differences([[1.0, 0.5, 0.25], [3.0]]) == [0.5, 0.75, 0.25]


def test_the_scale_by_hand() -> None:
    # agreement 5/8 needs p = 3/4, so scale = difference / ln 3
    assert solve_scale([[1.0, 0.0]], agreement=0.625) == pytest.approx(1 / math.log(3))
    assert solve_scale([[0.2, 0.2], [0.9, 0.0]], agreement=0.5625) == pytest.approx(0.9 / math.log(3))


def test_the_scale_is_for_73_percent_by_default() -> None:
    rng = random.Random(0)
    lists = [[rng.choice([0.2, 0.7, 0.85, 1.0]) for _ in range(6)] for _ in range(40)]
    assert expected_agreement(utility_differences(lists), solve_scale(lists)) == pytest.approx(0.73)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_scale_is_found_far_from_one(scale: float) -> None:
    assert solve_scale([[scale * math.log(3), 0.0]], agreement=0.625) == pytest.approx(scale)


def test_a_scale_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot agree on 0\.730"):
        solve_scale([[0.5, 0.5], [0.5, 0.5], [0.5, 0.1]])
    with pytest.raises(ValueError, match=r"cannot agree on 0\.500"):
        solve_scale([[1.0, 0.0]], agreement=0.5)
    with pytest.raises(ValueError, match="no prompt has two responses"):
        solve_scale([[1.0], []])


def test_two_simulated_labelers_agree_as_solved() -> None:
    rng = random.Random(1)
    lists = [[rng.choice([0.2, 0.7, 0.85, 1.0]) for _ in range(4)] for _ in range(3000)]
    scale = solve_scale(lists)
    same = []
    for utilities in lists:
        first, second = (noisy_ranks(utilities, scale, rng, tie_margin=0.0) for _ in range(2))
        same += [(first[i] < first[j]) == (second[i] < second[j]) for i in range(4) for j in range(i)]
    assert mean(same) == pytest.approx(0.73, abs=SIMULATION_TOLERANCE)


def test_the_ceiling_is_the_accuracy_of_true_utilities() -> None:
    rng, scale, margin = random.Random(3), 0.1, 0.1
    right, untied = 0.0, list[float]()
    for _ in range(20_000):
        utilities = [rng.choice([0.2, 0.7, 0.8, 0.9]) for _ in range(2)]
        first, second = noisy_ranks(utilities, scale, rng, margin)
        if first != second:
            untied.append(utilities[0] - utilities[1])
            right += 0.5 if untied[-1] == 0 else (first < second) == (untied[-1] > 0)  # a coin for equal ones
    reached = right / len(untied)
    assert accuracy_ceiling(untied, scale, margin) == pytest.approx(reached, abs=SMALL_SIMULATION_TOLERANCE)
    assert accuracy_ceiling(untied, scale) < reached - 2 * SMALL_SIMULATION_TOLERANCE


def test_agreement_is_counted_where_neither_calls_a_tie() -> None:
    assert measured_agreement([((0, 1, 2), (0, 2, 1)), ((0, 0), (0, 1)), ((1, 0), (1, 0))]) == 3 / 4
    assert math.isnan(measured_agreement([((0, 0), (0, 1))]))


def test_orders_follow_plackett_luce() -> None:
    utilities, scale, rng = (0.9, 0.5, 0.2), 0.4, random.Random(2)
    strengths = [math.exp(utility / scale) for utility in utilities]
    drawn = [noisy_ranks(utilities, scale, rng, tie_margin=0.0) for _ in range(20_000)]
    for order in permutations(range(3)):
        left = sum(strengths)
        chance = 1.0
        for place in order:
            chance *= strengths[place] / left
            left -= strengths[place]
        ranks = tuple(order.index(place) for place in range(3))
        assert drawn.count(ranks) / len(drawn) == pytest.approx(chance, abs=SIMULATION_TOLERANCE)


def test_near_ties_share_a_rank() -> None:
    rng = random.Random(0)
    assert noisy_ranks((0.5, 0.9, 0.1), scale=1e-12, rng=rng, tie_margin=0.1) == (1, 0, 2)
    assert noisy_ranks((0.85, 0.9, 0.1), scale=1e-12, rng=rng, tie_margin=0.1) == (0, 0, 1)
    assert noisy_ranks((0.9, 0.9), scale=1e-12, rng=rng, tie_margin=0.1) == (0, 0)
    assert noisy_ranks((), scale=1.0, rng=rng, tie_margin=0.1) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 1), st.integers())
def test_ranks_start_at_the_best_and_leave_no_gap(utilities: list[float], tie_margin: float, seed: int) -> None:
    ranks = noisy_ranks(utilities, 0.2, random.Random(seed), tie_margin)
    assert len(ranks) == len(utilities)
    assert set(ranks) == set(range(max(ranks) + 1))
    assert ranks == noisy_ranks(utilities, 0.2, random.Random(seed), tie_margin)


def test_personas_weigh_every_component() -> None:
    assert len(PERSONAS) >= 4
    for persona in PERSONAS.values():
        assert set(persona.weights) == set(WEIGHTS)
        assert sum(persona.weights.values()) == pytest.approx(1.0)


def test_the_default_labeler_wants_what_the_judge_wants() -> None:
    for response in ("The capital of France is Paris.", "Sure! The capital of France is Rome.", "Paris."):
        judged = judge("What is the capital of France?", response)
        assert persona_utility(judged, PERSONAS["helpful"]) == pytest.approx(judged.utility)


def test_a_persona_by_hand() -> None:
    judged = JudgeScores(1.0, 0.5, 1.0, 0.2, 0.4, True, 0.9)
    assert persona_utility(judged, PERSONAS["concise"]) == pytest.approx(0.35 + 0.05 + 0.1 + 0.45 * 0.4)
    assert persona_utility(judged, PERSONAS["strict"]) == pytest.approx(0.75 + 0.1 + 0.05)


def test_personas_prefer_different_answers() -> None:
    prompt, core = "What is the capital of France?", "The capital of France is Paris."
    plain, courteous = judge(prompt, core), judge(prompt, f"Sure! {core}")
    gushing = judge(prompt, f"Sure! {core} Let me know if you need more.")
    concise, warm = PERSONAS["concise"], PERSONAS["warm"]
    assert persona_utility(plain, concise) > persona_utility(courteous, concise)
    assert persona_utility(courteous, warm) > persona_utility(gushing, warm) > persona_utility(plain, warm)
    unsure, boasting = (
        judge(prompt, f"I think {core[0].lower()}{core[1:]}"),
        judge(prompt, f"{core} I am always right."),
    )
    cautious = PERSONAS["cautious"]
    assert persona_utility(unsure, cautious) > persona_utility(boasting, cautious)
