"""Text to ids and back: round trips, special tokens as text, PAD that is never EOS, templates that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Encoder
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from engine.core.errors import CheckpointError
from engine.data.records import Message
from engine.model.tokenizer import (
    ASSISTANT,
    CHAT_TEMPLATE,
    EOS,
    PAD,
    USER,
    Tokenizer,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)
from tests.support.tiny import word_tokenizer

TEXTS = ["low lower lowest", "new newer newest", "wide wider widest"] * 4


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, 300)


def test_trained_specials_come_first_and_every_byte_has_an_id(tokenizer: Tokenizer) -> None:
    assert [tokenizer.encoder.token_to_id(name) for name in (PAD, EOS, USER, ASSISTANT)] == [0, 1, 2, 3]
    assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.bos_id, tokenizer.adds_bos) == (0, 1, None, False)
    assert 260 < tokenizer.size <= 300


def test_frequent_pairs_are_merged_by_hand() -> None:
    """In "ab ab ab ab" the pair a b is the most frequent after the space, then that with the space before it."""
    tokenizer = train_tokenizer(["ab ab ab ab"], 262)
    assert [tokenizer.encoder.id_to_token(i) for i in (260, 261)] == ["ab", "Ġab"]
    assert tokenizer.encode_text("ab ab") == [261, 261]


@settings(max_examples=150)
@given(text=st.text(max_size=60))
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    """Except for one space at its start, which is read as the one before every text, and for special tokens."""
    assume(not any(special in text for special in (PAD, EOS, USER, ASSISTANT)))
    ids = tokenizer.encode_text(text)
    assert tokenizer.decode(ids) == text.removeprefix(" ")
    assert tokenizer.decode_all([ids, []]) == [text.removeprefix(" "), ""]
    assert all(0 <= i < tokenizer.size for i in ids)


@settings(max_examples=80)
@given(text=st.text(max_size=30), special=st.sampled_from([PAD, EOS, USER, ASSISTANT]), after=st.text(max_size=10))
def test_a_special_in_a_response_stays_text(tokenizer: Tokenizer, text: str, special: str, after: str) -> None:
    (ids,) = tokenizer.encode_responses([text + special + after])
    assert ids[-1] == tokenizer.eos_id and not {0, 1, 2, 3} & set(ids[:-1])
    assert tokenizer.decode(ids) == (text + special + after).removeprefix(" ")


def test_only_a_response_that_ended_has_eos(tokenizer: Tokenizer) -> None:
    ended, cut = (tokenizer.encode_responses(["low", "new"], ended) for ended in (True, False))
    assert ended == [[*row, tokenizer.eos_id] for row in cut]


def test_prompt_and_response_are_encoded_separately(tokenizer: Tokenizer) -> None:
    """No token spans the boundary."""
    whole = tokenizer.encode_text("lowest")
    assert tokenizer.without_template().encode_prompt("low") + tokenizer.encode_responses(["est"], False)[0] != whole


def prepending() -> Tokenizer:
    """As in older Llama files: a space is put before every text, even before one that begins with a space."""
    encoder = Encoder(models.BPE())
    encoder.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    encoder.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    encoder.train_from_iterator(
        [*TEXTS, "a b"], trainers.BpeTrainer(vocab_size=60, special_tokens=[PAD, EOS], show_progress=False)
    )
    return Tokenizer(encoder, eos_id=1, pad_id=0)


@settings(max_examples=150)
@given(prompt=st.text("low wid", min_size=1, max_size=8), response=st.text("low wid", max_size=12))
def test_a_response_joins_its_verbatim_prompt_as_drawn(prompt: str, response: str) -> None:
    for one in (train_tokenizer(TEXTS, 300).without_template(), prepending()):
        (ids,) = one.encode_responses([response], ended=False)
        (text,) = one.decode_responses([ids])
        before = one.encode_prompt(prompt)
        assert one.decode(before) + text == one.decode([*before, *ids])
        assert one.encode_responses([text], ended=False) == [ids]
    templated = train_tokenizer(TEXTS, 300)
    assert templated.decode_responses([ids]) == [templated.decode(ids)]


def test_a_leading_space_is_kept_after_a_verbatim_prompt() -> None:
    for one in (train_tokenizer(TEXTS, 300).without_template(), prepending()):
        word, glued = one.encode_text("low wide"), one.encode_text("low")[-1:]
        assert one.decode_responses([word, [one.eos_id], []]) == [" low wide", "", ""]
        assert one.decode_responses([[*glued, one.eos_id]])[0].strip() == one.decode(glued).strip()


def test_a_leading_space_is_kept_in_a_small_vocabulary() -> None:
    encoder = Encoder(models.WordLevel({PAD: 0, EOS: 1, "<unk>": 2, "low": 3}, unk_token="<unk>"))
    encoder.add_special_tokens([PAD, EOS])
    assert Tokenizer(encoder, eos_id=1, pad_id=0).decode_responses([[3, 3], [3, 1], []]) == [" low low", " low", ""]


def test_a_string_is_one_user_turn_where_there_is_a_template(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_prompt("low")
    assert ids == tokenizer.encode_prompt((Message("user", "low"),))
    assert (ids[0], ids[-1]) == (tokenizer.encoder.token_to_id(USER), tokenizer.encoder.token_to_id(ASSISTANT))
    talk = (Message("user", "low"), Message("assistant", "new"), Message("user", "wide"))
    assert tokenizer.render(talk) == f"{USER}low{ASSISTANT}new{EOS}{USER}wide{ASSISTANT}"


def test_without_a_template_the_prompt_is_verbatim(tokenizer: Tokenizer) -> None:
    plain = tokenizer.without_template()
    assert plain.encode_prompt("low wide") == plain.encode_text("low wide") == tokenizer.encode_text("low wide")
    assert plain.encode_prompt((Message("user", "low"), Message("user", "new"))) == plain.encode_text("low\nnew")


def test_many_prompts_are_encoded_as_each_alone(tokenizer: Tokenizer) -> None:
    prompts = ["low", "new newer", "", "wide " * 20]
    for one in (tokenizer, tokenizer.without_template()):
        assert one.encode_prompts(prompts) == [one.encode_prompt(prompt) for prompt in prompts]
        assert one.encode_texts(prompts) == [one.encode_text(prompt) for prompt in prompts]


def saved(directory: Path, settings: dict[str, Any], bos: bool = False) -> Path:
    """A word tokenizer's files, with a tokenizer_config.json of these settings."""
    encoder = word_tokenizer().encoder
    if bos:
        encoder.add_special_tokens(["<s>"])
        bos_id = encoder.token_to_id("<s>")
        encoder.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", bos_id)])
    encoder.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def test_a_saved_tokenizer_comes_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.encoder.to_str() == tokenizer.encoder.to_str()
    for name in ("eos_id", "pad_id", "bos_id", "adds_bos", "chat_template"):
        assert getattr(again, name) == getattr(tokenizer, name)


