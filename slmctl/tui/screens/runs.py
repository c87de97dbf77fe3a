"""The Runs mode."""

from textual.screen import Screen


class RunsScreen(Screen[None]):
    """The Runs mode."""
