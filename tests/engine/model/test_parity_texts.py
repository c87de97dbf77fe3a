"""Tokenizers and chat templates beside transformers': the same ids, the same rendering, both ways."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.records import Message, Prompt
from engine.model.tokenizer import Tokenizer, load_tokenizer, save_tokenizer, train_tokenizer
from tests.support.tiny import STORIES

hf: Any = transformers
"""Untyped, because its annotations contradict its own calls."""
TEXTS = [
    "hello world",
    "",
    " leading and trailing ",
    "two  spaces\nand\ttabs\r\n",
    "naïve café — 東京 🦉",
    "1234567890 + 3.14 = ?",
    "isn't it? it's!",
]
CONVERSATIONS: list[tuple[Message, ...]] = [
    (Message("user", "hello"),),
    (Message("system", "be kind"), Message("user", "hi there")),
    (Message("user", "one"), Message("assistant", "two"), Message("user", "three\n")),
]
TEMPLATES = {
    "ChatML with a system turn of its own": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "blocks on lines of their own": (
        "{{ bos_token }}\n{% for message in messages %}\n    {% if message.role == 'user' %}\n"
        "Q: {{ message.content }}\n"
        "    {% else %}\nA: {{ message.content | trim }}{{ eos_token }}\n    {% endif %}\n{% endfor %}\n"
        "{% if add_generation_prompt %}\nA:{% endif %}\n"
    ),
    "what is not given is none": (
        "{% if tools is not none %}tools!{% endif %}{% if documents is not none %}documents!{% endif %}"
        "{% for message in messages %}[{{ message.role }}] {{ message.content }}{{ pad_token }}{% endfor %}"
    ),
    "tojson, break and a refusal that does not come": (
        "{% for message in messages %}{% if message.role == 'nobody' %}{{ raise_exception('nobody') }}{% endif %}"
        "{{ message.content | tojson }}{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}"
    ),
    "marks for the loss mask and the date": (
        "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}{% for message in messages %}"
        "{% generation %}[{{ message.content }}]{{ messages | tojson(indent=2) }}{% endgeneration %}{% endfor %}"
    ),
}


@pytest.fixture(scope="module")
def ours() -> Tokenizer:
    return train_tokenizer([*TEXTS, "hello hello world, be kind to one another"] * 3, 330)


@pytest.fixture(scope="module")
def theirs(ours: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(ours, directory)
    return hf.AutoTokenizer.from_pretrained(directory)


def as_dicts(prompt: Prompt) -> list[dict[str, str]]:
    turns = [Message("user", prompt)] if isinstance(prompt, str) else prompt
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def test_special_tokens_are_the_same(ours: Tokenizer, theirs: Any) -> None:
    assert (theirs.eos_token_id, theirs.pad_token_id, len(theirs)) == (ours.eos_id, ours.pad_id, ours.size)
    assert theirs.bos_token_id is None


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_the_same(ours: Tokenizer, theirs: Any, text: str) -> None:
    ids = ours.encode_text(text)
    assert ids == theirs(text)["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


@settings(max_examples=60)
@given(text=st.text(max_size=40))
def test_ids_of_any_text_are_the_same(ours: Tokenizer, theirs: Any, text: str) -> None:
    assert ours.encode_text(text) == theirs(text)["input_ids"]


@pytest.mark.parametrize("prompt", [*CONVERSATIONS, "hello <|end|> world"])
def test_our_chat_template_renders_as_transformers_does(ours: Tokenizer, theirs: Any, prompt: Prompt) -> None:
    rendered = theirs.apply_chat_template(as_dicts(prompt), tokenize=False, add_generation_prompt=True)
    assert ours.render(prompt) == rendered
    tokenized = theirs.apply_chat_template(as_dicts(prompt), add_generation_prompt=True, return_dict=False)
    assert ours.encode_prompt(prompt) == tokenized


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("prompt", CONVERSATIONS)
def test_other_templates_render_as_transformers_does(
    ours: Tokenizer, name: str, prompt: Prompt, tmp_path: Path
) -> None:
    theirs = hf.PreTrainedTokenizerFast(
        tokenizer_object=ours.encoder, eos_token="<|end|>", pad_token="<|pad|>", bos_token="<|user|>"
    )
    theirs.chat_template = TEMPLATES[name]
    theirs.save_pretrained(tmp_path)  # recent versions keep the template in a file of its own
    expected = theirs.apply_chat_template(as_dicts(prompt), tokenize=False, add_generation_prompt=True)
    assert load_tokenizer(tmp_path, day=date.today().isoformat()).render(prompt) == expected


def test_padding_and_truncation_saved_in_a_file_are_ignored(ours: Tokenizer, tmp_path: Path) -> None:
    theirs = hf.PreTrainedTokenizerFast(tokenizer_object=ours.encoder, eos_token="<|end|>", pad_token="<|pad|>")
    theirs(["a", "some longer text"], padding=True, truncation=True, max_length=3)  # leaves its settings behind
    theirs.save_pretrained(tmp_path)
    texts = ["a", "some longer text, longer than three tokens"]
    assert load_tokenizer(tmp_path).encode_texts(texts) == ours.encode_texts(texts)


@pytest.mark.skipif(not STORIES.is_dir(), reason=f"no real model at {STORIES}")
@pytest.mark.parametrize("text", TEXTS)
def test_a_real_tokenizer_gives_transformers_ids(text: str) -> None:
    ours, theirs = load_tokenizer(STORIES), hf.AutoTokenizer.from_pretrained(STORIES)
    assert ours.encode_text(text) == theirs(text)["input_ids"]
    assert ours.adds_bos and ours.bos_id == theirs.bos_token_id and ours.eos_id == theirs.eos_token_id
    assert ours.pad_id not in (ours.eos_id, ours.bos_id)


def test_a_tokenizer_resaved_by_transformers_gives_the_same_ids(ours: Tokenizer, tmp_path: Path) -> None:
    save_tokenizer(ours, tmp_path)
    hf.AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    assert again.encoder.to_str() != ours.encoder.to_str()  # it writes more into the file, without effect
    assert again.same_ids(ours) and ours.same_ids(again)
    assert not ours.same_ids(train_tokenizer(TEXTS, 329))
