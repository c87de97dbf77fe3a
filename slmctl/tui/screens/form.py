"""The form that starts a stage."""

from textual.screen import Screen

from slmctl.drafts import Draft


class FormScreen(Screen[None]):
    """The form."""

    def __init__(self, draft: Draft) -> None:
        super().__init__()

    def begin(self, draft: Draft) -> None:
        """Begins anew."""
