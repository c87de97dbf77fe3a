"""What each key of the Train mode does; Help (`?`) lists them by these names."""

from textual.binding import Binding, BindingType

CONTROLS = (("p", "pause", "pause"), ("s", "save", "save"), ("x", "stop", "stop"), ("g", "go_on", "go on with"))
KEYS: list[BindingType] = [
    Binding("p", "ask('pause')", "Pause", id="train.pause"),
    Binding("p", "ask('resume')", "Resume", id="train.resume"),
    Binding("s", "ask('save')", "Save", id="train.save"),
    Binding("x", "stop", "Stop", id="train.stop"),
    Binding("g", "go_on", "Go on", id="train.go_on"),
    *(Binding(key, f"refuse('{what}')", id=f"train.{name}", show=False) for key, name, what in CONTROLS),
    Binding("tab", "next_panel(1)", "Next", id="train.next"),
    Binding("shift+tab", "next_panel(-1)", "Panel before", id="train.previous", show=False),
    Binding("v", "samples(True)", "Samples", id="train.samples"),
    Binding("v", "samples(False)", "Charts", id="train.charts"),
    Binding("q", "leave", "Leave", id="train.leave"),
    Binding("m", "look('smooth')", "Smooth", id="train.smooth"),
    Binding("l", "look('log')", "Log scale", id="train.log"),
    Binding("z", "zoom", "Full screen", id="train.zoom"),
    Binding("c", "metrics", "Choose metrics", id="train.metrics"),
    Binding("a", "alarms", "All alarms", id="train.alarms"),
    Binding("slash", "filter", "Filter samples", id="train.filter"),
    Binding("y", "copy", "Copy", id="train.copy"),
    Binding("escape", "all_samples", "All samples", id="train.all_samples", show=False),
    Binding("left_square_bracket", "look('samples_before')", "Samples before", id="train.before", show=False),
    Binding("right_square_bracket", "look('samples_after')", "Samples after", id="train.after", show=False),
    Binding("plus,equals_sign", "look('narrower')", "Fewer steps", id="train.narrower", show=False),
    Binding("minus", "look('wider')", "More steps", id="train.wider", show=False),
    Binding("home", "look('oldest')", "First step", id="train.oldest", show=False),
    Binding("end", "look('newest')", "Newest step", id="train.newest", show=False),
    Binding("exclamation_mark", "look('alarm')", "Step of the alarm before", id="train.alarm", show=False),
    Binding("r", "look('next_run')", "Next run", id="train.next_run", show=False),
    Binding("0", "stage(0)", "Go with the run", id="train.follow", show=False),
    *(Binding(str(n), f"stage({n})", f"Stage {n}", id=f"train.stage{n}", show=False) for n in range(1, 7)),
]
