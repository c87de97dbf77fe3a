"""What labels say about labelers and reward model, by hand and against slow versions."""

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.intervals import Share, mean_interval
from engine.data.labels.agreement import (
    annotator_agreements,
    disagreement_by_selection,
    first_shown_won,
    kappa,
    labels_per_minute,
    longer_won,
    self_agreement,
    verdict_counts,
)
from engine.data.labels.store import Candidate, Label
from tests.support.label_databases import judged

A, TIE, B = (0, 1), (0, 0), (1, 0)
Ranks = tuple[int, ...] | None


def ranked(ranks: tuple[int, ...], *texts: str, **fields: Any) -> Label:
    """A ranking of several responses."""
    return replace(judged(), candidates=tuple(map(Candidate, texts)), verdict="ranking", ranks=ranks, **fields)


def test_counts_and_pace() -> None:
    made = [judged(seconds=s) for s in (2.0, 4.0, 0.0, 6.0, 3600.0)] + [judged(ranks=None), judged(ranks=TIE)]
    assert verdict_counts(made) == {"choice": 5, "ranking": 0, "tie": 1, "both_bad": 0, "skip": 1, "edit": 0}
    assert labels_per_minute(made) == 12.0  # the middle of 2, 4, 6 and 3600 seconds is 5
    assert labels_per_minute([judged()]) is None


def test_labels_faster_than_reading_have_no_pace() -> None:
    programs = [judged(seconds=0.0001 * number, annotator="simulated-warm") for number in range(1, 50)]
    assert labels_per_minute(programs) is None
    assert labels_per_minute([*programs, judged(seconds=6.0)]) == 10.0


def test_self_agreement_ignores_the_position() -> None:
    first = [judged(f"a{i}", f"b{i}", ranks, id=i) for i, ranks in enumerate([A, A, TIE, None, B], start=1)]
    again = [
        judged("b1", "a1", B, id=11, repeats=1),  # the same text won
        judged("b2", "a2", A, id=12, repeats=2),  # the other one won
        judged("b3", "a3", TIE, id=13, repeats=3, verdict="both_bad"),
        judged("b4", "a4", A, id=14, repeats=4),  # it was skipped before
        judged("b5", "a5", A, id=15, repeats=5, annotator="bob"),  # somebody else
        judged("x", "y", id=16, repeats=99),  # withdrawn
    ]
    assert self_agreement(first + again) == Share(2, 3)
    rankings = [ranked((0, 1, 1), "x", "y", "z", id=1), ranked((0, 2, 1), "z", "y", "x", id=2, repeats=1)]
    assert self_agreement(rankings) == Share(1, 3)  # x>z, x>y, y=z and then z>x>y: of x and y alike


def test_agreement_between_annotators_by_hand() -> None:
    def row(name: str, text: str, ranks: Ranks, **fields: Any) -> Label:
        return judged(f"{text}1", f"{text}2", ranks, annotator=name, **fields)

    ann = [row("ann", text, ranks) for text, ranks in zip("abcdef", (A, A, B, TIE, A, None), strict=True)]
    bob = [row("bob", text, ranks) for text, ranks in zip("abcdg", (A, B, B, TIE, A), strict=True)]
    swapped = judged(" a2", "a1 ", B, annotator="cat", prompt="  hi")  # the pair of ann's first, the other way round
    later = row("ann", "a", B)  # what ann said first counts
    found = annotator_agreements([*ann, *bob, swapped, later])
    assert [(one.annotators, one.agreed) for one in found] == [
        (("ann", "bob"), Share(3, 4)),
        (("ann", "cat"), Share(1, 1)),
        (("bob", "cat"), Share(1, 1)),
    ]
    # ann and bob: a quarter are ties on both sides, so that by chance 1/16 + 9/16 / 2 = 11/32 agree
    assert [one.kappa for one in found] == pytest.approx([(3 / 4 - 11 / 32) / (1 - 11 / 32), 1.0, 1.0])
    assert annotator_agreements(ann) == []


@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from([-1, 0, 1])), min_size=1))
def test_kappa_is_cohens_with_every_pair_counted_both_ways_round(both: list[tuple[int, int]]) -> None:
    doubled = both + [(-a, -b) for a, b in both]
    n = len(doubled)
    one, other = Counter(a for a, _ in doubled), Counter(b for _, b in doubled)
    chance = sum(one[verdict] * other[verdict] for verdict in (-1, 0, 1)) / n**2
    found = kappa(both)
    if math.isclose(chance, 1):
        assert found is None
    else:
        assert found == pytest.approx((sum(a == b for a, b in doubled) / n - chance) / (1 - chance))


def test_position_bias() -> None:
    made = [
        judged(ranks=A, shown=(0, 1)),
        judged(ranks=A, shown=(1, 0)),
        judged(ranks=B, shown=(1, 0)),
        judged(ranks=TIE, shown=(1, 0)),
        judged(ranks=None),
        ranked((2, 0, 1), "x", "y", "z", shown=(2, 1, 0)),  # y before x
    ]
    found = first_shown_won(made)
    assert found == Share(3, 4) and found.interval == pytest.approx((0.3006, 0.9544), abs=1e-4)
    assert first_shown_won([]).rate is None is first_shown_won([]).interval


def test_length() -> None:
    made = [
        judged("long one", "short", A),
        judged("long one", "short", B),
        judged("short", "long one", B),
        judged("same", "size", A),
        judged("long one", "short", TIE),
        judged("long one", "short", A, repeats=1),
        ranked((1, 0, 2), "xxx", "yyyy", "z"),
    ]
    assert longer_won(made) == Share(3, 4)


def scored(selection: str, scores: tuple[float | None, float | None], ranks: Ranks, **fields: Any) -> Label:
    made = judged(ranks=ranks, selection=selection, **fields)
    return replace(made, candidates=tuple(Candidate(f"{score}", score=score) for score in scores))


def test_disagreement_by_selection() -> None:
    made = [
        *[scored("random", (1.0, 0.0), ranks) for ranks in (A, A, B, TIE, None)],
        scored("random", (1.0, None), B),
        scored("random", (1.0, 0.0), B, repeats=1),
        scored("random", (1.0, 0.0), None, verdict="edit"),
        *[scored("uncertainty", (0.1, 0.0), ranks) for ranks in (B, B, A)],
        scored("uncertainty", (0.5, 0.5), A),
    ]
    found = disagreement_by_selection(made)
    assert {name: (one.of_votes, one.of_shown) for name, one in found.items()} == {
        "random": (Share(1, 3), Share(1, 5)),
        "uncertainty": (Share(3, 4), Share(3, 4)),
    }


def test_the_interval_of_a_mean() -> None:
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 1.959964 / 3**0.5, 2 + 1.959964 / 3**0.5))
    for values, mean in (([1.5], 1.5), ([], math.nan)):
        assert mean_interval(values) == pytest.approx((mean, math.nan, math.nan), nan_ok=True)
