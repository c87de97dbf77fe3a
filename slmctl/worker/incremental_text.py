"""Decoding a growing row of ids: chunks of text that never change again, and together are the whole text.

A token may contain part of a character, and a decoder may turn bytes that it has read already into something else.
Such an end is held back until a later token, or the end of the row, settles it.
"""

import re

from engine.model.tokenizer import Tokenizer

UNSETTLED = "\ufffd"  # the decoding of an incomplete character
FALLBACK = re.compile("<0x[0-9A-F]{2}>")  # the name of a byte in SentencePiece-like vocabularies


class IncrementalText:
    """The text of one growing row."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = tokenizer.encoder.get_added_tokens_decoder()
        self._ids: list[int] = []
        self._settled = 0  # number of ids before the bytes at the end of the row
        self._text = ""

    def add(self, token: int) -> str:
        """The text gained by one more token; often ""."""
        self._ids.append(token)
        if not self._leaves_open(token):
            self._settled = len(self._ids)
        return self._gained(self._decoded(self._ids[: self._settled]).rstrip(UNSETTLED))

    def finish(self) -> str:
        """The text that was held back, once the row has ended."""
        return self._gained(self._decoded(self._ids))

    def _decoded(self, ids: list[int]) -> str:
        return self._tokenizer.decode_responses([ids])[0]

    def _leaves_open(self, token: int) -> bool:
        """Whether the text before this token can still change: it is a byte, or a token without text."""
        name = self._tokenizer.encoder.id_to_token(token)
        return name is None or token in self._special or FALLBACK.fullmatch(name) is not None

    def _gained(self, text: str) -> str:
        if not text.startswith(self._text):
            return ""
        gained = text[len(self._text) :]
        self._text = text
        return gained


def token_texts(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """The text that each of `ids`, a whole row, adds; together they are the text of the row."""
    row = IncrementalText(tokenizer)
    texts = [row.add(token) for token in ids]
    if texts:
        texts[-1] += row.finish()
    return texts
