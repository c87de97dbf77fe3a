"""The reward model: a prompt with all its pairs is one element, ties leave, demonstrations average 0 afterwards."""

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.core.config import RmConfig
from engine.core.events import (
    CheckpointSaved,
    EvalCompleted,
    Event,
    PhaseProgress,
    StageFinished,
    StageStarted,
    to_row,
    without_clock,
)
from engine.data.records import Demonstration, Ranking, TrainingRows
from engine.model.heads import ScalarModel
from engine.model.pretrained import open_scalar
from engine.model.transformer import Layout
from engine.train.rm import (
    RankedRows,
    RewardData,
    accuracy_of,
    batch_loss,
    calibration_error,
    longer_baseline,
    normalize,
    pretraining_steps,
    ranked_rows,
    ranking_metrics,
    ranking_scores,
    share_right,
    train_rm,
)
from engine.train.scoring import RewardModelScorer
from tests.support.tiny import WORDS, loop, metrics_of, never, scalar_model, stop_after, word_tokenizer

TOLERANCE = 1e-5
CPU = torch.device("cpu")
RANKINGS = [
    Ranking("red blue", ("one", "two two", "three"), (0, 1, 2)),
    Ranking("why", ("yes no", "no"), (1, 0)),
    Ranking("green", ("one two", "yes", "no", "why why"), (0, 0, 1, 1)),
    Ranking("two", ("red", "blue"), (0, 0)),  # nothing but a tie
    Ranking("one one", ("blue", "red red red"), (0, 1)),
    Ranking("yes", ("two", "green", "why"), (2, 1, 0)),
]
DEMONSTRATIONS = [Demonstration("red", "yes"), Demonstration("why", "no no"), Demonstration("one two", "three")]


def rows(rankings: Sequence[Ranking] = RANKINGS) -> list[RankedRows]:
    return ranked_rows(rankings, word_tokenizer(), 32)


def slow_score(model: ScalarModel, ids: list[int]) -> float:
    with torch.no_grad():
        return float(model(torch.tensor([ids]))[0, -1])


def slow_loss(model: ScalarModel, items: Sequence[RankedRows], center_coef: float) -> float:
    """Mean over prompts of the mean over their untied pairs."""
    losses = []
    for item in items:
        scores = [slow_score(model, ids) for ids in item.rows]
        pairs = [
            math.log1p(math.exp(scores[b] - scores[a])) if item.ranks[a] < item.ranks[b] else None
            for one, other in combinations(range(len(scores)), 2)
            for a, b in ((one, other), (other, one))
        ]
        untied = [loss for loss in pairs if loss is not None]
        losses.append(sum(untied) / max(1, len(untied)) + center_coef * (sum(scores) / len(scores)) ** 2)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("center_coef", [0.0, 0.3])
def test_the_loss_averages_untied_pairs_within_prompts_first(center_coef: float) -> None:
    model, items = scalar_model(), rows()
    loss, _ = batch_loss(model, items, 0, CPU, center_coef)
    assert loss.item() == pytest.approx(slow_loss(model, items, center_coef), abs=TOLERANCE)
    assert loss.requires_grad


def test_a_prompt_with_many_pairs_weighs_as_much_as_any() -> None:
    model, items = scalar_model(), rows()
    alone = [batch_loss(model, [item], 0, CPU, 0.0)[0].item() for item in items]
    assert batch_loss(model, items, 0, CPU, 0.0)[0].item() == pytest.approx(sum(alone) / len(alone), abs=TOLERANCE)


def test_one_forward_a_response_and_a_prompt_passes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = scalar_model(), list[Tensor]()
    forward = model.model.forward

    def counted(tokens: Tensor, *rest: Any, **named: Any) -> Tensor:
        seen.append(tokens)
        return forward(tokens, *rest, **named)

    monkeypatch.setattr(model.model, "forward", counted)
    batch_loss(model, rows(), 0, CPU, 0.0)
    (tokens,) = seen
    assert len(tokens) == len(RANKINGS)
    assert [row.count(1) for row in tokens.tolist()] == [len(ranking.responses) for ranking in RANKINGS]  # EOS is 1
    assert tokens[2].tolist().count(WORDS.index("green") + 3) == 1


def test_a_batch_of_ties_alone_teaches_nothing() -> None:
    model = scalar_model()
    loss, accuracy = batch_loss(model, rows(RANKINGS[3:4]), 0, CPU, 0.0)
    loss.backward()
    assert (loss.item(), accuracy) == (0.0, 0.0)
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


class Told(ScalarModel):
    """A reward model with the scores that it is told, in the order of its rows."""

    told: Sequence[float] = ()

    def scores_at(self, tokens: Tensor, layout: Layout, ends: Tensor) -> Tensor:
        return torch.tensor(self.told)


def test_accuracy_of_a_batch_by_hand() -> None:
    model = Told(scalar_model().architecture)
    model.told = [3.0, 1.0, 2.0, 0.0, 5.0]
    _, accuracy = batch_loss(model, rows(RANKINGS[:2]), 0, CPU, 0.0)
    assert accuracy == 3 / 4  # of 3 > 1, 3 > 2, 1 > 2 (wrong), 5 > 0


