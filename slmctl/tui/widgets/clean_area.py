"""A text area for text from anywhere: what is pasted, loaded or typed is cleaned first."""

import dataclasses

from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult

from slmctl.console.safe import clean


def clean_lines(text: str) -> str:
    """The text cleaned, with \\n for the line breaks of every system."""
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"))


class CleanArea(TextArea):
    """A TextArea that contains no control characters."""

    def edit(self, edit: Edit) -> EditResult:
        """Makes an edit with its text cleaned."""
        return super().edit(dataclasses.replace(edit, text=clean_lines(edit.text)))

    def load_text(self, text: str) -> None:
        """Shows a text, cleaned."""
        super().load_text(clean_lines(text))
