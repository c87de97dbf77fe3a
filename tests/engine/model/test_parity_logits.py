"""Logits beside transformers': stories260k and random configurations, opened from their files and saved to ours."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from engine.algorithms.logprobs import token_logprobs
from engine.model.checkpoint import save_model
from engine.model.pretrained import open_policy, read_architecture
from engine.model.sampling import Sampling, generate, left_pad
from engine.model.tokenizer import save_tokenizer
from engine.model.transformer import Architecture, LanguageModel
from engine.run.inference import ModelLoader
from tests.support.tiny import ARCHITECTURE, STORIES, THEIR_SIZES, language_model, untied, word_tokenizer

hf: Any = transformers
"""Untyped, because its annotations contradict its own calls."""
LOGIT_TOLERANCE = 1e-4
FOUR_DECIMALS = 5e-4
"""The known log-probabilities are given to four digits."""

stories = pytest.mark.skipif(not STORIES.is_dir(), reason=f"no real model at {STORIES}")

ARCHITECTURES: dict[str, Architecture] = {
    "plain": replace(ARCHITECTURE, kv_heads=4),
    "grouped queries": ARCHITECTURE,
    "one key-value head": replace(ARCHITECTURE, kv_heads=1),
    "untied": untied(),
    "Llama biases": replace(untied(), qkv_bias=True, output_bias=True),
    "Qwen2 biases": replace(ARCHITECTURE, qkv_bias=True),
    "odd rope_theta": replace(ARCHITECTURE, rope_theta=123.5),
    "head width of its own": replace(ARCHITECTURE, head_width=6),
    "Qwen2, head width of its own": replace(ARCHITECTURE, qkv_bias=True, head_width=6),
    "large epsilon": replace(ARCHITECTURE, norm_eps=0.3),
}
ROPE: dict[str, Any] = {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}}
CONFIGS: dict[str, Any] = {
    "llama": lambda: hf.LlamaConfig(**THEIR_SIZES),
    "llama tied": lambda: hf.LlamaConfig(**THEIR_SIZES, tie_word_embeddings=True),
    "llama biased": lambda: hf.LlamaConfig(**THEIR_SIZES, attention_bias=True),
    "llama head_dim": lambda: hf.LlamaConfig(**THEIR_SIZES, head_dim=10),
    "llama rope_theta": lambda: hf.LlamaConfig(**THEIR_SIZES, **ROPE),
    "mistral": lambda: hf.MistralConfig(**THEIR_SIZES, sliding_window=None),
    "qwen2": lambda: hf.Qwen2Config(**THEIR_SIZES, **ROPE),
    "qwen2 tied": lambda: hf.Qwen2Config(**THEIR_SIZES, tie_word_embeddings=True),
}


def our_logits(model: LanguageModel, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return model.logits(model(tokens, mask))


def their_logits(model: Any, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Logits of transformers' model, which needs positions as an argument if rows are padded on the left."""
    positions = None if mask is None else (mask.long().cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits: Tensor = model(tokens, attention_mask=mask, position_ids=positions).logits
    return logits


def same_logits(model: LanguageModel, theirs: Any) -> None:
    """Asserts equal logits on full rows, and on the real tokens of left-padded ones."""
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randint(3, ARCHITECTURE.vocab_size, (n,), generator=generator).tolist() for n in (11, 4, 1, 7)]
    full = torch.tensor([rows[0]])
    expected = their_logits(theirs, full)
    assert expected.std() > 0.1, "a model without opinions would agree with anything"
    torch.testing.assert_close(our_logits(model, full), expected, rtol=0, atol=LOGIT_TOLERANCE)
    tokens, mask = left_pad(rows, 0)
    padded = our_logits(model, tokens, mask)
    torch.testing.assert_close(
        padded[mask], their_logits(theirs, tokens, mask.long())[mask], rtol=0, atol=LOGIT_TOLERANCE
    )
    for row, own in zip(rows, padded, strict=True):  # padding changes nothing in either model
        alone = their_logits(theirs, torch.tensor([row]))[0]
        torch.testing.assert_close(own[-len(row) :], alone, rtol=0, atol=LOGIT_TOLERANCE)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_transformers_opens_what_we_save(name: str, tmp_path: Path) -> None:
    model = language_model(ARCHITECTURES[name])
    save_model(tmp_path / "policy", model, word_tokenizer(), {"stage": "sft"})
    theirs = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "policy").eval()
    same_logits(model, theirs)
    assert theirs.config.tie_word_embeddings is ARCHITECTURES[name].tied
    assert theirs.generation_config.eos_token_id == 1
    assert theirs.generation_config.pad_token_id == 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_we_open_what_we_save(name: str, tmp_path: Path) -> None:
    model, tokens = language_model(ARCHITECTURES[name]), torch.tensor([[3, 5, 7, 4, 11]])
    save_model(tmp_path / "policy", model, word_tokenizer(), {})
    assert read_architecture(tmp_path / "policy") == ARCHITECTURES[name]
    assert torch.equal(our_logits(open_policy(tmp_path / "policy")[0], tokens), our_logits(model, tokens))


