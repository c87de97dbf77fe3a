"""Judging: win rates and their intervals by hand, ties, diversity, KL, and which of several answers is taken."""

import math
from collections.abc import Sequence

import pytest
import torch

from engine.data.records import Prompt, Ranking
from engine.model.sampling import Sampling
from engine.model.transformer import LanguageModel
from engine.pocket.judge import JudgeScores
from engine.train.rollout import draw_episodes
from engine.train.win_rate import (
    Answers,
    PromptSet,
    WinRate,
    answer,
    best_of,
    component_means,
    distinct_2,
    episode_kl,
    group_means,
    pair_accuracy,
    ranking_ceiling,
    verdict,
    win_rate,
)
from tests.support.tiny import PROMPTS, WordScorer, language_model, word_tokenizer

TOLERANCE = 1e-4
"""Published intervals are given to four digits."""
LAYOUT_TOLERANCE = 1e-5
ROUNDING = 1e-12


@pytest.mark.parametrize(
    ("wins", "losses", "low", "high"),
    [
        # Newcombe 1998, table I: Wilson's score interval without continuity correction
        (81, 182, 0.2553, 0.3662),
        (15, 133, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 28, 0.0061, 0.1718),
        (29, 0, 0.8830, 1.0000),
    ],
)
def test_wilson_interval_against_published_numbers(wins: int, losses: int, low: float, high: float) -> None:
    assert WinRate(wins, 0, losses).interval == pytest.approx((low, high), abs=TOLERANCE)


def test_a_tie_is_half_a_win() -> None:
    one = WinRate(wins=30, ties=20, losses=50)
    assert (one.prompts, one.rate) == (100, 0.4)
    assert one.interval == pytest.approx(WinRate(40, 0, 60).interval)
    assert one.as_row().keys() == {"prompts", "wins", "ties", "losses", "win_rate", "win_rate_low", "win_rate_high"}


def test_the_interval_holds_the_rate_and_swaps_with_the_players() -> None:
    for wins, ties, losses in ((1, 0, 0), (0, 3, 0), (7, 2, 30), (0, 0, 5)):
        low, high = WinRate(wins, ties, losses).interval
        assert 0 <= low < high <= 1
        assert low - ROUNDING <= WinRate(wins, ties, losses).rate <= high + ROUNDING
        assert WinRate(losses, ties, wins).interval == pytest.approx((1 - high, 1 - low))


def test_win_rate_counts_pairs_and_the_margin_makes_ties() -> None:
    own, other = [0.5, 0.5, 0.5, 0.5, 0.5], [0.4, 0.6, 0.5, 0.51, 0.52]
    assert win_rate(own, other, tie_margin=0.015) == WinRate(wins=1, ties=2, losses=2)
    assert win_rate(own, other, tie_margin=0.0) == WinRate(wins=1, ties=1, losses=3)
    assert [verdict(1.0, x, 0.25) for x in (0.5, 0.75, 1.25, 1.5)] == ["win", "tie", "tie", "loss"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(["a b a b"], 2 / 3), (["a b", "a b", "b a"], 2 / 3), (["a", ""], 0.0), (["a b c", "d e"], 1.0), ([], 0.0)],
)
def test_distinct_2_by_hand(texts: list[str], expected: float) -> None:
    assert distinct_2(texts) == pytest.approx(expected)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_every_prompt_is_answered_and_measured(batch: int) -> None:
    policy, reference = language_model(), language_model(seed=8)
    asked = PromptSet(PROMPTS, Sampling(max_new_tokens=8), seed=1, batch=batch)
    answers = answer(policy, word_tokenizer(), asked, "eval", reference)
    assert len(answers.texts) == len(answers.tokens) == len(answers.finished) == len(answers.kl_nats) == len(PROMPTS)
    assert answers.length_mean == sum(answers.tokens) / len(PROMPTS)
    assert all(tokens == 8 for tokens, finished in zip(answers.tokens, answers.finished, strict=True) if not finished)
    assert {True, False} == set(answers.finished) and all(map(math.isfinite, answers.kl_nats))


