"""The decoder: padding and cache change nothing, causality, RoPE and RMSNorm by hand, and the layout of heads."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.model.heads import scalar_from
from engine.model.sampling import left_pad
from engine.model.transformer import (
    Architecture,
    Cache,
    LanguageModel,
    RMSNorm,
    initialize,
    padded_layout,
    parameter_count,
    rope_tables,
    rotate,
)
from tests.support.tiny import ARCHITECTURE, language_model, scalar_model, untied

TOLERANCE = 1e-5
BF16_TOLERANCE = 0.15
"""About the largest error of a bfloat16 product summed over a few dozen terms of size 1."""
ROWS = [[3, 9, 4, 7, 5, 8, 3], [6, 11, 10], [5], [4, 4, 4, 9, 3]]


@torch.no_grad()
def logits(model: LanguageModel, tokens: Tensor, mask: Tensor | None = None, cache: Cache | None = None) -> Tensor:
    return model.logits(model(tokens, mask, cache))


@pytest.mark.parametrize("architecture", [ARCHITECTURE, untied(), replace(ARCHITECTURE, qkv_bias=True, head_width=6)])
def test_left_padding_changes_nothing(architecture: Architecture) -> None:
    model = language_model(architecture)
    tokens, mask = left_pad(ROWS, 0)
    padded = logits(model, tokens, mask)
    assert torch.isfinite(padded).all()
    for row, own in zip(ROWS, padded, strict=True):
        torch.testing.assert_close(own[-len(row) :], logits(model, torch.tensor([row]))[0], rtol=0, atol=TOLERANCE)


def test_padding_ids_change_nothing() -> None:
    model = language_model()
    tokens, mask = left_pad(ROWS, 0)
    junk = tokens.masked_fill(~mask, 7)
    assert torch.equal(logits(model, tokens, mask)[mask], logits(model, junk, mask)[mask])


def test_padding_on_the_right_needs_no_mask() -> None:
    model = language_model()
    for row in ROWS:
        padded = logits(model, torch.tensor([row + [0] * 5]))[0, : len(row)]
        torch.testing.assert_close(padded, logits(model, torch.tensor([row]))[0], rtol=0, atol=TOLERANCE)


def test_padding_lets_no_nan_into_a_gradient() -> None:
    model = language_model()
    tokens, mask = left_pad(ROWS, 0)
    model.logits(model(tokens, mask)[:, -1]).sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)


def test_a_later_token_changes_nothing_before_it() -> None:
    model, row = language_model(), torch.tensor([ROWS[0]])
    other = row.clone()
    other[0, 4] = 11
    before, after = logits(model, row)[0], logits(model, other)[0]
    torch.testing.assert_close(before[:4], after[:4], rtol=0, atol=TOLERANCE)
    assert ((before[4:] - after[4:]).abs().amax(-1) > 0.01).all()


@pytest.mark.parametrize("pieces", [[1] * 7, [3, 4], [2, 1, 3, 1]])
def test_the_cache_equals_the_full_forward(pieces: list[int]) -> None:
    model = language_model()
    tokens, mask = left_pad(ROWS, 0)
    cache = Cache.empty(ARCHITECTURE, len(tokens), 9, model.lm_head.weight)
    parts = [
        logits(model, own, own_mask, cache)
        for own, own_mask in zip(tokens.split(pieces, dim=1), mask.split(pieces, dim=1), strict=True)
    ]
    assert cache.length == 7
    whole = logits(model, tokens, mask)
    torch.testing.assert_close(torch.cat(parts, dim=1)[mask], whole[mask], rtol=0, atol=TOLERANCE)


def test_a_cache_continues_with_the_rows_that_it_keeps() -> None:
    model = language_model()
    tokens, mask = left_pad(ROWS, 0)
    cache = Cache.empty(ARCHITECTURE, len(tokens), 7, model.lm_head.weight)
    logits(model, tokens[:, :5], mask[:, :5], cache)
    kept = torch.tensor([0, 3])
    cache.keep_rows(kept)
    rest = logits(model, tokens[kept, 5:], mask[kept, 5:], cache)
    torch.testing.assert_close(rest, logits(model, tokens, mask)[kept, 5:], rtol=0, atol=TOLERANCE)


def test_positions_skip_padding_and_every_query_sees_itself() -> None:
    mask = torch.tensor([[False, False, True, True], [True, True, True, True]])
    layout = padded_layout(mask, None)
    positions, allowed = layout.positions, layout.allowed
    assert positions.tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
    assert allowed.int().tolist() == [
        [[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]],
        [[[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]],
    ]


def test_rope_by_hand() -> None:
    architecture = replace(ARCHITECTURE, head_width=4, rope_theta=100.0)
    cos, sin = rope_tables(architecture)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    turned = rotate(x.view(1, 1, 1, 4), cos[3], sin[3]).flatten().tolist()
    fast, slow = 3.0, 0.3  # position 3 times theta^0 and theta^(-2/4)
    expected = [
        1 * math.cos(fast) - 3 * math.sin(fast),
        2 * math.cos(slow) - 4 * math.sin(slow),
        3 * math.cos(fast) + 1 * math.sin(fast),
        4 * math.cos(slow) + 2 * math.sin(slow),
    ]
    assert turned == pytest.approx(expected, abs=TOLERANCE)


def test_rope_sees_distance_alone() -> None:
    cos, sin = rope_tables(ARCHITECTURE)
    q, k = torch.randn(2, 1, 1, 1, 4, generator=torch.Generator().manual_seed(0))
    products = [(rotate(q, cos[at + 3], sin[at + 3]) * rotate(k, cos[at], sin[at])).sum().item() for at in (0, 5, 20)]
    assert products == pytest.approx([products[0]] * 3, abs=TOLERANCE)


def test_rms_norm_by_hand() -> None:
    norm = RMSNorm(2, eps=0.5)
    norm.weight.data = torch.tensor([1.0, 10.0])
    assert norm(torch.tensor([3.0, 4.0])).tolist() == pytest.approx([3 / 13**0.5, 40 / 13**0.5], abs=TOLERANCE)


def test_tied_parameters_count_once() -> None:
    c, f, v, d = 16, 24, 12, 4
    layer = c * (4 * d) + 2 * c * (2 * d) + (4 * d) * c + 3 * c * f + 2 * c
    assert parameter_count(LanguageModel(ARCHITECTURE)) == v * c + 2 * layer + c
    assert parameter_count(LanguageModel(untied())) == 2 * v * c + 2 * layer + c


def test_initialization_follows_from_its_generator() -> None:
    model, again, other = (LanguageModel(replace(ARCHITECTURE, width=64, qkv_bias=True)) for _ in range(3))
    for each, seed in ((model, 1), (again, 1), (other, 2)):
        initialize(each, torch.Generator().manual_seed(seed), std=0.05)
    pairs = list(zip(model.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert all(not torch.equal(a, c) for a, _, c in pairs if a.dim() == 2)
    assert model.model.embed_tokens.weight.std().item() == pytest.approx(0.05, rel=0.1)
    assert not any(p.any() for name, p in model.named_parameters() if name.endswith("bias"))
    assert all(bool((p == 1).all()) for name, p in model.named_parameters() if "norm" in name)


def test_bfloat16_products_are_close_to_float32_but_not_equal() -> None:
    model = language_model()
    tokens, mask = left_pad(ROWS, 0)
    exact = logits(model, tokens, mask)
    model.model.compute_dtype = torch.bfloat16
    rough = logits(model, tokens, mask)
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
    torch.testing.assert_close(rough[mask], exact[mask], rtol=BF16_TOLERANCE, atol=BF16_TOLERANCE)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_scalar_model_reads_its_score_at_the_last_real_token() -> None:
    model = scalar_model(bias=0.5)
    tokens = torch.tensor([[3, 4, 5, 1, 0], [6, 1, 0, 0, 0]])
    with torch.no_grad():
        scores, everywhere = model.scores(tokens, torch.tensor([4, 2])), model(tokens)
        hidden = model.model(tokens)
    assert scores.tolist() == pytest.approx([everywhere[0, 3].item(), everywhere[1, 1].item()], abs=TOLERANCE)
    by_hand = (hidden[1, 1] * model.score.weight[0]).sum() - 0.5
    assert scores[1].item() == pytest.approx(by_hand.item(), abs=TOLERANCE)


def test_a_reward_head_is_drawn_wide_and_a_value_head_is_0() -> None:
    backbone = language_model(replace(ARCHITECTURE, width=400)).model
    drawn = scalar_from(backbone, torch.Generator().manual_seed(0))
    assert drawn.score.weight.std().item() == pytest.approx(1 / math.sqrt(401), rel=0.15)
    assert not scalar_from(backbone, None).score.weight.any()
    pairs = zip(drawn.model.parameters(), backbone.parameters(), strict=True)
    assert all(torch.equal(a, b) and a.data_ptr() != b.data_ptr() for a, b in pairs)
