"""A rollout beside slow code that reads one row, one token at a time; nothing of it is one position off."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from engine.algorithms.kl import sequence_kl
from engine.model.heads import ScalarModel
from engine.model.sampling import Sampling
from engine.model.transformer import LanguageModel
from engine.train.rollout import (
    NO_GRADIENT_ROWS,
    Actors,
    Episodes,
    Rollout,
    draw_episodes,
    ended,
    logprobs_and_entropy,
    measure,
    response_logprobs,
    response_texts,
    response_values,
    without_gradient,
)
from tests.support.tiny import PROMPTS, WordScorer, language_model, scalar_model, word_tokenizer

LAYOUT_TOLERANCE = 1e-5
"""How far one row's numbers may differ between two batch layouts (DESIGN.md section 6)."""
RESPONSE_TOKENS = 10


def draw(model: LanguageModel, seed: int = 0, temperature: float = 1.0) -> Episodes:
    sampling = Sampling(temperature, max_new_tokens=RESPONSE_TOKENS)
    return draw_episodes(model, word_tokenizer(), PROMPTS, sampling, seed, "test")


def collect(temperature: float = 1.0, reference: LanguageModel | None = None) -> Rollout:
    policy = language_model()
    episodes = draw(policy, temperature=temperature)
    actors = Actors(policy, reference or language_model(), scalar_model(), WordScorer(), word_tokenizer())
    return measure(actors, PROMPTS, episodes, temperature)


def real_rows(episodes: Episodes) -> list[tuple[list[int], list[int]]]:
    """Prompt and response ids of each episode without padding."""
    return [
        (prompt[kept].tolist(), response[real].tolist())
        for prompt, kept, response, real in zip(
            episodes.prompts, episodes.prompt_mask, episodes.responses, episodes.response_mask, strict=True
        )
    ]


@torch.no_grad()
def slow_logits(model: LanguageModel, before: list[int], temperature: float) -> Tensor:
    """(V,) log-probabilities of the token that follows `before`."""
    return (model.logits(model(torch.tensor([before])))[0, -1] / temperature).log_softmax(-1)


@torch.no_grad()
def slow_value(model: ScalarModel, before: list[int]) -> float:
    return float(model(torch.tensor([before]))[0, -1])


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_every_number_against_slow_code(temperature: float) -> None:
    reference = language_model(seed=8)
    rollout = collect(temperature, reference)
    assert not rollout.mask.all(), "responses of one length would prove little"
    for b, (prompt, response) in enumerate(real_rows(rollout.episodes)):
        for t, token in enumerate(response):
            before = prompt + response[:t]
            own = slow_logits(language_model(), before, temperature)
            assert rollout.logprobs[b, t].item() == pytest.approx(own[token].item(), abs=LAYOUT_TOLERANCE)
            assert rollout.entropy[b, t].item() == pytest.approx(-(own.exp() * own).sum().item(), abs=LAYOUT_TOLERANCE)
            theirs = slow_logits(reference, before, temperature)[token].item()
            assert rollout.ref_logprobs[b, t].item() == pytest.approx(theirs, abs=LAYOUT_TOLERANCE)
            value = slow_value(scalar_model(), before)
            assert rollout.values[b, t].item() == pytest.approx(value, abs=LAYOUT_TOLERANCE)


def test_padding_holds_0() -> None:
    rollout = collect()
    for numbers in (rollout.logprobs, rollout.entropy, rollout.ref_logprobs, rollout.values):
        assert not numbers[~rollout.mask].any()


def test_kl_is_exactly_0_to_a_reference_with_the_same_weights() -> None:
    rollout = collect()
    assert torch.equal(rollout.logprobs, rollout.ref_logprobs)
    assert sequence_kl(rollout.logprobs, rollout.ref_logprobs, rollout.mask).tolist() == [0.0] * len(PROMPTS)


def test_one_layout_gives_equal_bits_with_and_without_gradient() -> None:
    policy = language_model()
    episodes = draw(policy)
    order = (episodes.response_mask.sum(1) + episodes.prompt_mask.sum(1)).argsort(stable=True)
    before = without_gradient(lambda block: response_logprobs(policy, block, 1.0), episodes)
    now = response_logprobs(policy, episodes.rows(order), 1.0)
    assert now.requires_grad
    assert torch.equal(now.detach(), before[order])
    assert torch.equal(logprobs_and_entropy(policy, episodes.rows(order), 1.0)[..., 0], now)


def test_another_batch_layout_stays_within_the_tolerance() -> None:
    policy = language_model()
    episodes = draw(policy)
    whole = without_gradient(lambda block: response_logprobs(policy, block, 1.0), episodes)
    for i in range(len(episodes)):
        own = episodes.rows(torch.tensor([i]))
        alone = response_logprobs(policy, own, 1.0)[0].detach()
        torch.testing.assert_close(whole[i, : alone.size(0)], alone, rtol=0, atol=LAYOUT_TOLERANCE)


