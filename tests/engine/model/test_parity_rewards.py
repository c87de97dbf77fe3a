"""Reward scores beside transformers' sequence classifier, both ways."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from engine.core.untrusted_files import read_json
from engine.model.batching import right_pad
from engine.model.checkpoint import save_model
from engine.model.pretrained import open_scalar
from engine.model.tokenizer import save_tokenizer
from engine.model.transformer import Architecture
from engine.train.scoring import RewardModelScorer, score_rows
from tests.support.tiny import ARCHITECTURE, PROMPTS, THEIR_SIZES, language_model, scalar_model, word_tokenizer

hf: Any = transformers
"""Untyped, because its annotations contradict its own calls."""
SCORE_TOLERANCE = 1e-5
BIAS = 0.75
RESPONSES = ["red", "yes yes no", "", "one two three one two", "why", "green green"]
ARCHITECTURES: dict[str, Architecture] = {
    "tied": ARCHITECTURE,
    "untied": replace(ARCHITECTURE, tied=False),
    "Llama biases": replace(ARCHITECTURE, qkv_bias=True, output_bias=True),
    "Qwen2 biases": replace(ARCHITECTURE, qkv_bias=True),
}


def their_scores(model: Any, rows: list[list[int]]) -> list[float]:
    """Scores by transformers of right-padded rows; it reads the last token that is not PAD."""
    tokens, lengths = right_pad(rows, 0, torch.device("cpu"))
    mask = torch.arange(tokens.size(1)) < lengths[:, None]
    with torch.no_grad():
        scores: list[float] = model(tokens, attention_mask=mask.long()).logits.squeeze(-1).tolist()
    return scores


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_transformers_scores_as_we_do_but_for_the_bias(name: str, tmp_path: Path) -> None:
    model, tokenizer = scalar_model(ARCHITECTURES[name], bias=BIAS), word_tokenizer()
    save_model(tmp_path / "rm", model, tokenizer, {"stage": "rm"})
    theirs = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
    expected = their_scores(theirs, score_rows(PROMPTS, RESPONSES, tokenizer, ARCHITECTURE.context))
    scorer = RewardModelScorer(model, tokenizer)
    scores = scorer.score(PROMPTS, RESPONSES)
    assert max(scores) - min(scores) > 0.1
    assert [scorer.logit(score) for score in scores] == pytest.approx(expected, abs=SCORE_TOLERANCE)
    assert [score + BIAS for score in scores] == pytest.approx(expected, abs=SCORE_TOLERANCE)
    assert read_json(tmp_path / "rm" / "slmctl.json") == {"stage": "rm", "reward_bias": BIAS}


def test_a_reward_model_comes_back_with_its_bias(tmp_path: Path) -> None:
    model, tokenizer = scalar_model(bias=BIAS), word_tokenizer()
    save_model(tmp_path / "rm", model, tokenizer, {})
    again = RewardModelScorer(*open_scalar(tmp_path / "rm"))
    assert again.score(PROMPTS, RESPONSES) == RewardModelScorer(model, tokenizer).score(PROMPTS, RESPONSES)


def test_a_classifier_of_transformers_opens_here_without_a_bias(tmp_path: Path) -> None:
    torch.manual_seed(7)
    config = hf.LlamaConfig(**THEIR_SIZES, num_labels=1, pad_token_id=0)
    theirs = hf.AutoModelForSequenceClassification.from_config(config).eval()
    theirs.save_pretrained(tmp_path)
    save_tokenizer(word_tokenizer(), tmp_path)
    model, tokenizer = open_scalar(tmp_path)
    expected = their_scores(theirs, score_rows(PROMPTS, RESPONSES, tokenizer, ARCHITECTURE.context))
    assert RewardModelScorer(model, tokenizer).score(PROMPTS, RESPONSES) == pytest.approx(expected, abs=SCORE_TOLERANCE)


def test_the_value_network_beside_a_policy_opens_in_transformers(tmp_path: Path) -> None:
    value = scalar_model(seed=4)
    save_model(tmp_path / "ppo", language_model(seed=5), word_tokenizer(), {}, value)
    theirs = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ppo" / "value").eval()
    rows = [[3, 4, 5, 1], [6, 1]]
    tokens, lengths = right_pad(rows, 0, torch.device("cpu"))
    with torch.no_grad():
        ours = value.scores(tokens, lengths)
    assert ours.tolist() == pytest.approx(their_scores(theirs, rows), abs=SCORE_TOLERANCE)
