"""Text of models, files and people, made harmless for a terminal.

A sampled escape sequence can rename a window or hide a line. Files keep the raw text.
"""

TAB = "    "
REPLACEMENT = "\ufffd"
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _table() -> dict[int, str]:
    pictures = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
    controls = dict.fromkeys([0x7F, *range(0x80, 0xA0), *map(ord, _BIDI), *range(0xD800, 0xE000)], REPLACEMENT)
    return {**pictures, **controls, ord("\t"): TAB}


_TABLE = _table()


def clean(text: str) -> str:
    """The text without anything that a terminal would obey.

    Newlines stay, tabs become spaces, other C0 controls become control pictures; DEL, C1 controls, direction overrides
    and lone surrogates become U+FFFD.
    """
    return text.translate(_TABLE)


def one_line(text: str, width: int | None = None) -> str:
    """The cleaned text on one line, cut to `width` characters with an ellipsis."""
    line = " ".join(clean(text).split())
    return line if width is None or len(line) <= width else line[: max(0, width - 1)] + "…"
