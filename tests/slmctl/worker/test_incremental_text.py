"""Text that is returned while it grows never changes, and never ends within a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model.tokenizer import load_tokenizer
from slmctl.worker.generation import IncrementalText, token_texts
from tests.slmctl.worker.conftest import byte_tokenizer
from tests.support.tiny import STORIES, word_tokenizer

TOKENIZERS = {"byte-level": byte_tokenizer(), "words": word_tokenizer()}
if STORIES.is_dir():
    TOKENIZERS["byte fallback"] = load_tokenizer(STORIES)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=st.data())
def test_chunks_together_are_the_text(name: str, data: st.DataObject) -> None:
    tokenizer = TOKENIZERS[name]
    ids = data.draw(st.lists(st.integers(0, tokenizer.size - 1), max_size=40))
    [text] = tokenizer.decode_responses([ids])
    assert "".join(token_texts(tokenizer, ids)) == text
    row = IncrementalText(tokenizer)
    assert "".join([*map(row.add, ids), row.finish()]) == text


@pytest.mark.parametrize("name", [name for name in TOKENIZERS if name != "words"])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=20))
def test_no_chunk_contains_half_a_character(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode_responses([text])[0]
    texts = token_texts(tokenizer, ids)
    assert "\ufffd" not in "".join(texts)
    assert "".join(texts).strip() == text.strip()


def test_a_character_is_returned_with_its_last_byte() -> None:
    tokenizer = TOKENIZERS["byte-level"]
    house = [token for byte in "é" for token in tokenizer.encoder.encode(byte).ids]
    assert [len(piece) for piece in token_texts(tokenizer, house)] == [0] * (len(house) - 1) + [1]


@pytest.mark.skipif(not STORIES.is_dir(), reason=f"there is no {STORIES}")
def test_bytes_that_can_still_change_are_held_back() -> None:
    tokenizer = TOKENIZERS["byte fallback"]
    vocabulary = tokenizer.encoder.get_vocab()
    euro = [vocabulary[f"<0x{byte:02X}>"] for byte in "€".encode()]
    word = tokenizer.encode_text("house")[-1]
    assert [text for text in token_texts(tokenizer, [word, *euro, word]) if "€" in text] == [
        "€" + token_texts(tokenizer, [word, word])[1]
    ]
    torn = [word, *euro, euro[0]]  # as a run of bytes this is no text at all
    assert token_texts(tokenizer, torn)[1:] == ["", "", "", "\ufffd" * 4]
