"""The Train mode."""

from textual.screen import Screen


class TrainScreen(Screen[None]):
    """The Train mode."""
