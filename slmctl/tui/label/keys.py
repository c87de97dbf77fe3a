"""What each key of the Label mode does; Help (`?`) lists them by these names."""

from textual.binding import Binding, BindingType

ABOUT = (
    "A number says which response is better; the same number once more, at once, or with shift, that it is much "
    "better. Which model gave which response, and what the reward model thinks, is told once your vote is kept.\n"
    'A "!" behind a share in the first line says that it is no chance: you may favour what stands first, or what is '
    "longer."
)
KEYS: list[BindingType] = [
    Binding("1", "choose(0)", "First", id="label.choose_1"),
    Binding("2", "choose(1)", "Second", id="label.choose_2"),
    *(Binding(f"{n}", f"choose({n - 1})", f"{n} better", id=f"label.choose_{n}", show=False) for n in range(3, 10)),
    Binding("exclamation_mark,shift+1", "choose(0, True)", "1 much better", id="label.much_1", show=False),
    Binding("at,shift+2", "choose(1, True)", "2 much better", id="label.much_2", show=False),
    Binding("0", "say_alike('tie')", "Tie", id="label.tie"),
    Binding("x", "say_alike('both_bad')", "Bad", id="label.bad"),
    Binding("space", "skip", "Skip", key_display="␣", id="label.skip"),
    Binding("backspace", "undo", "Undo", id="label.undo"),
    Binding("N", "round", "Round", id="label.round"),
    Binding("K", "rank", "Rank all", id="label.rank"),
    Binding("e", "edit", "Edit", id="label.edit"),
    Binding("n", "note", "Note", id="label.note"),
    Binding("f", "flag", "Flag", id="label.flag"),
    Binding("r", "resample", "Other responses", id="label.resample"),
    Binding("h", "guidelines", "Guidelines", id="label.guidelines"),
    Binding("s", "figures", "Figures", id="label.figures"),
    Binding("y", "copy", "Copy", id="label.copy"),
    Binding("pagedown,down", "scroll_all(1)", "Scroll", id="label.down", show=False),
    Binding("pageup,up", "scroll_all(-1)", "Scroll back", id="label.up", show=False),
]