@pytest.mark.parametrize(
    ("named", "pad", "size"),
    [
        ({"pad_token": "<pad>"}, "<pad>", 12),
        ({"pad_token": "<eos>", "unk_token": "<unk>"}, "<unk>", 12),  # PAD is EOS: UNK becomes PAD
        ({"unk_token": "<unk>"}, "<unk>", 12),
        ({"pad_token": None}, PAD, 13),  # no candidate: one is added
        ({"pad_token": "<eos>", "unk_token": "<eos>"}, PAD, 13),
        ({"pad_token": "no such token"}, PAD, 13),
        ({"pad_token": {"content": "<pad>", "lstrip": False}}, "<pad>", 12),
    ],
)
def test_pad_is_never_eos(named: dict[str, Any], pad: str, size: int, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(saved(tmp_path, {"eos_token": "<eos>", **named}))
    assert tokenizer.encoder.id_to_token(tokenizer.pad_id) == pad
    assert tokenizer.pad_id != tokenizer.eos_id == 1 and tokenizer.size == size
    again = tmp_path / "again"
    again.mkdir()
    save_tokenizer(tokenizer, again)
    assert load_tokenizer(again).pad_id == tokenizer.pad_id


def test_pad_and_eos_must_differ() -> None:
    with pytest.raises(AssertionError, match="share id 1"):
        Tokenizer(word_tokenizer().encoder, eos_id=1, pad_id=1)


@pytest.mark.parametrize("adds", [True, False])
def test_bos_begins_text_if_the_file_says_so(adds: bool, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(saved(tmp_path, {"eos_token": "<eos>", "bos_token": "<s>"}, bos=adds))
    bos = [12] if adds else []
    assert tokenizer.adds_bos is adds
    assert tokenizer.encode_text("red") == tokenizer.encode_prompt("red") == [*bos, 3]
    assert tokenizer.encode_texts(["red", ""]) == [[*bos, 3], bos]
    assert tokenizer.encode_responses(["red"]) == [[3, 1]]


@pytest.mark.parametrize(
    ("config", "template_file", "expected"),
    [
        ({"chat_template": "a"}, None, "a"),
        ({"chat_template": "a"}, "b", "b"),
        ({}, "b", "b"),
        ({"chat_template": [{"name": "rag", "template": "c"}, {"name": "default", "template": "d"}]}, None, "d"),
        ({"chat_template": [{"name": "rag", "template": "c"}]}, None, None),
        ({}, None, None),
    ],
)
def test_the_template_is_found_in_either_file(
    config: dict[str, Any], template_file: str | None, expected: str | None, tmp_path: Path
) -> None:
    saved(tmp_path, {"eos_token": "<eos>", **config})
    if template_file is not None:
        (tmp_path / "chat_template.jinja").write_text(template_file)
    assert load_tokenizer(tmp_path).chat_template == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{% for %}", "the chat template cannot be read: "),
        ("{{ messages[0].content.nothing.more }}", "the chat template cannot be rendered: "),
        ("{{ raise_exception('only one turn') }}", "the chat template cannot be rendered: only one turn"),
        ("{{ ''.__class__.__mro__ }}", "the chat template cannot be rendered: .*unsafe"),
        ("{{ messages.append(1) }}", "the chat template cannot be rendered: .*safe"),
    ],
)
def test_a_failing_template_is_an_error_in_one_sentence(template: str, expected: str) -> None:
    with pytest.raises(CheckpointError, match=expected):
        Tokenizer(word_tokenizer().encoder, 1, 0, chat_template=template).render("red")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("tokenizer.json", "{", "cannot be read as a tokenizer"),
        ("tokenizer_config.json", "{", "is not valid JSON"),
        ("tokenizer_config.json", "[]", "must be a JSON object"),
        ("tokenizer_config.json", "{}", "eos_token is missing or not a token of tokenizer.json"),
        ("tokenizer_config.json", '{"eos_token": "<none>"}', "eos_token is missing or not a token of tokenizer.json"),
    ],
)
def test_malformed_files_are_refused(name: str, text: str, expected: str, tmp_path: Path) -> None:
    saved(tmp_path, {"eos_token": "<eos>"})
    (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=expected) as refused:
        load_tokenizer(tmp_path)
    assert name in str(refused.value)


