"""Seeds follow from (seed, stream, step) alone."""

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from engine.core.seeding import derive_seed, python_rng

KEYS = st.tuples(
    st.integers(0, 2**40), st.text(max_size=12).filter(lambda text: "\x00" not in text), st.integers(0, 10**6)
)


@given(KEYS, KEYS)
def test_different_keys_give_different_seeds(first: tuple[int, str, int], second: tuple[int, str, int]) -> None:
    assert (derive_seed(*first) == derive_seed(*second)) == (first == second)


@given(KEYS)
def test_seeds_fit_torch_and_are_not_negative(key: tuple[int, str, int]) -> None:
    assert 0 <= derive_seed(*key) < 2**63


def test_parts_do_not_run_together() -> None:
    assert derive_seed(1, "a", 12) != derive_seed(11, "a", 2) != derive_seed(1, "a1", 2)


def test_another_process_with_another_hash_seed_agrees() -> None:
    code = "from engine.core.seeding import derive_seed; print(derive_seed(3, 'ppo/sampling', 7))"
    environ = {**os.environ, "PYTHONHASHSEED": "123"}
    printed = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert int(printed.stdout) == derive_seed(3, "ppo/sampling", 7)


def test_generators_repeat_and_do_not_share_state() -> None:
    draws = [python_rng(5, "labeler", 2).random() for _ in range(2)]
    assert draws[0] == draws[1] != python_rng(5, "labeler", 3).random()
