"""The token lens: one number of each token of a reply, shown by colour and style, with a legend and the number itself.

Four shades, each also told by its text style, since colour alone carries no meaning. Pure: replies in, Content out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content

from slmctl.chat.conversation import Reply
from slmctl.console.safe import clean
from slmctl.worker.protocol import LensToken

OFF = ""
KINDS = (OFF, "kl", "logprob", "value")
SHORT = {"kl": "KL", "logprob": "log-probability", "value": "value"}
SHADES = (
    "",
    "$text-success on $success-muted",
    "underline $text-warning on $warning-muted",
    "bold underline $text-error on $error-muted",
)
EDGES = {"kl": (0.1, 0.5, 2.0), "logprob": (0.1, 1.0, 3.0)}  # of the number's size, below which a shade holds
CURSOR = "reverse"
NEWLINE = "↵"


@dataclass(frozen=True)
class Scale:
    """How numbers of one kind become shades: the first holds below `edges[0]`."""

    kind: str
    edges: tuple[float, float, float]

    def shade(self, number: float | None) -> int:
        """Which of the four shades a number has; the first for none."""
        size = 0.0 if number is None else abs(number) if self.kind != "value" else number
        return sum(size >= edge for edge in self.edges) if number is not None else 0

    def legend(self) -> Content:
        """What each shade stands for, written in it."""
        low, middle, high = (f"{edge:.3g}" for edge in self.edges)
        words = (f"below {low}", f"{low} to {middle}", f"{middle} to {high}", f"{high} and more")
        sized = "size of " if self.kind != "value" else ""
        parts = [Content.styled(f" {word} ", shade) for word, shade in zip(words, SHADES, strict=True)]
        return Content.assemble(f"{sized}{SHORT[self.kind]}: ", Content(" ").join(parts))


def scale_of(kind: str, replies: Iterable[Reply]) -> Scale:
    """The scale of a kind: a fixed one, but values, which have no unit of their own, share the range of `replies`."""
    if kind != "value":
        return Scale(kind, EDGES[kind])
    found = sorted(token.value for reply in replies for token in reply.lens if token.value is not None)
    low, high = (found[0], found[-1]) if found else (0.0, 1.0)
    width = (high - low) / len(SHADES)
    return Scale(kind, (low + width, low + 2 * width, low + 3 * width))


def number_of(kind: str, token: LensToken) -> float | None:
    """The number of a token that a kind of lens looks at."""
    return {"kl": token.kl_nats, "logprob": token.logprob, "value": token.value}[kind]


def seen_through(lens: Sequence[LensToken], scale: Scale, cursor: int | None) -> Content:
    """The reply's text, each token in its shade, the one under the cursor reversed."""
    parts = []
    for i, token in enumerate(lens):
        style = CURSOR if i == cursor else SHADES[scale.shade(number_of(scale.kind, token))]
        text = clean(token.text) or ("▪" if i == cursor else "")
        parts.append(Content.styled(text, style) if style else Content(text))
    return Content.assemble(*parts)


def token_line(reply: Reply, kind: str, cursor: int) -> str:
    """The token under the cursor in words: which one, its text, the number looked at, then its other numbers."""
    lens, token = reply.lens, reply.lens[cursor]
    text = clean(token.text).replace("\n", NEWLINE)
    shown = f'"{text}"' if text else "no text of its own"
    order = sorted(SHORT, key=lambda other: other != kind)
    numbers = [f"{SHORT[name]} {number:+.3f}" for name in order if (number := number_of(name, token)) is not None]
    why = [missing(reply, kind)] if number_of(kind, token) is None else []
    return f"token {cursor + 1} of {len(lens)}: {shown} · " + " · ".join(why + numbers)


def missing(reply: Reply, kind: str) -> str:
    """Why a reply has no numbers of a kind."""
    if kind == "value":
        return "no value network came with this model"
    if reply.by_reference:
        return "this model is the reference, so its KL is 0"
    return "KL not known" if reply.note else "no KL: /ref MODEL names a reference"