def test_no_kl_without_a_reference_and_none_to_oneself() -> None:
    def kl(reference: LanguageModel | None) -> list[float]:
        asked = PromptSet(PROMPTS, Sampling(max_new_tokens=8), seed=1, batch=3)
        return answer(language_model(), word_tokenizer(), asked, "eval", reference).kl_nats

    assert kl(None) == []
    assert kl(language_model()) == [0.0] * len(PROMPTS)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_kl_against_slow_code(temperature: float) -> None:
    policy, reference = language_model(), language_model(seed=8)
    episodes = draw_episodes(policy, word_tokenizer(), PROMPTS, Sampling(temperature, max_new_tokens=8), 0, "test")
    measured = episode_kl(policy, reference, episodes, temperature)
    for i in range(len(PROMPTS)):
        prompt = episodes.prompts[i][episodes.prompt_mask[i]].tolist()
        response = episodes.responses[i][episodes.response_mask[i]].tolist()
        total = 0.0
        for t, token in enumerate(response):
            ids = torch.tensor([prompt + response[:t]])
            with torch.no_grad():
                logs = [(m.logits(m(ids))[0, -1] / temperature).log_softmax(-1)[token] for m in (policy, reference)]
            total += float(logs[0] - logs[1])
        assert measured[i].item() == pytest.approx(total, abs=10 * LAYOUT_TOLERANCE)


def test_best_of_takes_what_the_scorer_likes_best() -> None:
    def drawn(*texts: str) -> Answers:
        return Answers(list(texts), [1, 1], [True, True], [])

    several = [drawn("blue", "red"), drawn("blue blue", ""), drawn("", "blue")]
    assert best_of(WordScorer("blue"), ["a", "b"], several) == [1, 2]
    assert best_of(WordScorer("blue"), ["a", "b"], several[:1]) == [0, 0]


def judgement(utility: float, correct: bool | None) -> JudgeScores:
    parts = dict.fromkeys(("helpful", "honest", "harmless", "courteous", "concise"), utility / 2)
    return JudgeScores(utility=utility, correct=correct, **parts)


def test_component_means_and_correctness_of_answerable_prompts() -> None:
    means = component_means("sft", [judgement(0.2, True), judgement(0.4, None), judgement(0.6, False)])
    assert means["utility_sft"] == pytest.approx(0.4) and means["honest_sft"] == pytest.approx(0.2)
    assert means["correct_sft"] == 0.5
    assert math.isnan(component_means("x", [judgement(0.2, None)])["correct_x"])


def test_means_by_group() -> None:
    judged = [judgement(u, None) for u in (0.2, 0.4, 0.9)]
    assert group_means(["a", "a", "b"], judged) == {"a": pytest.approx(0.3), "b": 0.9}


def test_the_ceiling_is_read_on_the_untied_pairs() -> None:
    rankings = [Ranking("a", ("x", "y", "z"), (0, 0, 1)), Ranking("b", ("x", "y"), (0, 0))]
    utilities = [[0.5, 0.7, 0.1], [0.9, 0.1]]
    scale = 0.2
    chances = [1 / (1 + math.exp(-(u - 0.1) / scale)) for u in (0.5, 0.7)]
    assert ranking_ceiling(utilities, rankings, scale, 0.0) == pytest.approx(sum(chances) / 2)
    assert ranking_ceiling(utilities, rankings, scale, 0.1) > ranking_ceiling(utilities, rankings, scale, 0.0)
    assert math.isnan(ranking_ceiling([[0.9, 0.1]], rankings[1:], scale, 0.0))


def test_pair_accuracy_by_hand() -> None:
    pairs = [("p", "blue", "red"), ("p", "red", "blue"), ("p", "red", "red"), ("p", "blue blue", "blue")]
    assert pair_accuracy(WordScorer("blue"), pairs) == 2.5 / 4


def test_the_scorer_is_asked_with_each_prompt_beside_its_answer() -> None:
    scorer = WordScorer()
    pair_accuracy(scorer, [("p", "a", "b"), ("q", "c", "d")])
    asked: Sequence[tuple[list[Prompt], list[str]]] = scorer.asked
    assert asked == [(["p", "q"], ["a", "c"]), (["p", "q"], ["b", "d"])]
