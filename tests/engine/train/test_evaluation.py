"""The evaluation stage on tiny models: one step a contestant, rows that agree with the numbers, settings that count."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Encoder

from engine.core.config import EvalConfig
from engine.core.errors import CheckpointError
from engine.core.events import (
    EvalCompleted,
    Event,
    PhaseProgress,
    SamplesDrawn,
    StageFinished,
    StageStarted,
    StepCompleted,
)
from engine.core.metrics import describe
from engine.model.tokenizer import Tokenizer
from engine.pocket.judge import JudgeScores
from engine.train.evaluation import EvaluatedPolicies, evaluate_run, first_of_each, picked
from engine.train.scoring import RewardModelScorer, Scorer
from engine.train.win_rate import Answers
from tests.support.tiny import (
    ARCHITECTURE,
    WordScorer,
    language_model,
    loop,
    metrics_of,
    never,
    scalar_model,
    stop_after,
    word_tokenizer,
)

LONG = replace(ARCHITECTURE, context=128)
CONFIG = EvalConfig(prompts=12, max_new_tokens=6, best_of=4, batch=8)


def counting_judge(prompt: str, response: str) -> JudgeScores:
    """Every component by the number of words; longer than three is right."""
    words = len(response.split())
    share = min(1.0, words / 6)
    return JudgeScores(share, share, share, share, share, words > 3, share)


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.train.evaluation.judge", counting_judge)


def evaluate(
    directory: Path,
    stop: Callable[[], bool] = never,
    comparisons: Path | None = None,
    sampled: Sequence[SamplesDrawn] = (),
    scorer: Scorer | None = None,
    other: Tokenizer | None = None,
    **changes: Any,
) -> tuple[list[Event], list[dict[str, Any]]]:
    """The events, and what was published."""
    tokenizer, published = word_tokenizer(), list[dict[str, Any]]()
    policies = EvaluatedPolicies(
        (language_model(LONG, 1), tokenizer),
        (language_model(LONG, 2), tokenizer),
        (language_model(LONG, 3), other or tokenizer),
        scorer or RewardModelScorer(scalar_model(LONG), tokenizer),
        gain=2.0,
    )
    events = evaluate_run(
        policies,
        EvalConfig(**(CONFIG.model_dump() | changes)),
        comparisons,
        sampled,
        loop(directory, "eval", 0, 0, should_stop=stop),
        directory / "eval.jsonl",
        published.append,
    )
    return list(events), published


def rows(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "eval.jsonl").read_text().splitlines()]


def test_the_rows_and_the_numbers_agree(tmp_path: Path) -> None:
    events, (result,) = evaluate(tmp_path)
    kinds = [type(event) for event in events if not isinstance(event, PhaseProgress)]
    assert kinds == [StageStarted, *[StepCompleted] * 5, EvalCompleted, StageFinished]
    judged = rows(tmp_path)
    assert len(judged) == result["prompts"] == 12
    verdicts = [row["verdict"] for row in judged]
    assert [verdicts.count(v) for v in ("win", "tie", "loss")] == [result[v] for v in ("wins", "ties", "losses")]
    for row in judged:
        difference = row["ppo"]["utility"] - row["sft"]["utility"]
        expected = "tie" if abs(difference) <= CONFIG.tie_margin else "win" if difference > 0 else "loss"
        assert row["verdict"] == expected
        assert row["sft"]["utility"] == min(1.0, len(row["sft"]["response"].split()) / 6)
    assert result["kl_nats"] == pytest.approx(sum(row["kl_nats"] for row in judged) / 12)
    for name in ("base", "sft", "best_of_4", "ppo"):
        assert result[f"utility_{name}"] == pytest.approx(sum(row[name]["utility"] for row in judged) / 12)
        assert result[f"tokens_{name}"] == pytest.approx(sum(row[name]["tokens"] for row in judged) / 12)
        assert result[f"reward_{name}"] == pytest.approx(sum(row[name]["score"] for row in judged) / 12)
    assert result["reward_best_of_4"] > result["reward_sft"]
    assert result["length_ratio"] == result["tokens_ppo"] / result["tokens_sft"]


def test_every_metric_is_registered(tmp_path: Path) -> None:
    events, _ = evaluate(tmp_path)
    final = events[-1]
    assert isinstance(final, StageFinished)
    for name in {name for metrics in (*metrics_of(events), final.metrics) for name in metrics}:
        describe(name)


def test_a_stopped_evaluation_publishes_nothing(tmp_path: Path) -> None:
    events, published = evaluate(tmp_path, stop_after(2))
    assert len(metrics_of(events)) == 2 and not published and not (tmp_path / "eval.jsonl").exists()
    events, published = evaluate(tmp_path, stop_after(4))  # between two draws of best-of-4
    assert isinstance(events[-1], PhaseProgress) and not published


def test_the_answer_that_was_chosen_is_taken_whole() -> None:
    several = [Answers([f"a{k}", f"b{k}"], [k, 10 + k], [k == 0, True], []) for k in range(3)]
    assert picked(several, [2, 0]) == Answers(["a2", "b0"], [2, 10], [False, True], [])


def test_comparisons_that_are_gone_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"slmctl\.json cannot be read"):
        evaluate(tmp_path, comparisons=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "value"),
    [("prompts", 9), ("temperature", 0.5), ("max_new_tokens", 3), ("best_of", 2), ("tie_margin", 0.9), ("batch", 3)],
)
def test_the_setting_changes_something(name: str, value: Any, tmp_path: Path) -> None:
    assert name in EvalConfig.model_fields and len(EvalConfig.model_fields) == 6
    evaluate(tmp_path)
    usual = rows(tmp_path)
    evaluate(tmp_path, **{name: value})
    assert rows(tmp_path) != usual


def test_the_curve_is_of_ppos_samples_by_step(tmp_path: Path) -> None:
    def drawn(step: int, *rows: tuple[str, float, float], stage: str = "ppo") -> SamplesDrawn:
        shown = [{"prompt": "p", "response": text, "score": score, "kl_nats": kl} for text, score, kl in rows]
        return SamplesDrawn(stage, step, shown)

    sampled = [
        drawn(1, ("one two three", 0.5, 0.0), ("one two three four five six", 1.5, 1.0)),
        drawn(3, ("one", 4.0, 9.0), stage="sft"),
        drawn(5, ("", 3.0, 2.0)),
    ]
    _, (result,) = evaluate(tmp_path, sampled=sampled)
    assert result["curve"] == [
        {"step": 1, "reward": 1.0, "kl_nats": 0.5, "utility": 0.75},
        {"step": 5, "reward": 3.0, "kl_nats": 2.0, "utility": 0.0},
    ]


def test_a_policy_of_another_tokenizer_is_judged_and_has_no_kl(tmp_path: Path) -> None:
    encoder = Encoder.from_str(word_tokenizer().encoder.to_str().replace('"red"', '"rot"'))
    _, (result,) = evaluate(tmp_path, other=Tokenizer(encoder, eos_id=1, pad_id=0))
    assert result["kl_nats"] is None and result["prompts"] == 12
    assert all(row["kl_nats"] is None for row in rows(tmp_path))


def test_any_scorer_that_ppo_had_is_the_one_shown(tmp_path: Path) -> None:
    _, (result,) = evaluate(tmp_path, scorer=WordScorer("blue"))
    own = rows(tmp_path)
    assert result["reward_ppo"] == sum(row["ppo"]["response"].split().count("blue") for row in own) / len(own)
    assert result["rm_accuracy"] is None


def test_examples_are_of_different_groups() -> None:
    assert first_of_each(["a", "a", "b", "a", "c", "b"]) == [0, 2, 4]
