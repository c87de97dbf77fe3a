"""The Label mode."""

from textual.screen import Screen


class LabelScreen(Screen[None]):
    """The Label mode."""
