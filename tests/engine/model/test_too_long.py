"""Rows that are too long for a model, at the exact limit of its context."""

from typing import Any

import pytest

from engine.data.records import Demonstration, Message, PromptRow, Ranking, Text
from engine.model import batching
from engine.model.batching import count_too_long
from engine.model.tokenizer import Tokenizer, train_tokenizer

CONTEXT = 8


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """One token a letter, no template, no BOS."""
    return train_tokenizer(["a a"], 300).without_template()


def letters(count: int) -> str:
    return "abcdefgh" * (count // 8) + "abcdefgh"[: count % 8]


@pytest.mark.parametrize(
    ("fits", "too_long"),
    [
        (Demonstration(letters(4), letters(3)), Demonstration(letters(4), letters(4))),
        (Ranking("ab", ("a", letters(5)), (0, 1)), Ranking("ab", (letters(6), "a"), (0, 1))),
        (PromptRow(letters(7)), PromptRow(letters(8))),
        (PromptRow((Message("user", "ab"),)), PromptRow((Message("user", letters(30)),))),
    ],
)
def test_prompt_response_and_eos_fill_the_context(
    tokenizer: Tokenizer, fits: Any, too_long: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "ENCODED_AT_ONCE", 2)
    assert count_too_long([fits, fits, fits], tokenizer, CONTEXT) == 0
    assert count_too_long([fits, too_long, fits, too_long, too_long], tokenizer, CONTEXT) == 3


def test_text_always_fits(tokenizer: Tokenizer) -> None:
    assert count_too_long([Text(letters(99))], tokenizer, CONTEXT) == 0
    assert count_too_long([], tokenizer, CONTEXT) == 0
