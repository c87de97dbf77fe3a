"""Thread settings reach the environment before torch; the user's own wait policy takes precedence."""

import pytest

from engine.core.errors import ConfigError
from engine.core.threads import apply, available_cores, decide


def test_a_training_process_waits_actively() -> None:
    environ: dict[str, str] = {}
    assert apply(3, environ=environ) == 3
    assert environ["OMP_NUM_THREADS"] == environ["MKL_NUM_THREADS"] == "3"
    assert environ["OMP_WAIT_POLICY"] == "active"
    assert environ["TOKENIZERS_PARALLELISM"] == "false"


def test_shared_cores_wait_passively() -> None:
    environ: dict[str, str] = {}
    apply(2, shared=True, environ=environ)
    assert (environ["OMP_WAIT_POLICY"], environ["GOMP_SPINCOUNT"], environ["KMP_BLOCKTIME"]) == ("passive", "0", "0")


def test_the_users_wait_policy_is_kept_and_reported() -> None:
    environ = {"OMP_WAIT_POLICY": "PASSIVE"}
    apply(2, environ=environ)
    assert environ["OMP_WAIT_POLICY"] == "PASSIVE"
    settings = decide(2, False, environ)
    assert (settings.waiting, settings.kept) == ("passive", ("OMP_WAIT_POLICY",))


def test_the_users_spin_count_is_kept() -> None:
    environ = {"GOMP_SPINCOUNT": "1000"}
    apply(2, shared=True, environ=environ)
    assert "OMP_WAIT_POLICY" not in environ
    assert environ["GOMP_SPINCOUNT"] == "1000"


def test_threads_default_to_the_environment_then_to_the_cores() -> None:
    assert decide(None, False, {"OMP_NUM_THREADS": "5,2"}).threads == 5
    assert decide(None, False, {}).threads == available_cores() >= 1
    assert decide(4, False, {"OMP_NUM_THREADS": "5"}).threads == 4


@pytest.mark.parametrize("text", ["0", "many", "-2", ""])
def test_a_bad_thread_count_in_the_environment_is_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="OMP_NUM_THREADS"):
        decide(None, False, {"OMP_NUM_THREADS": text})


def test_zero_threads_are_refused() -> None:
    with pytest.raises(ConfigError, match="threads must be at least 1, got 0"):
        decide(0, False, {})
