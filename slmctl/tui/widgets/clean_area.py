"""A text area that nothing harmful enters: what is pasted, loaded or typed passes the door of safe.py."""

import dataclasses

from textual.document._document import EditResult
from textual.document._edit import Edit
from textual.widgets import TextArea

from slmctl.console.safe import clean


def clean_lines(text: str) -> str:
    """The text cleaned, with line breaks of every system as ours."""
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"))


class CleanArea(TextArea):
    """A TextArea for text of any origin."""

    def edit(self, edit: Edit) -> EditResult:
        """Makes an edit, its text cleaned."""
        return super().edit(dataclasses.replace(edit, text=clean_lines(edit.text)))

    def load_text(self, text: str) -> None:
        """Shows another text, cleaned."""
        super().load_text(clean_lines(text))