def test_share_right_by_hand() -> None:
    assert share_right([(2, 1), (1, 2), (1, 1), (3, 0)]) == 2.5 / 4
    assert math.isnan(share_right([]))


def test_the_longer_baseline_by_hand() -> None:
    """Right on "two two" over "three" alone of the first; wrong on the second; 2 of 4; none; wrong; 2 of 3."""
    shares = {
        0: [("one", "two two"), ("one", "three"), ("two two", "three")],
        1: [("no", "yes no")],
        2: [("one two", "no"), ("one two", "why why"), ("yes", "no"), ("yes", "why why")],
        4: [("blue", "red red red")],
        5: [("green", "two"), ("why", "two"), ("why", "green")],
    }
    for i, pairs in shares.items():
        expected = sum(1.0 if len(a) > len(b) else 0.5 * (len(a) == len(b)) for a, b in pairs) / len(pairs)
        assert longer_baseline([RANKINGS[i]]) == pytest.approx(expected), i
    assert longer_baseline(RANKINGS[:1]) == pytest.approx(1 / 3)
    assert longer_baseline(RANKINGS[4:]) == pytest.approx((0 + 1 + 0.5 + 0) / 4)


def test_held_out_accuracy_against_slow_code() -> None:
    model, tokenizer = scalar_model(), word_tokenizer()
    right, pairs = 0, 0
    for item in rows():
        scores = [slow_score(model, ids) for ids in item.rows]
        for a, b in combinations(range(len(scores)), 2):
            if item.ranks[a] != item.ranks[b]:
                right += (scores[a] > scores[b]) == (item.ranks[a] < item.ranks[b])
                pairs += 1
    assert 0 < right < pairs == 12
    assert accuracy_of(model, tokenizer, RANKINGS) == pytest.approx(right / pairs)
    assert ranking_metrics([], [], 2.0) == {"rm/gain": 2.0}
    assert ranking_metrics(ranking_scores(model, tokenizer, RANKINGS), RANKINGS, 2.0)[
        "rm/longer_baseline"
    ] == longer_baseline(RANKINGS)


def test_the_held_out_loss_is_of_logits_before_normalization() -> None:
    model, tokenizer = scalar_model(), word_tokenizer()
    before = ranking_metrics(ranking_scores(model, tokenizer, RANKINGS), RANKINGS, 1.0)
    gain = normalize(model, tokenizer, ranking_scores(model, tokenizer, RANKINGS), DEMONSTRATIONS)
    after = ranking_metrics(ranking_scores(model, tokenizer, RANKINGS), RANKINGS, gain)
    assert gain > 0 and after["rm/gain"] == gain != 1.0
    for name in ("rm/validation_loss", "rm/calibration_error", "rm/validation_accuracy"):
        assert after[name] == pytest.approx(before[name], abs=TOLERANCE), name


def test_calibration_by_hand() -> None:
    sure, likely = math.log(9), math.log(3)  # chances of .9 and .75
    assert calibration_error([sure] * 9 + [-sure]) == pytest.approx(0, abs=TOLERANCE)
    assert calibration_error([sure] * 10) == pytest.approx(0.1)
    assert calibration_error([-sure]) == pytest.approx(0.9)
    # two bins: .9 against 1, and .75 against .5, half of the pairs each
    assert calibration_error([sure, sure, likely, -likely]) == pytest.approx((0.1 + 0.25) / 2)
    assert calibration_error([0.0, 1000.0]) == pytest.approx(0)


def test_normalized_scores_have_unit_spread_and_zero_mean() -> None:
    model, tokenizer = scalar_model(bias=3.0), word_tokenizer()
    before = ranking_scores(model, tokenizer, RANKINGS)
    normalize(model, tokenizer, before, DEMONSTRATIONS)
    after = ranking_scores(model, tokenizer, RANKINGS)
    flat = torch.tensor([score for own in after for score in own])
    assert flat.std(correction=0).item() == pytest.approx(1, abs=TOLERANCE)
    scorer = RewardModelScorer(model, tokenizer)
    own = scorer.score([row.prompt for row in DEMONSTRATIONS], [row.response for row in DEMONSTRATIONS])
    assert sum(own) / len(own) == pytest.approx(0, abs=TOLERANCE) and max(own) > 0.01
    order = [sorted(range(len(each)), key=each.__getitem__) for each in before]
    assert order == [sorted(range(len(each)), key=each.__getitem__) for each in after]


# training

CONFIG = RmConfig(lr=3e-3, batch=2, warmup_steps=0, eval_every=2, save_every=100)
PAIRS = [Ranking("two", ("two", "three"), (0, 1)), Ranking("red", ("red", "blue"), (0, 1))]


def train(c: RmConfig, directory: Path, *, steps: int = 6, **changes: Any) -> tuple[list[Event], ScalarModel]:
    model = scalar_model()
    options: dict[str, Any] = {"pretraining": (), "should_stop": never} | changes
    data = RewardData(TrainingRows(RANKINGS, RANKINGS[:2]), options["pretraining"], DEMONSTRATIONS)
    its_loop = loop(directory, "rm", steps, 3, every=c.save_every, should_stop=options["should_stop"])
    events = train_rm(model, word_tokenizer(), data, c, its_loop)
    return list(events), model


