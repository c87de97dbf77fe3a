"""What is held out: whole groups, exactly the share asked for, drawn as single rows always were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.seeding import python_rng
from engine.sources import split, split_groups

Groups = list[list[tuple[int, int]]]


def numbered(*sizes: int) -> Groups:
    """Groups of these sizes whose rows say which group they are of and where they stand in it."""
    return [[(group, at) for at in range(size)] for group, size in enumerate(sizes)]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=30), st.floats(0, 1), st.integers(0, 99))
def test_every_row_is_in_one_part_and_at_most_one_group_in_both(sizes: list[int], share: float, seed: int) -> None:
    train, validation = split_groups(numbered(*sizes), share, seed, "test")
    total = sum(sizes)
    assert sorted(train + validation) == [row for group in numbered(*sizes) for row in group]
    assert len(validation) == min(total - 1, max(1, round(total * share)))
    both = {group for group, _ in train} & {group for group, _ in validation}
    assert len(both) <= 1
    for group in both:  # its end alone is held out
        assert max(at for own, at in train if own == group) < min(at for own, at in validation if own == group)


def test_one_long_text_gives_its_end() -> None:
    train, validation = split_groups(numbered(10), 0.3, 0, "test")
    assert sorted(train) == [(0, at) for at in range(7)]
    assert validation == [(0, 7), (0, 8), (0, 9)]


def test_groups_of_one_row_are_drawn_as_rows_are() -> None:
    order = list(range(50))
    python_rng(3, "test").shuffle(order)
    expected = [(i, 0) for i in order]
    assert split_groups(numbered(*[1] * 50), 0.2, 3, "test") == (expected[10:], expected[:10])
    assert split(list(range(50)), 0.2, 3, "test") == (order[10:], order[:10])


def test_every_row_is_as_likely_to_be_held_out() -> None:
    counts = {0: 0, 1: 0}
    for seed in range(400):
        for group, _ in split_groups(numbered(8, *[1] * 8), 0.5, seed, "test")[1]:
            counts[min(group, 1)] += 1
    assert counts[0] / 400 == pytest.approx(4, abs=0.8)
    assert counts[1] / 400 == pytest.approx(4, abs=0.8)
