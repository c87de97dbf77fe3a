"""The text of a row of ids while it grows: pieces that never change again, and together are the text.

A token may hold half of a character, and a decoder may turn bytes that it has read already into something else; such
ends are held back until what follows, or the end of the row, settles them.
"""

import re

from engine.model.tokenizer import Tokenizer

UNSETTLED = "\ufffd"  # what an unfinished character decodes to
FALLBACK = re.compile("<0x[0-9A-F]{2}>")  # how a SentencePiece-like vocabulary names a byte


class Pieces:
    """Text of one growing row."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = tokenizer.encoder.get_added_tokens_decoder()
        self._ids: list[int] = []
        self._settled = 0  # ids up to the run of bytes that the row ends with, if it does
        self._said = ""

    def add(self, token: int) -> str:
        """What the settled text has grown by with one more token; often nothing."""
        self._ids.append(token)
        if not self._leaves_open(token):
            self._settled = len(self._ids)
        text = self._text(self._ids[: self._settled]).rstrip(UNSETTLED)
        return self._grown(text)

    def rest(self) -> str:
        """What is left to say once the row has ended."""
        return self._grown(self._text(self._ids))

    def _text(self, ids: list[int]) -> str:
        return self._tokenizer.decode_responses([ids])[0]

    def _leaves_open(self, token: int) -> bool:
        """Whether what stands before this token may still change: it is a byte, or a token without text."""
        name = self._tokenizer.encoder.id_to_token(token)
        return name is None or token in self._special or FALLBACK.fullmatch(name) is not None

    def _grown(self, text: str) -> str:
        if not text.startswith(self._said):
            return ""
        piece = text[len(self._said) :]
        self._said = text
        return piece


def spelled(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """The piece of text that each of `ids`, a whole row, adds to it; together they are the text."""
    pieces = Pieces(tokenizer)
    texts = [pieces.add(token) for token in ids]
    if texts:
        texts[-1] += pieces.rest()
    return texts