@pytest.mark.parametrize("name", CONFIGS)
def test_we_open_what_transformers_saves(name: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    theirs = hf.AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)  # biases of 0 would hide a mistake
    theirs.save_pretrained(tmp_path)
    save_tokenizer(word_tokenizer(), tmp_path)
    same_logits(open_policy(tmp_path)[0], theirs)


def test_half_precision_files_are_read_as_float32(tmp_path: Path) -> None:
    torch.manual_seed(6)
    hf.LlamaForCausalLM(hf.LlamaConfig(**THEIR_SIZES)).to(torch.bfloat16).save_pretrained(tmp_path)
    save_tokenizer(word_tokenizer(), tmp_path)
    ours, _ = open_policy(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    same_logits(ours, hf.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval())


@stories
def test_a_real_model_gives_transformers_logits() -> None:
    ours, tokenizer = open_policy(STORIES)
    theirs = hf.AutoModelForCausalLM.from_pretrained(STORIES).eval()
    texts = ["Once upon a time", "The big dog ran to the red house and", "Lily"]
    tokens, mask = left_pad(tokenizer.encode_texts(texts), tokenizer.pad_id)
    actual, expected = our_logits(ours, tokens, mask)[mask], their_logits(theirs, tokens, mask.long())[mask]
    torch.testing.assert_close(actual, expected, rtol=0, atol=LOGIT_TOLERANCE)


@stories
def test_a_real_model_predicts_its_known_tokens_after_bos() -> None:
    model, tokenizer = open_policy(STORIES)
    assert tokenizer.encode_text("") == [1]
    logits = our_logits(model, torch.tensor([[1]]))[0, 0]
    ids = logits.topk(3).indices
    assert ids.tolist() == [403, 385, 410]
    logprobs = token_logprobs(logits.expand(3, -1), ids)
    assert logprobs.tolist() == pytest.approx([-0.2437, -1.861, -4.159], abs=FOUR_DECIMALS)


@stories
def test_a_real_model_continues_a_story_as_it_is_known_to() -> None:
    model, tokenizer = open_policy(STORIES)
    ids = tokenizer.encode_prompt("Once upon a time")
    assert ids == [1, 403, 407, 261, 378]
    tokens, mask = left_pad([ids], tokenizer.pad_id)
    greedy = Sampling(temperature=0, max_new_tokens=50)
    responses, response_mask = generate(model, tokens, mask, tokenizer.eos_id, greedy, torch.zeros(1, 50))
    drawn = responses[0][response_mask[0]].tolist()
    text = tokenizer.decode(ids + drawn)
    known = ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red"
    assert text.startswith(f"Once upon a time{known} ball.")
    assert "Once upon a time" + tokenizer.decode_responses([drawn])[0] == text


@stories
@pytest.mark.parametrize("prompt", ["Lily saw", "Once upon a ti", "The big dog ran to the red house and"])
def test_an_answer_joins_to_the_text_that_transformers_writes(prompt: str) -> None:
    policy = ModelLoader("cpu").policy("stories", STORIES)
    [answer] = policy.respond([prompt], Sampling(temperature=0, max_new_tokens=12), seed=0)
    model, reader = hf.AutoModelForCausalLM.from_pretrained(STORIES), hf.AutoTokenizer.from_pretrained(STORIES)
    ids = model.generate(**reader(prompt, return_tensors="pt"), do_sample=False, max_new_tokens=12)[0]
    assert prompt + answer.text == reader.decode(ids, skip_special_tokens=True)
