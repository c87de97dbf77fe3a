"""Scorers take text: order, cutting, batching and padding cannot be seen in a score."""

from pathlib import Path

import pytest
import torch

from engine.core.errors import ConfigError, EngineError, FileError
from engine.data.records import Message
from engine.pocket.judge import judge
from engine.pocket.labelers import PERSONAS, persona_utility
from engine.train import scoring
from engine.train.scoring import JudgeScorer, RewardModelScorer, named_scorer, score_rows
from tests.support.tiny import ARCHITECTURE, PROMPTS, scalar_model, word_tokenizer

TOLERANCE = 1e-5
RESPONSES = ["red", "yes yes no", "", "one two three one two", "why", "green green"]


def test_a_row_is_prompt_response_eos() -> None:
    assert score_rows(["red blue", "why"], ["one", ""], word_tokenizer(), 9) == [[3, 4, 6, 1], [11, 1]]


def test_an_over_long_row_keeps_its_end() -> None:
    assert score_rows(["red blue green"], ["one two"], word_tokenizer(), 4) == [[5, 6, 7, 1]]


def test_each_score_is_that_of_its_row_alone() -> None:
    model, tokenizer = scalar_model(bias=0.3), word_tokenizer()
    scores = RewardModelScorer(model, tokenizer).score(PROMPTS, RESPONSES)
    assert len(set(scores)) == len(scores)
    for prompt, response, score in zip(PROMPTS, RESPONSES, scores, strict=True):
        ids = tokenizer.encode_prompt(prompt) + tokenizer.encode_responses([response])[0]
        with torch.no_grad():
            by_hand = model.score(model.model(torch.tensor([ids]))[0, -1]).item() - 0.3
        assert score == pytest.approx(by_hand, abs=TOLERANCE)


@pytest.mark.parametrize("rows", [1, 4])
def test_blocks_and_order_change_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = RewardModelScorer(scalar_model(), word_tokenizer())
    usual = scorer.score(PROMPTS, RESPONSES)
    monkeypatch.setattr(scoring, "SCORING_ROWS", rows)
    assert scorer.score(PROMPTS, RESPONSES) == pytest.approx(usual, abs=TOLERANCE)
    assert scorer.score(PROMPTS[::-1], RESPONSES[::-1])[::-1] == pytest.approx(usual, abs=TOLERANCE)
    assert scorer.score([], []) == []


def test_the_logit_is_the_score_and_the_bias() -> None:
    scorer = RewardModelScorer(scalar_model(bias=0.75), word_tokenizer())
    assert scorer.logit(1.5) == 2.25


def test_scoring_lets_no_gradient_flow_and_reads_the_last_eos() -> None:
    model = scalar_model()
    scorer = RewardModelScorer(model, word_tokenizer())
    long = "one " * (2 * ARCHITECTURE.context)
    assert scorer.score(["red"], [long]) == pytest.approx(scorer.score(["blue"], [long]))  # the prompt was cut away
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_judge_scores_by_utility_or_by_a_persona() -> None:
    prompt, responses = "What is the capital of France?", ["The capital of France is Paris.", "", "Paris Paris Paris"]
    judged = [judge(prompt, response) for response in responses]
    assert JudgeScorer().score([prompt] * 3, responses) == [judgement.utility for judgement in judged]
    concise = PERSONAS["concise"]
    assert JudgeScorer(concise).score([prompt] * 3, responses) == [persona_utility(one, concise) for one in judged]
    talk = (Message("user", "hello"), Message("assistant", "hi"), Message("user", prompt))
    assert JudgeScorer().score([talk], responses[:1]) == JudgeScorer().score([prompt], responses[:1])


FUNCTIONS = """
def length(prompts, responses):
    return [len(response) + 10 * (prompt if isinstance(prompt, str) else prompt[-1]["content"]).count("blue")
            for prompt, response in zip(prompts, responses)]
def breaks(prompts, responses):
    raise KeyError("oh")
def short(prompts, responses):
    return [1.0]
def lost(prompts, responses):
    return [1.0, float("nan")]
def wordy(prompts, responses):
    return [1.0, "good"]
numbers = 3
"""


@pytest.fixture
def functions(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    return str(tmp_path / "mine.py")


def test_a_persons_function_is_given_text_and_messages(functions: str) -> None:
    scorer = named_scorer(f"{functions}:length")
    assert scorer.score(["red blue", (Message("user", "blue"),)], ["one", ""]) == [13.0, 10.0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("breaks", "raised KeyError: 'oh'"),
        ("short", "returned 1 numbers for 2 responses"),
        ("lost", "returned nan for 'b'; it must be a finite number"),
        ("wordy", "returned 'good' for 'b'"),
    ],
)
def test_a_function_that_fails_is_one_sentence(functions: str, name: str, words: str) -> None:
    with pytest.raises(EngineError, match=f"mine.py:{name} {words}"):
        named_scorer(f"{functions}:{name}").score(["p", "q"], ["a", "b"])


def test_an_error_in_a_persons_function_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import json\ndef f(p, r):\n    return helper(r)\ndef helper(r):\n    return json.loads('{')\n")
    with pytest.raises(EngineError, match=r"mine\.py:f raised JSONDecodeError: .* \(.*mine\.py, line 5\)$"):
        named_scorer(f"{file}:f").score(["p"], ["a"])
    file.write_text("\n\nnumbers = 1 / 0\ndef f(p, r): ...\n")
    with pytest.raises(FileError, match=r"cannot be run: ZeroDivisionError: .* \(.*mine\.py, line 3\)$"):
        named_scorer(f"{file}:f")


def test_a_function_that_is_not_there_is_one_sentence(functions: str, tmp_path: Path) -> None:
    for name in ("lenght", "numbers"):
        with pytest.raises(ConfigError, match=f"has no function '{name}'"):
            named_scorer(f"{functions}:{name}")
    (tmp_path / "broken.py").write_text("def f(:")
    with pytest.raises(FileError, match=r"broken\.py cannot be run: SyntaxError"):
        named_scorer(f"{tmp_path}/broken.py:f")
    with pytest.raises(FileError, match="cannot be run: FileNotFoundError"):
        named_scorer(f"{tmp_path}/none.py:f")
