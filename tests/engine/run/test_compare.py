"""The numbers of a comparison of two policies."""

import pytest

from engine.run.compare import means_with_intervals


def test_differences_are_taken_prompt_by_prompt() -> None:
    found = means_with_intervals("tokens", [10.0, 20.0, 30.0], [8.0, 18.0, 28.0])
    assert [found[f"tokens_difference{end}"] for end in ("", "_low", "_high")] == [-2.0, -2.0, -2.0]
    assert (found["tokens_a"], found["tokens_b"]) == (20.0, 18.0)
    assert found["tokens_a_high"] - found["tokens_a"] == pytest.approx(1.959964 * 10 / 3**0.5)
