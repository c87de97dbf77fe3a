"""What each key of the Train mode does; Help (`?`) lists them by these names."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from engine.rundir.directory import RunDir
from slmctl.console.safe import clean, one_line
from slmctl.tui import messages
from slmctl.tui.watch.body import WatchBody
from slmctl.tui.watch.follow import FollowLoop
from slmctl.tui.watch.messages import (
    CursorMoved,
    RequestSent,
    RunsFound,
    RunsPolled,
    SampleChosen,
    StageChosen,
    StepChosen,
    ZoomRequested,
)
from slmctl.tui.watch.run_header import RunHeader
from slmctl.tui.watch.sample_pane import SampleList
from slmctl.tui.widgets.dialogs import confirm_stop
from slmctl.tui.widgets.filter_line import FilterLine
from slmctl.watch.controls import RESUMABLE, SentRequest, SentRequests, nothing_to_do, refusal
from slmctl.watch.follower import WORKING
from slmctl.watch.headline import alert_texts
from slmctl.watch.history import RunHistory
from slmctl.watch.panels import ChartView
from slmctl.watch.sample_rows import paragraphs
from slmctl.watch.state import VIEW_ACTIONS, WatchState

if TYPE_CHECKING:
    from slmctl.tui.app import Playground
    from slmctl.tui.watch.dialogs import ZoomScreen

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


EMPTY = "There is no run in {} yet.\n\nTo begin one, type: slmctl run --preset tiny\nor press F2, then n."


class WatchScreen(Screen[None]):
    """The runs that are followed, or what to type where there are none."""

    HELP = (
        "The step that is pointed at is the same in every chart, in the plane and in the samples. "
        "Until one is pointed at, everything goes with the newest step."
    )
    AUTO_FOCUS = ""  # the first panel takes it, once there is one
    BINDINGS: ClassVar[list[BindingType]] = KEYS

    def __init__(self) -> None:
        super().__init__()
        self._watching: WatchState | None = None
        self._requests = SentRequests()
        self._zoom: ZoomScreen | None = None

    @property
    def _playground(self) -> "Playground":
        return cast("Playground", self.app)

    def compose(self) -> ComposeResult:
        """The head, the panels, the samples; in an empty folder what to do."""
        yield RunHeader()
        yield WatchBody()
        yield Static("", markup=False, id="train-empty")

    def on_mount(self) -> None:
        """Begins to look."""
        start = self._playground.start
        self._show_empty("looking for runs")
        self._following = FollowLoop(self, start.home, start.runs)
        self.call_after_refresh(self._follow)

    def _follow(self) -> None:
        self.run_worker(self._following.run(self._is_below_all), group="follow")

    def _is_below_all(self) -> bool:
        """Whether this mode is shown; while the playground ends there may be no screen any more."""
        return self.app.screen_stack[:1] == [self]

    def on_open_runs(self, message: messages.OpenRuns) -> None:
        """Follows other runs."""
        self._following.want(message.names)

    def on_screen_resume(self) -> None:
        """Looks at once when the mode is shown again."""
        if self.is_mounted:
            self._following.look_now()

    def on_screen_suspend(self) -> None:
        """Leaves word of the run that was watched."""
        self._playground.watched = self._watching.story.name if self._watching else ""

    def on_runs_found(self, message: RunsFound) -> None:
        """Follows what was found, or says what to do."""
        if not message.runs:
            self._show_empty(message.error or EMPTY.format(one_line(str(self._playground.start.home))))
            return
        self._watching = WatchState(
            [RunHistory(run.name) for run in message.runs], ChartView(ascii=self._playground.start.ascii)
        )
        self._following.follow(message.runs)

    def on_runs_polled(self, message: RunsPolled) -> None:
        """Shows what is new."""
        if self._watching is None or message.turn != self._following.turn:
            return
        stage, offered = self._watching.stage, (self._watching.story.pulse.word, bool(self._watching.history))
        if self._watching.take(message.news):
            self._show()
        else:
            self._show_head()
        if self._watching.stage != stage:
            self.query_one(WatchBody).begin()
        if (self._watching.story.pulse.word, bool(self._watching.history)) != offered:
            self.refresh_bindings()

    # showing

    def _show_empty(self, text: str) -> None:
        self.query_one("#train-empty", Static).update(Content(clean(text)))
        self.query_one("#train-empty").display = True  # above the charts, which have their size before they are drawn

    def _show(self) -> None:
        if self._watching is None:
            return
        self.query_one("#train-empty").display = False
        self.query_one(WatchBody).look_at(self._watching)
        self._show_head()
        if self._zoom is not None and self._zoom.is_attached:
            self._zoom.look_at(self._watching)

    def _show_head(self) -> None:
        if self._watching is not None:
            now = time.time()
            told = self._requests.told(self._watching.stories, now)
            self.query_one(RunHeader).look_at(self._watching, now, told, self.query_one(WatchBody).aside)

    def _change(self, change: Callable[[WatchState], object]) -> None:
        """Changes how the runs are looked at, and shows it."""
        if self._watching is not None:
            stage = self._watching.stage
            change(self._watching)
            self._show()
            if self._watching.stage != stage:
                self.query_one(WatchBody).begin()
                self.refresh_bindings()

    def on_cursor_moved(self, message: CursorMoved) -> None:
        """Points at another step."""
        self._change(lambda watching: watching.move(message.by, message.columns))

    def on_step_chosen(self, message: StepChosen) -> None:
        """Points at a step."""
        self._change(lambda watching: watching.point(message.step))

    def on_stage_chosen(self, message: StageChosen) -> None:
        """Shows a stage."""
        self._change(lambda watching: watching.show_stage(message.stage))

    def on_sample_chosen(self, message: SampleChosen) -> None:
        """Chooses a sample."""
        self._change(lambda watching: watching.choose_sample(message.number))

    def on_descendant_focus(self) -> None:
        """Tells on which page the focus is."""
        self._show_head()

    def action_next_panel(self, by: int) -> None:
        """Goes to another panel, or to the samples."""
        self.query_one(WatchBody).next_panel(by)
        self._show_head()

    def action_samples(self, _: bool) -> None:
        """Goes to the samples, or back to the charts."""
        self.query_one(WatchBody).to_samples()
        self._show_head()

    def action_filter(self) -> None:
        """Asks for a text that samples must hold to be listed."""
        self.query_one(WatchBody).open_filter()
        self._show_head()

    def action_all_samples(self) -> None:
        """Lists the samples of one step again."""
        self.query_one(FilterLine).action_drop()

    def on_filter_changed(self, message: messages.FilterChanged) -> None:
        """Lists the samples that hold what is typed."""
        self._change(lambda watching: watching.want(message.text))
        if message.done:
            self.set_focus(self.query_one(SampleList))

    def action_look(self, how: str) -> None:
        """Looks at the runs in another way, by its name in watching.VIEW_ACTIONS."""
        self._change(VIEW_ACTIONS[how])

    def action_stage(self, number: int) -> None:
        """Shows a stage by its number; 0 goes with the run."""
        names = self._watching.story.names if self._watching else []
        if number <= len(names):
            self._change(lambda watching: watching.show_stage(names[number - 1] if number else ""))

    # screens on top

    def action_zoom(self) -> None:
        """Fills the screen with what has the focus."""
        panel = self.query_one(WatchBody).panel
        if panel is None:
            self.on_sample_opened()
        else:
            self.on_zoom_requested(ZoomRequested(panel))

    def on_zoom_requested(self, message: ZoomRequested) -> None:
        """Fills the screen with a panel."""
        from slmctl.tui.watch.dialogs import ZoomScreen

        if self._watching is not None:
            self._zoom = ZoomScreen(message.panel, self._watching)
            self.app.push_screen(self._zoom, self._leave_zoom)

    def _leave_zoom(self, _: None) -> None:
        self._zoom = None
        self._show()

    def on_sample_opened(self) -> None:
        """Shows the chosen sample in full."""
        from slmctl.tui.watch.dialogs import TextDialog

        if self._watching is not None and self._watching.spot.place >= 0:
            self.app.push_screen(TextDialog("sample", self._watching.sample_rows))

    def action_alarms(self) -> None:
        """Lists all alarms."""
        from slmctl.tui.watch.dialogs import TextDialog

        if self._watching is not None:
            texts = alert_texts(self._watching.stories) or ["No alarm was raised."]
            self.app.push_screen(TextDialog("alarms", lambda width: paragraphs(texts, width)))

    def action_metrics(self) -> None:
        """Lets a person choose what is shown of this stage."""
        from slmctl.tui.watch.dialogs import MetricPicker

        if self._watching is not None and self._watching.known_metrics:
            screen = MetricPicker(self._watching.stage, self._watching.known_metrics, self._watching.shown_metrics)
            self.app.push_screen(screen, self._pick)

    def _pick(self, names: list[str] | None) -> None:
        if names is not None:
            self._change(lambda watching: watching.pick(names))
            self.query_one(WatchBody).begin()

    def action_copy(self) -> None:
        """Copies the values that the focused panel shows, or the chosen sample."""
        if self._watching is not None:
            panel = self.query_one(WatchBody).panel
            self._playground.copy(clean(self._watching.copied(panel)))

    # controls

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What nobody would hear is not offered."""
        word = self._watching.story.pulse.word if self._watching else ""
        if action == "go_on":
            return word in (*RESUMABLE, "paused")
        if action in ("samples", "filter"):
            at_samples = self.query_one(WatchBody).at_samples
            return at_samples is not None and parameters in ((), (not at_samples,))
        if action == "all_samples":
            return self._watching is not None and bool(self._watching.wanted)
        if action not in ("ask", "stop"):
            return True
        return word in WORKING and parameters != (("pause",) if word == "paused" else ("resume",))

    def action_stop(self) -> None:
        """Stops the chosen run, after asking."""
        if self._watching is not None:
            name = self._watching.story.name
            self.app.push_screen(confirm_stop(name), lambda sure: self.action_ask("stop") if sure else None)

    def action_ask(self, request: str) -> None:
        """Asks the chosen run to pause, resume, save or stop; it answers after its step."""
        if self._watching is None:
            return
        story = self._watching.story
        if no := refusal(story, request):
            self._playground.say(no, "warning")
        else:
            self.run_worker(self._following.ask(story.name, request), group="ask")

    def on_request_sent(self, message: RequestSent) -> None:
        """Shows how far the request has come."""
        if message.error:
            self._playground.say(f"{message.run}: cannot ask for {message.request}: {message.error}", "error")
            return
        self._requests.note(message.run, SentRequest(message.number, message.request, time.time()))
        self._following.look_now()
        self._show_head()

    def action_refuse(self, what: str) -> None:
        """Says why a control that is not offered now would do nothing."""
        if self._watching is not None:
            story = self._watching.story
            self._playground.say(nothing_to_do(what, story.name, story.pulse.word), "warning")

    async def action_go_on(self) -> None:
        """Ends the pause, or starts the run's process again where it was."""
        if self._watching is not None:
            story = self._watching.story
            run = RunDir(self._playground.start.home / story.name)
            if story.pulse.word == "paused":
                self.action_ask("resume")
            else:
                await self._playground.launches.go_on(run, story.pulse.last, self)

    def on_launch_begun(self, message: messages.LaunchBegun) -> None:
        """Looks at once."""
        self._following.look_now()

    def on_launch_refused(self, message: messages.LaunchRefused) -> None:
        """Says why the run does not go on."""
        self._playground.say(f"{message.run} does not go on: {message.error}", "error")

    async def action_leave(self) -> None:
        """Leaves the runs to themselves: out of the playground where it was opened to watch, else back."""
        if self._playground.start.mode == "train":
            self.app.exit()
        else:
            await self._playground.action_back()
