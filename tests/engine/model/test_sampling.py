"""Sampling: rows are independent, restricted as set, drawn from the right distribution, masked through EOS."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.model.sampling import Sampling, generate, generate_columns, left_pad, restrict_logits, sample_tokens
from engine.model.transformer import LanguageModel
from tests.support.tiny import ARCHITECTURE, language_model

DRAWS = 20_000
FREQUENCY_TOLERANCE = 0.015
"""More than four standard deviations of a frequency over 20,000 draws."""
EOS = 1
ROWS = [[3, 9, 4, 7], [6, 11], [5], [4, 4, 9], [10, 3, 3, 3, 8], [7, 7]]


def uniforms(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))


def drawn(
    rows: list[list[int]], numbers: Tensor, sampling: Sampling, model: LanguageModel | None = None
) -> list[list[int]]:
    """The tokens of each row through its EOS."""
    tokens, mask = left_pad(rows, 0)
    responses, response_mask = generate(model or language_model(), tokens, mask, EOS, sampling, numbers)
    return [own[real].tolist() for own, real in zip(responses, response_mask, strict=True)]


def test_left_pad_ends_every_row_in_the_last_column() -> None:
    ids, mask = left_pad([[5, 6, 7], [8]], 0)
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[True, True, True], [False, False, True]]


@pytest.mark.parametrize("temperature", [0, 0.7, 1.0])
def test_a_rows_tokens_do_not_depend_on_the_batch(temperature: float) -> None:
    sampling, numbers = Sampling(temperature, max_new_tokens=15), uniforms(len(ROWS), 15)
    together = drawn(ROWS, numbers, sampling)
    assert len({len(row) for row in together}) > 1, "rows of one length would prove little"
    assert together == [drawn([row], numbers[i : i + 1], sampling)[0] for i, row in enumerate(ROWS)]


def test_a_row_is_cut_by_its_own_prompt_not_its_neighbors() -> None:
    model, sampling = language_model(), Sampling(max_new_tokens=40)
    rows, numbers = [[5], [4] * 30], uniforms(2, 40, seed=3)
    no_eos = -1
    tokens, mask = left_pad(rows, 0)
    response_mask = generate(model, tokens, mask, no_eos, sampling, numbers)[1]
    assert response_mask.sum(1).tolist() == [ARCHITECTURE.context - 1, ARCHITECTURE.context - 30]


def test_rows_stop_one_by_one_and_each_ends_with_its_eos() -> None:
    tokens, mask = left_pad(ROWS, 0)
    columns = list(
        generate_columns(language_model(), tokens, mask, EOS, Sampling(max_new_tokens=15), uniforms(len(ROWS), 15))
    )
    running = set(range(len(ROWS)))
    for rows, ids in columns:
        assert set(rows.tolist()) == running
        running -= {row for row, token in zip(rows.tolist(), ids.tolist(), strict=True) if token == EOS}
    assert not running or len(columns) == 15


def test_the_mask_is_true_through_eos_and_what_follows_is_false() -> None:
    tokens, mask = left_pad(ROWS, 0)
    responses, kept = generate(
        language_model(), tokens, mask, EOS, Sampling(max_new_tokens=15), uniforms(len(ROWS), 15)
    )
    ended = [row for row, real in zip(responses, kept, strict=True) if row[int(real.sum()) - 1] == EOS]
    assert len(ended) > 2
    for row, real in zip(responses.tolist(), kept, strict=True):
        length = int(real.sum())
        assert real[:length].all() and EOS not in row[: length - 1] and not any(row[length:])
    assert kept.any(0).all(), "a column that no row uses was kept"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_dropping_finished_rows_changes_nothing(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, sampling = uniforms(len(ROWS), 15), Sampling(max_new_tokens=15)
    usual = drawn(ROWS, numbers, sampling)
    monkeypatch.setattr("engine.model.sampling.COMPACT_BELOW", share)
    assert drawn(ROWS, numbers, sampling) == usual


def test_finished_rows_cost_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    model, widths = language_model(), list[int]()
    forward = model.forward

    def counted(tokens: Tensor, *rest: Any) -> Tensor:
        widths.append(len(tokens))
        return forward(tokens, *rest)

    monkeypatch.setattr(model, "forward", counted)
    responses = drawn(ROWS, uniforms(len(ROWS), 15), Sampling(max_new_tokens=15), model)
    running = [sum(len(row) > column for row in responses) for column in range(len(widths))]
    assert widths[0] == len(ROWS) and widths[-1] < len(ROWS)
    assert all(left > 0.75 * held or left == held for left, held in zip(running, widths, strict=True))


def test_greedy_takes_the_likeliest_of_a_full_forward() -> None:
    model, row = language_model(), [3, 9, 4]
    (response,) = drawn([row], torch.zeros(1, 8), Sampling(temperature=0, max_new_tokens=8), model)
    for column, token in enumerate(response):
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([row + response[:column]])))[0, -1]
        assert token == int(logits.argmax())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution_at_the_temperature(temperature: float) -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    ids = sample_tokens(logits.expand(DRAWS, 4), uniforms(1, DRAWS)[0], Sampling(temperature))
    weights = [math.exp(x / temperature) for x in logits.tolist()]
    expected = [weight / sum(weights) for weight in weights]
    frequencies = (ids.bincount(minlength=4) / DRAWS).tolist()
    assert frequencies == pytest.approx(expected, abs=FREQUENCY_TOLERANCE)


@pytest.mark.parametrize("number", [0.0, 1e-9, 0.999999, 1 - 2**-24])
def test_no_number_draws_an_impossible_token(number: float) -> None:
    logits = torch.tensor([[-torch.inf, 1.0, -torch.inf, 1.0, -torch.inf]])
    assert sample_tokens(logits, torch.tensor([number]), Sampling()).item() == (1 if number < 0.5 else 3)


LOGITS = torch.tensor([[4.0, 1.0, 3.0, 2.0], [0.0, 0.0, 5.0, 1.0]])


def kept(sampling: Sampling) -> list[list[int]]:
    """Ids that top-k and top-p leave, row by row."""
    return [row.isfinite().nonzero().flatten().tolist() for row in restrict_logits(LOGITS, sampling)]


@pytest.mark.parametrize(("top_k", "expected"), [(0, [[0, 1, 2, 3]] * 2), (1, [[0], [2]]), (2, [[0, 2], [2, 3]])])
def test_top_k(top_k: int, expected: list[list[int]]) -> None:
    assert kept(Sampling(top_k=top_k)) == expected


def test_a_top_k_above_the_vocabulary_keeps_all() -> None:
    assert kept(Sampling(top_k=99)) == [[0, 1, 2, 3]] * 2


def test_top_p_keeps_the_token_that_crosses_it() -> None:
    """Row 0 has masses .644 .237 .087 .032, row 1 .970 and less."""
    assert kept(Sampling(top_p=0.6)) == [[0], [2]]
    assert kept(Sampling(top_p=0.7)) == [[0, 2], [2]]
    assert kept(Sampling(top_p=0.9)) == [[0, 2, 3], [2]]
    assert kept(Sampling(top_p=1.0)) == [[0, 1, 2, 3]] * 2


def test_top_p_is_measured_at_the_temperature() -> None:
    assert kept(Sampling(temperature=0.5, top_p=0.8)) == [[0], [2]]  # at .5 the first has .86, at 1 it has .64
    assert kept(Sampling(temperature=1.0, top_p=0.8)) == [[0, 2], [2]]


def test_no_token_is_excluded_by_default() -> None:
    assert torch.equal(restrict_logits(LOGITS, Sampling()), LOGITS)


@pytest.mark.parametrize("length", [0, 1])
def test_a_prompt_that_fills_the_context_affects_no_other_row(length: int) -> None:
    numbers = uniforms(2, 5)
    rows = [[3] * (ARCHITECTURE.context + length), [6, 11]]
    alone = drawn(rows[1:], numbers[1:], Sampling(max_new_tokens=5))
    assert drawn(rows, numbers, Sampling(max_new_tokens=5)) == [[], *alone]
    tokens, mask = left_pad(rows[:1], 0)
    responses, kept = generate(language_model(), tokens, mask, EOS, Sampling(max_new_tokens=5), uniforms(1, 5))
    assert responses.shape == kept.shape == (1, 0)


def test_sampling_leaves_no_gradient_and_no_inference_tensor() -> None:
    tokens, mask = left_pad(ROWS, 0)
    responses, kept = generate(language_model(), tokens, mask, EOS, Sampling(max_new_tokens=4), uniforms(len(ROWS), 4))
    assert not responses.requires_grad and not responses.is_inference() and not kept.is_inference()
