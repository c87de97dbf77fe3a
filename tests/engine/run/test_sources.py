"""What is held out: whole texts, exactly the share asked for, unknown to the tokenizer."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.config import Config
from engine.core.errors import DataError
from engine.core.seeding import python_rng
from engine.data.readers import read_texts
from engine.run.sources import base_documents, base_tokenizer, random_split, split_texts


def numbered(*sizes: int) -> list[str]:
    """Texts of these sizes, each of a letter of its own."""
    return [chr(ord("A") + number) * size for number, size in enumerate(sizes)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.floats(0, 1), st.integers(0, 99))
def test_every_character_is_in_one_part(sizes: list[int], share: float, seed: int) -> None:
    train, held_out = split_texts(numbered(*sizes), share, seed, "test")
    total = sum(sizes)
    assert sorted("".join(train + held_out)) == sorted("".join(numbered(*sizes)))
    assert sum(map(len, held_out)) == min(total - 1, max(1, round(total * share)))
    assert len(set("".join(train)) & set("".join(held_out))) <= 1
    assert all(train) and all(held_out)


def test_one_long_text_gives_its_end() -> None:
    assert split_texts(["0123456789"], 0.3, 0, "test") == (["0123456"], ["789"])


def test_rows_are_drawn_at_random() -> None:
    order = list(range(50))
    python_rng(3, "test").shuffle(order)
    assert random_split(list(range(50)), 0.2, 3, "test") == (order[10:], order[:10])
    letters = [chr(ord("A") + i) for i in range(50)]
    shuffled = [letters[i] for i in order]
    assert split_texts(letters, 0.2, 3, "test") == (shuffled[10:], shuffled[:10])


def test_every_text_is_as_likely_to_be_held_out() -> None:
    counts = dict.fromkeys("ABCDEFGHI", 0)
    for seed in range(400):
        for text in split_texts(numbered(*[5] * 9), 1 / 3, seed, "test")[1]:
            counts[text[0]] += 1
    assert all(count / 400 == pytest.approx(1 / 3, abs=0.1) for count in counts.values())


def test_the_tokenizer_of_a_text_has_not_seen_held_out_text(tmp_path: Path) -> None:
    data = tmp_path / "texts.txt"
    words = ["".join(chr(ord("a") + (number * 7 + at * at) % 26) for at in range(6)) for number in range(26)]
    data.write_text("\n\n".join(" ".join([word] * 40) for word in words))
    texts = base_documents(Config(), read_texts(data))
    train, held_out = texts.train, texts.validation
    tokenizer = base_tokenizer(train, Config(), read_texts(data))
    seen = [piece.text.split()[0] for piece in train if piece.text]
    unseen = [piece.text.split()[0] for piece in held_out if piece.text and piece.text.split()[0] not in seen]
    assert unseen and all(len(tokenizer.encode_text(word)) == 1 for word in seen)
    assert all(len(tokenizer.encode_text(word)) > 1 for word in unseen)


def test_a_text_too_short_to_cut_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("A")
    with pytest.raises(DataError, match="one character of text cannot be split"):
        base_documents(Config(), read_texts(tmp_path / "short.txt"))
