"""Words that stay readable where colour is turned off: as a grey, red on black is nearly black."""

from functools import lru_cache

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

LEAST = 96  # of 255, between a letter's grey and the grey behind it
WHITE, BLACK = RichColor.from_rgb(255, 255, 255), RichColor.from_rgb(0, 0, 0)


class Readable(LineFilter):
    """Sets letters off from what is behind them; frames and bars stay as they are. It follows Textual's monochrome."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments, their letters white or black where their grey is too near that of the background."""
        behind = round(background.brightness * 255)
        return [
            Segment(text, readable(style, behind), control) if style and any(map(str.isalnum, text)) else segment
            for segment in segments
            for text, style, control in [segment]
        ]


@lru_cache(1024)
def readable(style: Style, behind: int) -> Style:
    """A style whose colour can be seen; `behind` is the brightness, 0 to 255, where the style has no background."""
    if style.color is None or style.color.triplet is None:
        return style
    if style.bgcolor is not None and style.bgcolor.triplet is not None:
        behind = style.bgcolor.triplet.red  # all three are the same in a grey
    if abs(style.color.triplet.red - behind) >= LEAST:
        return style
    return style + Style.from_color(WHITE if behind < 128 else BLACK)