def test_the_saved_day_wins_over_another(tmp_path: Path) -> None:
    template = "{{ strftime_now('%Y') if strftime_now is defined else 'no day' }}"
    tokenizer = Tokenizer(word_tokenizer().encoder, 1, 0, chat_template=template)
    assert tokenizer.render("red") == "no day"
    save_tokenizer(tokenizer, tmp_path)
    first = load_tokenizer(tmp_path, day="2024-02-29")
    assert first.render("red") == "2024"
    save_tokenizer(first, tmp_path)
    assert load_tokenizer(tmp_path, day="2026-01-02").render("red") == "2024"


def test_words_without_a_leading_space_are_the_same_inside_text() -> None:
    tokenizer = train_tokenizer(TEXTS, 300)
    assert tokenizer.encode_text("low low") == tokenizer.encode_text("low") * 2


def test_the_project_template_is_saved_with_the_tokenizer(tmp_path: Path) -> None:
    encoder = Encoder(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    encoder.pre_tokenizer = pre_tokenizers.Whitespace()
    save_tokenizer(Tokenizer(encoder, eos_id=1, pad_id=0, chat_template=CHAT_TEMPLATE), tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["chat_template"] == CHAT_TEMPLATE


def test_a_word_seen_once_is_not_one_token() -> None:
    tokenizer = train_tokenizer(["often often once"], 1000)
    assert len(tokenizer.encode_text("often")) == 1
    assert len(tokenizer.encode_text("once")) > 1
