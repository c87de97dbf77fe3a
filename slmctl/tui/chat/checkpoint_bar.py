"""The checkpoints of a model's run on one line, the selected one marked; a click selects another."""

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widgets import Static

from slmctl.chat.chat import Chat
from slmctl.console.safe import one_line
from slmctl.tui.chat.messages import CheckpointClicked

LINK = " ─ "
KEYS = "   [ and ] on a reply"


class CheckpointBar(Static):
    """Hidden if there are fewer than two checkpoints."""

    def __init__(self, id: str) -> None:
        super().__init__(markup=False, id=id)
        self._shown: tuple[str, Sequence[str], str] | None = None
        self._spans: list[tuple[int, int, str]] = []  # first and last column of a checkpoint

    def show(self, chat: Chat, reply: tuple[int, str] | None) -> None:
        """Shows the checkpoints for a reply, given by turn and model."""
        checkpoints = chat.related.checkpoints.get(reply[1], ()) if reply is not None else ()
        self.display = len(checkpoints) > 1
        if reply is not None and self.display:
            self._shown = reply[1], checkpoints, chat.selected.get(reply, reply[1])
            self._draw(*self._shown)

    def on_resize(self) -> None:
        """Shows as many as fit."""
        if self._shown is not None:
            self._draw(*self._shown)

    def _draw(self, model: str, checkpoints: Sequence[str], selected: str) -> None:
        head = f"checkpoints of {one_line(model.partition('@')[0], 24)}  "
        at = checkpoints.index(selected) if selected in checkpoints else len(checkpoints) - 1
        room = max(20, self.size.width - cell_len(head))
        first, last = visible_range([cell_len(step_label(one)) + len(LINK) for one in checkpoints], at, room)
        parts, column = [Content.styled(head, "$foreground-muted")], cell_len(head)
        self._spans = []
        for i in range(first, last + 1):
            label = step_label(checkpoints[i])
            word = f"[{label}]" if i == at else label
            lead = "" if i == first else LINK
            self._spans.append((column + len(lead), column + len(lead) + cell_len(word), checkpoints[i]))
            parts += [Content(lead), Content.styled(word, "bold reverse") if i == at else Content(word)]
            column += len(lead) + cell_len(word)
        if column + len(KEYS) <= self.size.width:
            parts.append(Content.styled(KEYS, "$foreground-muted"))
        self.update(Content.assemble(*parts))

    def on_click(self, event: events.Click) -> None:
        """Posts the clicked checkpoint."""
        for first, last, by in self._spans:
            if first <= event.x < last:
                self.post_message(CheckpointClicked(by))


def step_label(checkpoint: str) -> str:
    """A short name of a checkpoint: its step, or its stage if it is final."""
    _, at, step = checkpoint.rpartition("@")
    return step if at else one_line(checkpoint.rpartition(":")[2], 12)


def visible_range(widths: Sequence[int], at: int, room: int) -> tuple[int, int]:
    """The first and last of the items around number `at` that together fit into `room`."""
    first = last = at
    used = widths[at] + 2  # its brackets
    while True:
        left = first > 0 and used + widths[first - 1] <= room
        right = last + 1 < len(widths) and used + widths[last + 1] <= room
        if right and (not left or last - at <= at - first):
            last += 1
            used += widths[last]
        elif left:
            first -= 1
            used += widths[first]
        else:
            return first, last
