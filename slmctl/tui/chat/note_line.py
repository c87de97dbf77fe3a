"""The sentence above the line that is typed into: what was done, or why it was not."""

from textual.content import Content
from textual.widgets import Static

from slmctl.console.safe import clean


class NoteLine(Static):
    """One sentence until something else is done, and no line without one."""

    def __init__(self, id: str) -> None:
        super().__init__("", markup=False, id=id)
        self._said = ""

    def tell(self, sentence: str, problem: bool = False) -> None:
        """Shows a sentence in place of the last one, or none."""
        self._said, self.display = sentence, bool(sentence)
        self.update(Content.styled(("! " if problem else "") + clean(sentence), "$text-error" if problem else ""))

    def forget(self, sentence: str) -> None:
        """Takes a sentence back that is not true any more, if it stands here."""
        if self._said == sentence:
            self.tell("")
