"""The checkpoints along a model's run in one line, the one that is looked at marked; a click looks at another."""

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widgets import Static

from slmctl.chat.state import Chat
from slmctl.console.safe import one_line
from slmctl.tui.messages import CheckpointClicked

LINK = " ─ "
KEYS = "   [ and ] move, in the replies"


class Scrubber(Static):
    """Nothing is shown where there are no two checkpoints."""

    def __init__(self, id: str) -> None:
        super().__init__(markup=False, id=id)
        self._row: tuple[str, Sequence[str], str] | None = None
        self._spans: list[tuple[int, int, str]] = []  # first and last column of a checkpoint

    def show(self, chat: Chat, place: tuple[int, str] | None) -> None:
        """Shows the checkpoints of the model whose reply stands in a `place`, turn and model, if in any."""
        places = chat.around.steps.get(place[1], ()) if place is not None else ()
        self.display = len(places) > 1
        if place is not None and self.display:
            self._row = place[1], places, chat.looked_at.get(place, place[1])
            self._draw(*self._row)

    def on_resize(self) -> None:
        """Shows as many as fit now."""
        if self._row is not None:
            self._draw(*self._row)

    def _draw(self, model: str, places: Sequence[str], looked_at: str) -> None:
        head = f"steps of {one_line(model.partition('@')[0], 24)}  "
        at = places.index(looked_at) if looked_at in places else len(places) - 1
        room = max(20, self.size.width - cell_len(head))
        first, last = window([cell_len(short(place)) + len(LINK) for place in places], at, room)
        parts, column = [Content.styled(head, "$foreground-muted")], cell_len(head)
        self._spans = []
        for i in range(first, last + 1):
            word = f"[{short(places[i])}]" if i == at else short(places[i])
            lead = "" if i == first else LINK
            self._spans.append((column + len(lead), column + len(lead) + cell_len(word), places[i]))
            parts += [Content(lead), Content.styled(word, "bold reverse") if i == at else Content(word)]
            column += len(lead) + cell_len(word)
        if column + len(KEYS) <= self.size.width:
            parts.append(Content.styled(KEYS, "$foreground-muted"))
        self.update(Content.assemble(*parts))

    def on_click(self, event: events.Click) -> None:
        """Says which checkpoint was meant."""
        for first, last, by in self._spans:
            if first <= event.x < last:
                self.post_message(CheckpointClicked(by))


def short(place: str) -> str:
    """A checkpoint in few characters: its step, or the stage whose result it is."""
    _, at, step = place.rpartition("@")
    return step if at else one_line(place.rpartition(":")[2], 12)


def window(widths: Sequence[int], at: int, room: int) -> tuple[int, int]:
    """The first and last of a row of things, around number `at`, that fit into `room` together."""
    first = last = at
    used = widths[at] + 2  # its brackets
    while True:
        if last + 1 < len(widths) and used + widths[last + 1] <= room and last - at <= at - first:
            last += 1
            used += widths[last]
        elif first > 0 and used + widths[first - 1] <= room:
            first -= 1
            used += widths[first]
        elif last + 1 < len(widths) and used + widths[last + 1] <= room:
            last += 1
            used += widths[last]
        else:
            return first, last
