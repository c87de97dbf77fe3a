"""Directories of unknown origin: damaged or hostile ones are refused in one sentence, without allocating memory."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from engine.core.errors import CheckpointError
from engine.core.untrusted_files import read_json
from engine.model.checkpoint import save_model
from engine.model.pretrained import MAX_ADDED_ROWS, open_policy, open_scalar
from engine.model.tokenizer import load_tokenizer, save_tokenizer
from engine.model.weights import read_header, read_tensors
from engine.rundir.runtoml import hash_path
from tests.support.tiny import THEIR_SIZES, language_model, scalar_model, untied, word_tokenizer

hf: Any = transformers
"""Untyped, because its annotations contradict its own calls."""
TOLERANCE = 1e-4
SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("good") / "policy"
    save_model(directory, language_model(untied()), word_tokenizer(), {})
    return directory


@pytest.fixture
def policy(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "policy"))


def sentence(directory: Path, opens: Callable[[Path], Any] = open_policy) -> str:
    with pytest.raises(CheckpointError) as refused:
        opens(directory)
    text = str(refused.value)
    assert str(directory) in text and "\n" not in text and text.endswith(".") and refused.value.exit_code == 3
    return text


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**read_json(path), **changes}))


# weights


def tensor(shape: list[int], start: int, end: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


def packed(header: Any, data: bytes = b"", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


TWICE = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[%s]},"a":{"dtype":"F32","shape":[1],"data_offsets":[%s]}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        packed({}, size=10**9),
        packed({}, size=10**10),
        packed({}, size=2**64 - 1),
        packed({"a": tensor([2], 0, 8)}, b"1234"),
        packed({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, b"1234"),
        packed({"a": tensor([1], 0, 4), "b": tensor([1], 8, 12)}, b"123456789012"),
        packed({"a": tensor([3], 0, 4)}, b"1234"),
        packed({"a": tensor([2**40, 2**40], 0, 4)}, b"1234"),
        packed({"a": tensor([-1], 0, 4)}, b"1234"),
        packed({"a": tensor([1], 0, 4, "F99")}, b"1234"),
        packed({"a": tensor([1], 0, 4)}, b"12345678"),
        packed(b"hello"),
        packed([]),
        packed(b"[" * 100_000),
        packed(TWICE % (b"0,4", b"4,8"), b"12345678"),
        packed(TWICE % (b"4,8", b"0,4"), b"12345678"),
    ],
)
def test_a_hostile_header_is_refused(content: bytes, policy: Path) -> None:
    (policy / "model.safetensors").write_bytes(content)
    assert "model.safetensors cannot be read as safetensors" in sentence(policy)
    sentence(policy / "model.safetensors", read_header)


def test_a_tensor_named_twice_is_what_transformers_reads(tmp_path: Path) -> None:
    """safetensors accepts it if both entries mean the same bytes; otherwise it is refused (see above)."""
    path = tmp_path / "twice.safetensors"
    path.write_bytes(packed(TWICE % (b"0,4", b"0,4"), struct.pack("<f", 0.5)))
    assert read_header(path) == {"a": ((1,), "F32")}
    assert {name: t.tolist() for name, t in read_tensors(path).items()} == {"a": [0.5]}
    assert {name: t.tolist() for name, t in load_file(path).items()} == {"a": [0.5]}


def test_directories_and_pipes_are_refused(policy: Path) -> None:
    for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
        other = Path(shutil.copytree(policy, policy.parent / name.split(".")[0]))
        (other / name).unlink()
        (other / name).mkdir()
        assert f"{name} cannot be read" in sentence(other)
        (other / name).rmdir()
        os.mkfifo(other / name)
        assert "it is not a file" in sentence(other)


@pytest.mark.parametrize("kind", [torch.int64, torch.float8_e4m3fn, torch.bool])
def test_integer_and_packed_tensors_are_refused(kind: torch.dtype, policy: Path) -> None:
    tensors = load_file(policy / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(kind)
    save_file(tensors, policy / "model.safetensors")
    assert "the tensor model.norm.weight is " in sentence(policy) and "BF16" in sentence(policy)


def test_nan_weights_are_refused(policy: Path) -> None:
    tensors = load_file(policy / "model.safetensors")
    tensors["lm_head.weight"][3, 2] = torch.nan
    save_file(tensors, policy / "model.safetensors")
    assert "lm_head.weight contains NaN or infinity" in sentence(policy)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "last.ckpt"])
def test_a_pickle_is_never_opened(name: str, policy: Path) -> None:
    marker = policy / "opened"
    (policy / "model.safetensors").unlink()
    (policy / name).write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())  # what pickle would run
    assert f"{name} is a pickle" in sentence(policy) and "save_pretrained" in sentence(policy)
    assert not marker.exists()


# weights in several files


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    hf.LlamaForCausalLM(hf.LlamaConfig(**THEIR_SIZES)).save_pretrained(tmp_path / "sharded", max_shard_size="4KB")
    save_tokenizer(word_tokenizer(), tmp_path / "sharded")
    return tmp_path / "sharded"


def test_several_files_give_transformers_logits(sharded: Path) -> None:
    assert len(list(sharded.glob("*.safetensors"))) > 2
    model, _ = open_policy(sharded)
    tokens = torch.tensor([[3, 5, 7, 4, 11]])
    with torch.no_grad():
        theirs = hf.AutoModelForCausalLM.from_pretrained(sharded).eval()(tokens).logits
        torch.testing.assert_close(model.logits(model(tokens)), theirs, rtol=0, atol=TOLERANCE)


def test_the_hash_of_a_directory_follows_every_file_of_weights(sharded: Path) -> None:
    before = hash_path(sharded)
    last = sorted(sharded.glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-1] + b"\x7f")
    assert hash_path(sharded) != before


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "w.bin", 5, None, []])
def test_an_index_names_files_beside_it_and_no_others(name: Any, sharded: Path) -> None:
    edit(sharded / "model.safetensors.index.json", weight_map={"model.norm.weight": name})
    assert "is not the name of a safetensors file beside it" in sentence(sharded)


def test_an_index_that_contradicts_its_files_is_refused(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    placed = read_json(index)["weight_map"]
    edit(index, weight_map={**placed, "extra": placed["model.norm.weight"]})
    assert "disagree about the tensor extra" in sentence(sharded)
    edit(index, weight_map=[])
    assert "weight_map must be an object" in sentence(sharded)
    edit(index, weight_map={**placed, "model.norm.weight": "none.safetensors"})
    assert "none.safetensors cannot be read" in sentence(sharded)


# config.json


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"vocab_size": 13}, "vocab_size = 13, but in model.safetensors model.embed_tokens.weight is (12, 16)"),
        ({"vocab_size": 2**40}, "vocab_size = 1099511627776 is not a whole number from 1 to"),
        ({"vocab_size": 2**24}, "vocab_size = 16777216, but in"),
        ({"hidden_size": 10**9}, "hidden_size = 1000000000 is not"),
        ({"hidden_size": 2**23, "head_dim": 4}, "hidden_size = 8388608, but in"),
        ({"intermediate_size": 2**24}, "intermediate_size = 16777216, but in"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers = 1000000, but model.safetensors has 2"),
        ({"num_attention_heads": 2**20}, "num_attention_heads * head_dim = 4194304, but in"),
        ({"num_key_value_heads": 4}, "num_key_value_heads * head_dim = 16, but in"),
        ({"num_key_value_heads": 3}, "num_key_value_heads = 3 does not divide num_attention_heads = 4"),
        ({"num_attention_heads": 0}, "num_attention_heads = 0 is not"),
        ({"num_hidden_layers": -1}, "num_hidden_layers = -1 is not"),
        ({"max_position_embeddings": 2**40}, "max_position_embeddings = 1099511627776 is not"),
        ({"head_dim": 3}, "head_dim = 3 is odd"),
        ({"head_dim": 10**6}, "head_dim = 1000000 is not"),
        ({"rope_theta": 0}, "rope_theta = 0 is not a number from"),
        ({"rope_theta": float("nan")}, "rope_theta = nan is not"),
        ({"rope_theta": "1e4"}, "rope_theta = '1e4' is not"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps = inf is not"),
        ({"hidden_size": True}, "hidden_size = True is not"),
        ({"hidden_size": 16.0}, "hidden_size = 16.0 is not"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings = 'no' is neither true nor false"),
        ({"rope_parameters": 7}, "rope_parameters = 7 is not an object"),
        ({"quantization_config": {"bits": 4}}, "quantization_config = {'bits': 4} is not supported"),
        ({"model_type": ["llama"]}, "model_type is ['llama']"),
    ],
)
def test_a_config_that_disagrees_is_refused_by_its_field(changes: dict[str, Any], expected: str, policy: Path) -> None:
    edit(policy / "config.json", **changes)
    assert f"{policy / 'config.json'}: {expected}" in sentence(policy)


def test_a_long_context_opens(policy: Path) -> None:
    edit(policy / "config.json", max_position_embeddings=131_072)
    assert open_policy(policy)[0].architecture.context == 131_072


@pytest.mark.parametrize("bias", ["1", True, None, [], float("nan"), 1e300])
def test_a_malformed_bias_is_refused(bias: Any, tmp_path: Path) -> None:
    save_model(tmp_path / "rm", scalar_model(), word_tokenizer(), {})
    edit(tmp_path / "rm" / "slmctl.json", reward_bias=bias)
    if bias is None:
        assert float(open_scalar(tmp_path / "rm")[0].bias) == 0.0
    else:
        assert "slmctl.json: reward_bias = " in sentence(tmp_path / "rm", open_scalar)


# tokenizers


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("tokenizer.json", b"", "cannot be read as a tokenizer"),
        ("tokenizer.json", b"\xff", "is not UTF-8"),
        ("tokenizer.json", b"[" * 100_000, "cannot be read as a tokenizer"),
        ("tokenizer_config.json", b"[" * 100_000, "nests too deeply"),
        ("tokenizer_config.json", b'{"eos_token": 1}', "eos_token is missing or not a token of tokenizer.json"),
        (
            "tokenizer_config.json",
            b'{"eos_token": {"content": []}}',
            "eos_token is missing or not a token of tokenizer.json",
        ),
        ("tokenizer_config.json", b'{"eos_token": "<eos>", "chat_template": 5}', "chat_template must be a string"),
        ("tokenizer_config.json", b'{"eos_token": "<eos>", "chat_template": [1]}', "chat_template must be a string"),
        ("chat_template.jinja", b"\xff\xfe", "is not UTF-8"),
        ("chat_template.jinja", b"{% for %}", "cannot be read"),
    ],
)
def test_a_damaged_tokenizer_is_refused(name: str, content: bytes, expected: str, policy: Path) -> None:
    (policy / name).write_bytes(content)
    assert expected in sentence(policy)


def with_vocabulary(directory: Path, extra: dict[str, int]) -> None:
    content = read_json(directory / "tokenizer.json")
    content["model"]["vocab"] |= extra
    (directory / "tokenizer.json").write_text(json.dumps(content))


def test_the_tokenizer_of_another_model_is_refused(policy: Path) -> None:
    with_vocabulary(policy, {f"w{i}": 12 + i for i in range(50_000)})
    assert "has ids up to 50011, but the model has 12 rows" in sentence(policy)


@pytest.mark.parametrize(("huge", "says"), [(4_000_000_000, "opens ids below"), (4_000_000, "the model has 12 rows")])
def test_one_huge_id_is_refused(huge: int, says: str, policy: Path) -> None:
    with_vocabulary(policy, {"huge": huge})
    assert f"has ids up to {huge}" in sentence(policy) and says in sentence(policy)


@pytest.mark.parametrize("more", [0, 1])
def test_a_few_added_tokens_grow_the_model_and_many_do_not(more: int, policy: Path) -> None:
    tokenizer = load_tokenizer(policy)
    tokenizer.encoder.add_special_tokens([f"<new{i}>" for i in range(MAX_ADDED_ROWS + more)])
    save_tokenizer(tokenizer, policy)
    if more:
        assert f"has ids up to {12 + MAX_ADDED_ROWS}, but the model has 12 rows" in sentence(policy)
    else:
        assert open_policy(policy)[0].architecture.vocab_size == 12 + MAX_ADDED_ROWS


def test_a_text_that_cannot_be_encoded_is_one_sentence(policy: Path) -> None:
    content = read_json(policy / "tokenizer.json")
    content["model"]["unk_token"] = "nowhere"
    (policy / "tokenizer.json").write_text(json.dumps(content))
    assert "cannot" in sentence(policy, lambda directory: load_tokenizer(directory).encode_text("never seen"))


# any content

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2, 3, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), "", "x", "<eos>"]),
    st.integers(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def opens_or_says(directory: Path) -> None:
    try:
        _, tokenizer = open_policy(directory)
        tokenizer.encode_prompt("red blue")
    except CheckpointError as error:
        assert "\n" not in str(error)


@settings(SLOW, max_examples=80)
@given(st.data())
def test_any_field_value_opens_or_is_one_sentence(good: Path, tmp_path: Path, data: st.DataObject) -> None:
    policy = Path(shutil.copytree(good, tmp_path / "policy", dirs_exist_ok=True))
    name = data.draw(st.sampled_from(["config.json", "tokenizer_config.json", "tokenizer.json"]))
    content = read_json(good / name)
    places = [(content, key) for key in content] + [(content, "chat_template"), (content, "rope_scaling")]
    places += [(inner, key) for inner in content.values() if isinstance(inner, dict) for key in inner]
    for holder, key in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        holder[key] = data.draw(ODD)
    (policy / name).write_text(json.dumps(content))
    opens_or_says(policy)


@settings(SLOW, max_examples=80)
@given(st.data())
def test_any_damaged_bytes_open_or_are_one_sentence(good: Path, tmp_path: Path, data: st.DataObject) -> None:
    policy = Path(shutil.copytree(good, tmp_path / "policy", dirs_exist_ok=True))
    name = data.draw(st.sampled_from(["model.safetensors", "model.safetensors", "config.json", "tokenizer.json"]))
    content = bytearray((good / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, min(2000, len(content) - 1)))] = data.draw(st.integers(0, 255))
    (policy / name).write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2, 9]))])
    opens_or_says(policy)
