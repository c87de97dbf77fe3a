"""Models opened from their directories, and the responses that they generate."""

from pathlib import Path

import pytest
import torch

from engine.core.errors import ConfigError
from engine.model.checkpoint import save_model
from engine.model.sampling import Sampling
from engine.run.inference import BATCH, ModelLoader, Policy
from tests.support.tiny import language_model, scalar_model, word_tokenizer

SAMPLING = Sampling(max_new_tokens=6)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    save_model(tmp_path, language_model(), word_tokenizer(), {})
    return ModelLoader("cpu").policy("words", tmp_path)


def test_responses_depend_on_seed_step_and_position(policy: Policy) -> None:
    prompts = ["red", "blue", "red"]
    first = policy.respond(prompts, SAMPLING, seed=3)
    assert first == policy.respond(prompts, SAMPLING, seed=3)
    assert first != policy.respond(prompts, SAMPLING, seed=4) != policy.respond(prompts, SAMPLING, seed=4, step=1)
    assert first[0] != first[2]
    assert all(0 < response.tokens <= 6 and response.finished == (response.tokens < 6) for response in first[:2])


def test_any_number_of_prompts_is_generated_in_batches(policy: Policy) -> None:
    prompts = ["red"] * (BATCH + 2)
    responses = [response for _, response in policy.respond_to_all(iter(prompts), SAMPLING, seed=0)]
    assert len(responses) == len(prompts)
    assert responses[BATCH:] == policy.respond(prompts[BATCH:], SAMPLING, seed=0, step=1)


def test_prompts_without_room_for_a_response_are_refused(policy: Policy) -> None:
    context = policy.model.architecture.context
    assert policy.why_unanswerable("red") == ""
    assert policy.why_unanswerable(" red" * context) == f"has {context} tokens, words reads 1 to {context - 1}"
    with pytest.raises(ConfigError, match="a prompt has 0 tokens, words reads 1 to"):
        policy.respond(["red", ""], SAMPLING, seed=0)


def test_a_model_opens_in_the_requested_way(tmp_path: Path) -> None:
    save_model(tmp_path, scalar_model(), word_tokenizer(), {})
    loader = ModelLoader("cpu", dtype="bfloat16")
    assert loader.reward_model(tmp_path).model.model.compute_dtype == torch.bfloat16
    assert 0 <= loader.scorer("pocket:judge", None).score(["Hello"], ["Hi."])[0] <= 1
    for wrong, sentence in (({"dtype": "int8"}, "dtype is 'int8'"), ({"template": "x"}, "it must be auto or none")):
        with pytest.raises(ConfigError, match=sentence):
            ModelLoader("cpu", **wrong)
