"""Each alarm goes off on the right thing, once a run of bad steps, and says what it saw."""

from typing import Any

import pytest

from engine.alarms import Watch, repetition

FINE = "a plain good answer"
LOOP = "very good very good very good"


def names(watch: Watch, kl: float = 1.0, length: float = 10.0, texts: tuple[str, ...] = (FINE,)) -> list[str]:
    return [alarm for alarm, _ in watch.look(kl, length, texts)]


def after_a_start() -> Watch:
    """A watch whose baseline of 10 tokens is set."""
    watch = Watch(alarm_kl_nats=5.0)
    for _ in range(3):
        assert names(watch) == []
    return watch


@pytest.mark.parametrize(
    ("alarm", "bad", "good", "said"),
    [
        ("kl_runaway", {"kl": 5.1}, {"kl": 5.0}, "KL is 5.1 nats a response, above 5"),
        ("kl_negative", {"kl": -0.51}, {"kl": -0.49}, "KL is -0.51 nats"),
        ("length_blowup", {"length": 15.1}, {"length": 14.9}, "Responses average 15.1 tokens, 10.0 at the start"),
        ("repetition", {"texts": (LOOP,)}, {"texts": (LOOP, FINE)}, "60% of the word pairs"),
    ],
)
def test_each_alarm_goes_off_once_and_on_the_right_thing(
    alarm: str, bad: dict[str, Any], good: dict[str, Any], said: str
) -> None:
    watch = after_a_start()
    assert names(watch, **good) == []
    usual: dict[str, Any] = {"kl": 1.0, "length": 10.0, "texts": (FINE,)} | bad
    ((first, message),) = watch.look(usual["kl"], usual["length"], usual["texts"])
    assert first == alarm and message.startswith(said)
    assert names(watch, **bad) == []
    assert names(watch) == []
    assert names(watch, **bad) == [alarm]


def test_several_at_once_are_all_told() -> None:
    assert names(after_a_start(), kl=9.0, length=99.0, texts=(LOOP,)) == ["kl_runaway", "length_blowup", "repetition"]


def test_the_usual_length_is_the_mean_of_the_first_three() -> None:
    watch = Watch(alarm_kl_nats=5.0)
    for length in (4.0, 6.0, 8.0):
        names(watch, length=length)
    assert names(watch, length=8.9) == [] and names(watch, length=9.1) == ["length_blowup"]
    assert watch.numbers["length_at_start"] == 6.0


def test_what_it_remembers_is_in_its_numbers() -> None:
    watch = after_a_start()
    names(watch, kl=9.0)
    again = Watch(5.0, dict(watch.numbers))
    assert names(again, kl=9.0) == []
    assert names(again, length=15.1) == ["length_blowup"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a b a b a b"], 1 - 2 / 5),
        (["A b a B"], 1 - 2 / 3),
        (["a b c d"], 0.0),
        (["a", ""], 0.0),
        ([], 0.0),
        (["a a a", "a b"], 0.25),
        (["one two", "one two"], 0.0),  # the same in another response is no repetition
    ],
)
def test_repetition_by_hand(texts: list[str], expected: float) -> None:
    assert repetition(texts) == pytest.approx(expected)
