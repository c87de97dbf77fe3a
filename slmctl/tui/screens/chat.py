"""The Chat mode."""

from textual.screen import Screen


class ChatScreen(Screen[None]):
    """The Chat mode."""