def test_training_orders_the_rankings_and_ends_normalized(tmp_path: Path) -> None:
    events, model = train(RmConfig(lr=1e-2, batch=3, warmup_steps=0), tmp_path, steps=40)
    metrics = metrics_of(events)
    assert metrics[0]["rm/loss"] > 0.5 > 0.1 > metrics[-1]["rm/loss"] and metrics[-1]["rm/accuracy"] == 1.0
    assert isinstance(events[-2], CheckpointSaved) and isinstance(events[-1], StageFinished)
    assert events[-1].metrics["rm/validation_accuracy"] == 1.0
    again, tokenizer = open_scalar(tmp_path / "rm" / "final")
    scorer = RewardModelScorer(again, tokenizer)
    own = scorer.score([row.prompt for row in DEMONSTRATIONS], [row.response for row in DEMONSTRATIONS])
    assert sum(own) / 3 == pytest.approx(0, abs=TOLERANCE)
    assert ranking_scores(again, tokenizer, RANKINGS) == ranking_scores(model, tokenizer, RANKINGS)


def test_pretraining_pairs_come_first_and_once(tmp_path: Path) -> None:
    c = RmConfig(lr=1e-9, batch=6, pretraining_batch=1, warmup_steps=0)
    assert (
        pretraining_steps(len(PAIRS), c) == 2
        and pretraining_steps(0, c) == 0
        and pretraining_steps(5, RmConfig(pretraining_batch=2)) == 3
    )
    losses = [m["rm/loss"] for m in metrics_of(train(c, tmp_path, steps=4, pretraining=PAIRS)[0])]
    expected = sorted(slow_loss(scalar_model(), [item], 0.0) for item in rows(PAIRS))
    assert sorted(losses[:2]) == pytest.approx(expected, abs=TOLERANCE)
    assert losses[2:] == pytest.approx([slow_loss(scalar_model(), rows(), 0.0)] * 2, abs=TOLERANCE)


def test_validation_accuracy_comes_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    events, _ = train(CONFIG, tmp_path, steps=5)
    assert [event.step for event in events if isinstance(event, EvalCompleted)] == [2, 4, 5]
    assert isinstance(events[0], StageStarted)


def test_stopped_and_resumed_equals_never_stopped(tmp_path: Path) -> None:
    whole, model = train(CONFIG, tmp_path / "whole", pretraining=PAIRS)
    before, _ = train(CONFIG, tmp_path / "cut", pretraining=PAIRS, should_stop=stop_after(3))
    after, again = train(CONFIG, tmp_path / "cut", pretraining=PAIRS)
    assert len(metrics_of(before)) == 3
    assert without_clock(metrics_of(before) + metrics_of(after)) == without_clock(metrics_of(whole))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert model.bias == again.bias


OTHER: dict[str, Any] = {
    "lr": 1e-3,
    "warmup_steps": 3,
    "min_lr_ratio": 1.0,
    "betas": (0.5, 0.6),
    "eps": 1e-2,
    "weight_decay": 0.5,
    "max_grad_norm": 0.01,
    "muon_lr": 0.01,
    "batch": 3,
    "pretraining_batch": 1,
    "center_coef": 0.5,
    "eval_every": 3,
    "save_every": 2,
}
SHOWN = {"eval_every", "save_every"}
ELSEWHERE = {"epochs", "pretraining_pairs", "validation_share"}
"""Read where the stage is opened (test_stage_settings.py)."""


def test_every_setting_of_the_reward_model_has_a_case() -> None:
    assert OTHER.keys() | ELSEWHERE == RmConfig.model_fields.keys()


@pytest.mark.parametrize("name", OTHER)
def test_the_setting_changes_something(name: str, tmp_path: Path) -> None:
    outcomes = []
    for folder, changes in (("usual", {}), ("other", {name: OTHER[name]})):
        events, model = train(RmConfig(**(CONFIG.model_dump() | changes)), tmp_path / folder, pretraining=PAIRS)
        said = [without_clock(to_row(event)) for event in events]
        outcomes.append(said if name in SHOWN else [p.tolist() for p in model.parameters()])
    assert outcomes[0] != outcomes[1]


def test_a_stop_in_the_last_phase_saves_and_resumes_before_it(tmp_path: Path) -> None:
    whole, model = train(CONFIG, tmp_path / "whole")
    before, _ = train(CONFIG, tmp_path / "cut", should_stop=stop_after(7))
    assert isinstance(before[-2], PhaseProgress) and before[-1] == CheckpointSaved("rm", 6, "rm/step-000006")
    after, again = train(CONFIG, tmp_path / "cut")
    assert [type(event) for event in after] == [
        StageStarted,
        PhaseProgress,
        PhaseProgress,
        CheckpointSaved,
        StageFinished,
    ]
    assert without_clock(to_row(after[-1])) == without_clock(to_row(whole[-1]))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
