"""The token lens: colors the tokens of a reply by one of their numbers, with a legend and the number itself.

Each of the four shades also has a text style of its own, so that it is distinguishable without color.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content

from slmctl.chat.conversation import Reply
from slmctl.console.safe import clean
from slmctl.worker.protocol import LensToken

OFF = ""
KINDS = (OFF, "kl", "logprob", "value")
TITLES = {"kl": "KL", "logprob": "log-probability", "value": "value"}
SHADES = (
    "",
    "$text-success on $success-muted",
    "underline $text-warning on $warning-muted",
    "bold underline $text-error on $error-muted",
)
EDGES = {
    "kl": (0.1, 0.5, 2.0),
    "logprob": (0.1, 1.0, 3.0),
}  # of the absolute number: the upper limits of the first three shades
CURSOR = "reverse"
NEWLINE = "↵"


@dataclass(frozen=True)
class LensScale:
    """How the numbers of one kind map to shades: the first shade is below `edges[0]`."""

    kind: str
    edges: tuple[float, float, float]

    def shade(self, number: float | None) -> int:
        """The shade of a number, 0 to 3; 0 for None."""
        size = 0.0 if number is None else abs(number) if self.kind != "value" else number
        return sum(size >= edge for edge in self.edges) if number is not None else 0

    def legend(self) -> Content:
        """The range of each shade, written in that shade."""
        low, middle, high = (f"{edge:.3g}" for edge in self.edges)
        words = (f"below {low}", f"{low} to {middle}", f"{middle} to {high}", f"{high} or more")
        absolute = "absolute " if self.kind != "value" else ""
        parts = [Content.styled(f" {word} ", shade) for word, shade in zip(words, SHADES, strict=True)]
        return Content.assemble(f"{absolute}{TITLES[self.kind]}: ", Content(" ").join(parts))


def lens_scale(kind: str, replies: Iterable[Reply]) -> LensScale:
    """The scale of a kind: fixed, except for values, which have no unit and are scaled to the range in `replies`."""
    if kind != "value":
        return LensScale(kind, EDGES[kind])
    found = sorted(token.value for reply in replies for token in reply.lens if token.value is not None)
    low, high = (found[0], found[-1]) if found else (0.0, 1.0)
    width = (high - low) / len(SHADES)
    return LensScale(kind, (low + width, low + 2 * width, low + 3 * width))


def number_of(kind: str, token: LensToken) -> float | None:
    """The number of a token that a kind of lens shows."""
    return {"kl": token.kl_nats, "logprob": token.logprob, "value": token.value}[kind]


def lens_content(lens: Sequence[LensToken], scale: LensScale, cursor: int | None) -> Content:
    """The text of a reply, each token in its shade, the token under the cursor reversed."""
    parts = []
    for i, token in enumerate(lens):
        style = CURSOR if i == cursor else SHADES[scale.shade(number_of(scale.kind, token))]
        text = clean(token.text) or ("▪" if i == cursor else "")
        parts.append(Content.styled(text, style) if style else Content(text))
    return Content.assemble(*parts)


def token_line(reply: Reply, kind: str, cursor: int) -> str:
    """The token under the cursor: its position, text and numbers, that of the lens first."""
    lens, token = reply.lens, reply.lens[cursor]
    text = clean(token.text).replace("\n", NEWLINE)
    shown = f'"{text}"' if text else "no text"
    order = sorted(TITLES, key=lambda other: other != kind)
    numbers = [f"{TITLES[name]} {number:+.3f}" for name in order if (number := number_of(name, token)) is not None]
    why = [why_missing(reply, kind)] if number_of(kind, token) is None else []
    return f"token {cursor + 1} of {len(lens)}: {shown} · " + " · ".join(why + numbers)


def why_missing(reply: Reply, kind: str) -> str:
    """Why a reply has no numbers of a kind."""
    if kind == "value":
        return "no value network saved with this model"
    if reply.by_reference:
        return "this model is the reference, so its KL is 0"
    return "KL unknown" if reply.note else "no KL; choose a reference with /ref MODEL"
