"""Lists of options, and a command palette, that can be paged at any time."""

from contextlib import suppress

from textual._widget_navigation import Direction
from textual.command import CommandPalette
from textual.widgets import OptionList


class SafeOptionList(OptionList):
    """Textual's list, which raises KeyError where it is paged before it is drawn."""

    def _move_page(self, direction: Direction) -> None:
        with suppress(KeyError, IndexError):  # the lines of the options are known once they are drawn
            super()._move_page(direction)


class Palette(CommandPalette):
    """Textual's palette, whose list has the same fault."""

    def _action_command_list(self, action: str) -> None:
        with suppress(KeyError, IndexError):
            super()._action_command_list(action)