def test_logits_exist_only_for_response_tokens_and_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    episodes, sizes = draw(language_model()), list[int]()
    logits = LanguageModel.logits

    def counted(self: LanguageModel, hidden: Tensor) -> Tensor:
        sizes.append(hidden[..., 0].numel())
        return logits(self, hidden)

    monkeypatch.setattr(LanguageModel, "logits", counted)
    models = (language_model(), language_model(seed=8), scalar_model())
    rollout = measure(Actors(*models, WordScorer(), word_tokenizer()), PROMPTS, episodes, 1.0)
    assert sizes == [int(episodes.response_mask.sum())] * 2  # policy and reference
    tensors = [getattr(rollout, field.name) for field in fields(rollout)]
    assert max(tensor.dim() for tensor in tensors if isinstance(tensor, Tensor)) == 2


def test_more_rows_than_one_block_come_back_in_order() -> None:
    policy, count = language_model(), NO_GRADIENT_ROWS + 7
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(count)]
    episodes = draw_episodes(policy, word_tokenizer(), prompts, Sampling(max_new_tokens=6), 0, "test")
    numbers = without_gradient(lambda block: response_logprobs(policy, block, 1.0), episodes)
    for i in (0, 1, NO_GRADIENT_ROWS, count - 1):
        alone = response_logprobs(policy, episodes.rows(torch.tensor([i])), 1.0)[0].detach()
        torch.testing.assert_close(numbers[i, : alone.size(0)], alone, rtol=0, atol=LAYOUT_TOLERANCE)


def test_logits_of_a_large_vocabulary_come_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    models = (language_model(), language_model(seed=8), scalar_model())
    episodes, logits, sizes = draw(models[0]), LanguageModel.logits, list[int]()

    def counted(self: LanguageModel, hidden: Tensor) -> Tensor:
        sizes.append(len(hidden))
        return logits(self, hidden)

    whole = measure(Actors(*models, WordScorer(), word_tokenizer()), PROMPTS, episodes, 1.0)
    monkeypatch.setattr(LanguageModel, "logits", counted)
    monkeypatch.setattr("engine.train.rollout.LOGITS_AT_ONCE", 4 * models[0].architecture.vocab_size + 1)
    parts = measure(Actors(*models, WordScorer(), word_tokenizer()), PROMPTS, episodes, 1.0)
    assert max(sizes) == 4 and sum(sizes) == 2 * int(episodes.response_mask.sum())
    for name in ("logprobs", "entropy", "ref_logprobs"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=0, atol=LAYOUT_TOLERANCE)


def test_rows_are_cut_to_the_columns_that_they_use() -> None:
    episodes = draw(language_model())
    for i, (prompt, response) in enumerate(real_rows(episodes)):
        own = episodes.rows(torch.tensor([i]))
        assert own.prompts.tolist() == [prompt] and own.responses.tolist() == [response]
        assert own.prompt_mask.all() and own.response_mask.all()
        tokens, mask = own.joined()
        assert tokens.tolist() == [prompt + response] and mask.all()


def test_draws_follow_from_seed_stream_and_step() -> None:
    model, tokenizer, sampling = language_model(), word_tokenizer(), Sampling(max_new_tokens=RESPONSE_TOKENS)

    def tokens(seed: int, stream: str, step: int) -> list[list[int]]:
        episodes = draw_episodes(model, tokenizer, PROMPTS, sampling, seed, stream, step)
        return [response for _, response in real_rows(episodes)]

    first = tokens(1, "ppo", 1)
    assert tokens(1, "ppo", 1) == first
    assert all(tokens(*other) != first for other in ((2, "ppo", 1), (1, "sft", 1), (1, "ppo", 2)))


def test_texts_are_what_stands_before_eos_and_ended_knows_eos() -> None:
    response = torch.tensor([[3, 4, 1, 0], [3, 3, 3, 5], [1, 0, 0, 0]])
    mask = torch.tensor([[True, True, True, False], [True] * 4, [True, False, False, False]])
    prompts = torch.full((3, 1), 6)
    episodes = Episodes(prompts, torch.ones_like(prompts, dtype=torch.bool), response, mask)
    assert response_texts(episodes, word_tokenizer()) == ["red blue", "red red red green", ""]
    assert ended(episodes, eos=1).tolist() == [True, False, True]


def test_the_scorer_is_given_prompts_and_texts_in_order() -> None:
    policy, scorer = language_model(), WordScorer("red")
    episodes = draw(policy)
    rollout = measure(Actors(policy, policy, scalar_model(), scorer, word_tokenizer()), PROMPTS, episodes, 1.0)
    assert scorer.asked == [(list(PROMPTS), rollout.texts)]
    assert rollout.scores.tolist() == [text.split().count("red") for text in rollout.texts]
    assert len(set(rollout.scores.tolist())) > 1


def test_values_let_gradient_flow_and_measuring_lets_none() -> None:
    value = scalar_model()
    episodes = draw(language_model())
    assert response_values(value, episodes).requires_grad
    rollout = collect()
    held = (rollout.logprobs, rollout.ref_logprobs, rollout.values, rollout.scores)
    assert not any(x.requires_grad or x.is_inference() for x in held)
