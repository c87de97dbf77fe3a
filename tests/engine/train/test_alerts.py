"""Each alert goes off on the right thing, once a run of bad steps, and says what it saw."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from engine.train.alerts import Alerts, repetition

FINE = "a plain good answer"
LOOP = "very good very good very good"


def told(
    alerts: Alerts,
    kl: float = 1.0,
    length: float = 10.0,
    texts: tuple[str, ...] = (FINE,),
    step: int = 1,
    score: float = 0.0,
    judged: Sequence[float] | None = None,
) -> list[tuple[str, str]]:
    metrics = {"ppo/kl_nats": kl, "ppo/response_tokens": length, "ppo/score": score, "ppo/score_std": 0.5}
    return alerts.check(step, metrics, texts, judged)


def names(alerts: Alerts, **seen: Any) -> list[str]:
    return [alert for alert, _ in told(alerts, **seen)]


def after_a_start() -> Alerts:
    """Alerts whose baseline of 10 tokens is set."""
    alerts = Alerts(alert_kl_nats=5.0, stop_kl_nats=30.0)
    for _ in range(3):
        assert names(alerts) == []
    return alerts


@pytest.mark.parametrize(
    ("alert", "bad", "good", "said"),
    [
        ("kl_runaway", {"kl": 5.1}, {"kl": 5.0}, "KL is 5.1 nats per response, above 5"),
        ("kl_negative", {"kl": -0.51}, {"kl": -0.49}, "KL is -0.51 nats"),
        ("length_blowup", {"length": 15.1}, {"length": 14.9}, "Responses average 15.1 tokens, 10.0 at the start"),
        ("repetition", {"texts": (LOOP,)}, {"texts": (LOOP, FINE)}, "60% of the word pairs"),
    ],
)
def test_each_alert_goes_off_once_and_on_the_right_thing(
    alert: str, bad: dict[str, Any], good: dict[str, Any], said: str
) -> None:
    alerts = after_a_start()
    assert names(alerts, **good) == []
    ((first, message),) = told(alerts, **bad)
    assert first == alert and message.startswith(said)
    assert names(alerts, **bad) == []
    assert names(alerts) == []
    assert names(alerts, **bad) == [alert]


def test_a_runaway_kl_alert_comes_before_the_one_that_stops() -> None:
    assert names(after_a_start(), kl=30.0) == ["kl_runaway"]
    runaway, ended = told(after_a_start(), kl=30.1)
    assert (runaway[0], ended) == ("kl_runaway", ("stopped_early", "KL passed 30 nats: training ends here."))


def test_several_at_once_are_all_told() -> None:
    assert names(after_a_start(), kl=9.0, length=99.0, texts=(LOOP,)) == ["kl_runaway", "length_blowup", "repetition"]


def test_the_usual_length_is_the_mean_of_the_first_three() -> None:
    alerts = Alerts(alert_kl_nats=5.0, stop_kl_nats=30.0)
    for length in (4.0, 6.0, 8.0):
        names(alerts, length=length)
    assert names(alerts, length=8.9) == [] and names(alerts, length=9.1) == ["length_blowup"]
    assert alerts.numbers["length_at_start"] == 6.0


def test_what_it_remembers_is_in_its_numbers() -> None:
    alerts = after_a_start()
    names(alerts, kl=9.0)
    again = Alerts(5.0, 30.0, dict(alerts.numbers))
    assert names(again, kl=9.0) == []
    assert names(again, length=15.1) == ["length_blowup"]


def judged_around(mean: float) -> list[float]:
    """A hundred scores with this mean and a standard deviation of .2, so that two rollouts differ by chance by .028."""
    return [mean - 0.2, mean + 0.2] * 50


def drift(scores: Sequence[float], means: Sequence[float]) -> list[str]:
    """The alerts of a training whose rollouts have these scores and means of the judge."""
    alerts = Alerts(alert_kl_nats=5.0, stop_kl_nats=30.0)
    steps = zip(scores, means, strict=True)
    return [
        alert
        for step, (score, mean) in enumerate(steps, start=1)
        for alert in names(alerts, step=step, score=score, judged=judged_around(mean))
    ]


def test_over_optimization_names_the_step_where_it_began() -> None:
    alerts = Alerts(alert_kl_nats=5.0, stop_kl_nats=30.0)
    said = [
        message
        for step, (score, mean) in enumerate([(0.0, 0.7), (0.5, 0.8), (1.0, 0.5), (1.5, 0.3), (2.0, 0.1)], start=1)
        for _, message in told(alerts, step=step, score=score, judged=judged_around(mean))
    ]
    # means, a third of each new value: score 0, .167, .444, .796; judge .7, .733, .656, .537; three are a start
    # chance, three errors of a difference: sqrt(2 x .25 / 100) x 3 = .212 for the score, .085 for the judge
    assert len(said) == 1
    assert said[0].startswith(
        "Since step 3 the reward rose from 0.444 to 0.796 while the judge score fell from 0.656 to 0.537"
    )


@pytest.mark.parametrize(
    ("scores", "means"),
    [
        ([0.0, 1.0, 2.0, 3.0, 4.0], [0.7, 0.7, 0.68, 0.64, 0.6]),  # the judge's fall is within chance
        ([1.0, 1.0, 1.0, 1.1, 1.2], [0.7, 0.7, 0.7, 0.3, 0.1]),  # the score's rise is
        ([3.0, 2.0, 1.0, 0.0, -1.0], [0.7, 0.7, 0.7, 0.3, 0.1]),  # both fall: no hacking
        ([0.0, 1.0, 2.0, 3.0, 4.0], [0.5, 0.6, 0.7, 0.8, 0.9]),  # both rise
    ],
)
def test_no_over_optimization_alert_by_chance_or_in_agreement(scores: list[float], means: list[float]) -> None:
    assert drift(scores, means) == []


@pytest.mark.parametrize(("responses", "steps"), [(16, 400), (256, 50)])
def test_a_judge_that_only_wavers_gives_no_alert(responses: int, steps: int) -> None:
    """Also where the score rises all the while: twenty trainings with scores that are normal noise."""
    for seed in range(20):
        rng, alerts = random.Random(seed), Alerts(alert_kl_nats=5.0, stop_kl_nats=30.0)
        for step in range(1, steps + 1):
            judged = [rng.gauss(0, 1) for _ in range(responses)]
            assert names(alerts, step=step, score=0.1 * step, judged=judged) == []


def test_without_a_judge_there_is_no_such_alert() -> None:
    alerts = Alerts(alert_kl_nats=5.0, stop_kl_nats=30.0)
    assert [alert for step in range(1, 9) for alert in names(alerts, step=step, score=float(step))] == []


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
