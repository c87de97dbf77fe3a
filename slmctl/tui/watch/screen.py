"""The Train mode: metrics of one or more runs as they move, the samples of each step, alerts, and controls.

Users see the mode as Train, the command is `slmctl watch`, and in code everything is `watch`. It follows run
directories and shows what slmctl/watch makes of them; the runs do not depend on this screen.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import ACTIVE
from slmctl.console.safe import clean, one_line
from slmctl.tui.messages import FilterChanged, OpenRuns
from slmctl.tui.runs.launches import LaunchBegun, LaunchRefused
from slmctl.tui.watch.body import SampleList, WatchBody
from slmctl.tui.watch.follow import FollowLoop
from slmctl.tui.watch.messages import (
    CursorMoved,
    RequestSent,
    RunsFound,
    RunsPolled,
    SampleChosen,
    StageChosen,
    StepChosen,
)
from slmctl.tui.watch.run_header import RunHeader
from slmctl.tui.widgets.dialogs import confirm_stop
from slmctl.tui.widgets.filter_line import FilterLine
from slmctl.watch.controls import RESUMABLE, SentRequest, SentRequests, nothing_to_do, refusal
from slmctl.watch.frame import alert_texts
from slmctl.watch.history import RunHistory
from slmctl.watch.panels import ChartView
from slmctl.watch.samples import paragraphs
from slmctl.watch.state import VIEW_ACTIONS, WatchState

if TYPE_CHECKING:
    from slmctl.tui.app import Playground
    from slmctl.tui.watch.dialogs import ZoomScreen

CONTROLS = (("p", "pause"), ("s", "save"), ("x", "stop"), ("g", "resume"))
EMPTY = "No runs in {} yet.\n\nTo start one, type: slmctl run --preset tiny\nor press F2, then n."


class WatchScreen(Screen[None]):
    """The runs that are followed, or what to type if there are none."""

    HELP = (
        "The cursor points at the same step in every chart, in the plane and in the samples. "
        "Until you move it, everything follows the newest step."
    )
    AUTO_FOCUS = ""  # the first panel takes it, once there is one
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "send('pause')", "Pause", id="train.pause"),
        Binding("p", "send('resume')", "Unpause", id="train.unpause"),
        Binding("s", "send('save')", "Save", id="train.save"),
        Binding("x", "stop", "Stop", id="train.stop"),
        Binding("g", "resume", "Resume", id="train.resume"),
        *(Binding(key, f"refuse('{what}')", id=f"train.{what}", show=False) for key, what in CONTROLS),
        Binding("tab", "next_panel(1)", "Next", id="train.next"),
        Binding("shift+tab", "next_panel(-1)", "Previous panel", id="train.previous", show=False),
        Binding("v", "samples(True)", "Samples", id="train.samples"),
        Binding("v", "samples(False)", "Charts", id="train.charts"),
        Binding("q", "leave", "Leave", id="train.leave"),
        Binding("m", "look('smooth')", "Smooth", id="train.smooth"),
        Binding("l", "look('log')", "Log scale", id="train.log"),
        Binding("z", "zoom", "Full screen", id="train.zoom"),
        Binding("c", "metrics", "Choose metrics", id="train.metrics"),
        Binding("a", "alerts", "All alerts", id="train.alerts"),
        Binding("slash", "filter", "Filter samples", id="train.filter"),
        Binding("y", "copy", "Copy", id="train.copy"),
        Binding("escape", "all_samples", "All samples", id="train.all_samples", show=False),
        Binding("left_square_bracket", "look('samples_before')", "Previous samples", id="train.before", show=False),
        Binding("right_square_bracket", "look('samples_after')", "Next samples", id="train.after", show=False),
        Binding("plus,equals_sign", "look('narrower')", "Fewer steps", id="train.narrower", show=False),
        Binding("minus", "look('wider')", "More steps", id="train.wider", show=False),
        Binding("home", "look('oldest')", "First step", id="train.oldest", show=False),
        Binding("end", "look('newest')", "Newest step", id="train.newest", show=False),
        Binding("exclamation_mark", "look('alert')", "Step of the previous alert", id="train.alert", show=False),
        Binding("r", "look('next_run')", "Next run", id="train.next_run", show=False),
        Binding("0", "stage(0)", "Follow the run", id="train.follow", show=False),
        *(Binding(str(n), f"stage({n})", f"Stage {n}", id=f"train.stage{n}", show=False) for n in range(1, 7)),
    ]

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._watch: WatchState | None = None
        self._requests = SentRequests()
        self._zoom: ZoomScreen | None = None

    @property
    def _playground(self) -> "Playground":
        return cast("Playground", self.app)

    def compose(self) -> ComposeResult:
        """The header, the panels and the samples; in an empty folder what to do."""
        yield RunHeader()
        yield WatchBody()
        yield Static("", markup=False, id="train-empty")

    def on_mount(self) -> None:
        """Starts to follow."""
        start = self._playground.start
        self._show_empty("looking for runs")
        self._loop = FollowLoop(self, start.home, start.runs, self._clock)
        self.call_after_refresh(self._follow)

    def _follow(self) -> None:
        self.run_worker(self._loop.run(self._is_below_all), group="follow")

    def _is_below_all(self) -> bool:
        """Whether this mode is shown; while the playground ends there may be no screen left."""
        return self.app.screen_stack[:1] == [self]

    def on_open_runs(self, message: OpenRuns) -> None:
        """Follows other runs."""
        self._playground.watched = next(iter(message.names), "")
        self._loop.find(message.names)

    def on_screen_resume(self) -> None:
        """Polls at once when the mode is shown again."""
        if self.is_mounted:
            self._loop.poll_now()
            self._record_watched()

    def _record_watched(self) -> None:
        """Records which run is watched, at once: Runs may be resumed before this screen is suspended."""
        if self._watch is not None and self._is_below_all():
            self._playground.watched = self._watch.run.name

    def on_runs_found(self, message: RunsFound) -> None:
        """Follows what was found, or shows what to do."""
        start = self._playground.start
        if not message.runs:
            self._show_empty(message.error or EMPTY.format(one_line(str(start.home))))
            return
        self._watch = WatchState([RunHistory(run.name) for run in message.runs], ChartView(ascii=start.ascii))
        self._loop.follow(message.runs)

    def on_runs_polled(self, message: RunsPolled) -> None:
        """Shows what is new."""
        watch = self._watch
        if watch is None or message.turn != self._loop.turn:
            return
        stage, offered = watch.stage, (watch.run.process.state, bool(watch.sampled_steps))
        if watch.add(message.updates):
            self._show()
        else:
            self._show_header()
        if watch.stage != stage:
            self.query_one(WatchBody).to_first_panel()
        if (watch.run.process.state, bool(watch.sampled_steps)) != offered:
            self.refresh_bindings()

    # showing

    def _show_empty(self, text: str) -> None:
        self.query_one("#train-empty", Static).update(Content(clean(text)))
        self.query_one("#train-empty").display = True  # above the charts, which have their size before they are drawn

    def _show(self) -> None:
        if self._watch is None:
            return
        self._record_watched()
        self.query_one("#train-empty").display = False
        self.query_one(WatchBody).show_state(self._watch)
        self._show_header()
        if self._zoom is not None:
            self._zoom.call_later(self._zoom.show_state, self._watch)  # it may not be composed yet, or be closing

    def _show_header(self) -> None:
        if self._watch is not None:
            now = self._clock()
            requests = self._requests.report(self._watch.runs, now)
            self.query_one(RunHeader).show_state(self._watch, now, requests, self.query_one(WatchBody).asides)

    def _change(self, change: Callable[[WatchState], object]) -> None:
        """Changes the state of the mode, and shows it."""
        if self._watch is not None:
            stage = self._watch.stage
            change(self._watch)
            self._show()
            if self._watch.stage != stage:
                self.query_one(WatchBody).to_first_panel()
                self.refresh_bindings()

    def on_cursor_moved(self, message: CursorMoved) -> None:
        """Points at another step."""
        self._change(lambda watch: watch.move(message.by, message.columns))

    def on_step_chosen(self, message: StepChosen) -> None:
        """Points at a step."""
        self._change(lambda watch: watch.point(message.step))

    def on_stage_chosen(self, message: StageChosen) -> None:
        """Shows a stage."""
        self._change(lambda watch: watch.show_stage(message.stage))

    def on_sample_chosen(self, message: SampleChosen) -> None:
        """Chooses a sample."""
        self._change(lambda watch: watch.choose_sample(message.number))

    def on_descendant_focus(self) -> None:
        """Shows the page of the part with the focus."""
        self._show_header()

    def action_next_panel(self, by: int) -> None:
        """Goes to another panel, or to the samples."""
        self.query_one(WatchBody).next_panel(by)
        self._show_header()

    def action_samples(self, _: bool) -> None:
        """Goes to the samples, or back to the charts."""
        self.query_one(WatchBody).to_samples()
        self._show_header()

    def action_filter(self) -> None:
        """Opens the line to type a filter for samples in."""
        self.query_one(WatchBody).open_filter()
        self._show_header()

    def action_all_samples(self) -> None:
        """Clears the filter."""
        self.query_one(FilterLine).action_clear()

    def on_filter_changed(self, message: FilterChanged) -> None:
        """Lists the samples that contain the typed text."""
        self._change(lambda watch: watch.set_filter(message.text))
        if message.done:
            self.set_focus(self.query_one(SampleList))

    def action_look(self, how: str) -> None:
        """Changes the view in the way that VIEW_ACTIONS names."""
        self._change(VIEW_ACTIONS[how])

    def action_stage(self, number: int) -> None:
        """Shows a stage by its number; 0 follows the run."""
        names = self._watch.run.stage_names if self._watch else []
        if number <= len(names):
            self._change(lambda watch: watch.show_stage(names[number - 1] if number else ""))

    # screens on top

    def action_zoom(self) -> None:
        """Fills the screen with the panel or sample that has the focus."""
        from slmctl.tui.watch.dialogs import TextDialog, ZoomScreen

        panel = self.query_one(WatchBody).panel
        if self._watch is not None and panel is not None:
            self._zoom = ZoomScreen(panel, self._watch)
            self.app.push_screen(self._zoom, self._leave_zoom)
        elif self._watch is not None and self._watch.position.step_index >= 0:
            self.app.push_screen(TextDialog("sample", self._watch.sample_rows))

    def _leave_zoom(self, _: None) -> None:
        self._zoom = None
        self._show()

    def action_alerts(self) -> None:
        """Lists all alerts."""
        from slmctl.tui.watch.dialogs import TextDialog

        if self._watch is not None:
            texts = alert_texts(self._watch.runs) or ["No alerts."]
            self.app.push_screen(TextDialog("alerts", lambda width: paragraphs(texts, width)))

    def action_metrics(self) -> None:
        """Opens the picker of metrics."""
        from slmctl.tui.watch.dialogs import MetricPicker

        if self._watch is not None and self._watch.known_metrics:
            picker = MetricPicker(self._watch.stage, self._watch.known_metrics, self._watch.shown_metrics)
            self.app.push_screen(picker, self._pick)

    def _pick(self, names: list[str] | None) -> None:
        if names is not None:
            self._change(lambda watch: watch.pick(names))
            self.query_one(WatchBody).to_first_panel()

    def action_copy(self) -> None:
        """Copies the values of the focused panel, or the chosen sample."""
        if self._watch is not None:
            panel = self.query_one(WatchBody).panel
            self._playground.copy(clean(self._watch.copied(panel)))

    # controls

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hides controls that would change nothing."""
        state = self._watch.run.process.state if self._watch else ""
        if action == "resume":
            return state in (*RESUMABLE, "paused")
        if action in ("samples", "filter"):
            at_samples = self.query_one(WatchBody).at_samples
            return at_samples is not None and parameters in ((), (not at_samples,))
        if action == "all_samples":
            return self._watch is not None and bool(self._watch.filter)
        if action not in ("send", "stop"):
            return True
        return state in ACTIVE and parameters != (("pause",) if state == "paused" else ("resume",))

    def action_stop(self) -> None:
        """Asks for confirmation, then stops the run."""
        if self._watch is not None:
            dialog = confirm_stop(self._watch.run.name)
            self.app.push_screen(dialog, lambda sure: self.action_send("stop") if sure else None)

    def action_send(self, request: str) -> None:
        """Asks the chosen run to pause, resume, save or stop, which it does after its step."""
        if self._watch is None:
            return
        if no := refusal(self._watch.run, request):
            self._playground.say(no, "warning")
        else:
            self.run_worker(self._loop.send(self._watch.run.name, request), group="send")

    def on_request_sent(self, message: RequestSent) -> None:
        """Shows how far the request has come."""
        if message.error:
            self._playground.say(f"{message.run}: cannot {message.request}: {message.error}", "error")
            return
        self._requests.add(message.run, SentRequest(message.number, message.request, self._clock()))
        self._loop.poll_now()
        self._show_header()

    def action_refuse(self, what: str) -> None:
        """Explains why a hidden control would change nothing."""
        if self._watch is not None:
            run = self._watch.run
            self._playground.say(nothing_to_do(what, run.name, run.process.state), "warning")

    async def action_resume(self) -> None:
        """Ends the pause, or starts a process that resumes from the last checkpoint."""
        if self._watch is not None:
            run = self._watch.run
            if run.process.state == "paused":
                self.action_send("resume")
            else:
                directory = RunDir(self._playground.start.home / run.name)
                await self._playground.launches.resume(directory, run.process.last_stage, self)

    def on_launch_begun(self, message: LaunchBegun) -> None:
        """Polls at once."""
        self._loop.poll_now()

    def on_launch_refused(self, message: LaunchRefused) -> None:
        """Shows why the run did not start."""
        self._playground.say(f"{message.run} did not start: {message.error}", "error")

    async def action_leave(self) -> None:
        """Leaves the runs to themselves: exits if the playground was opened to watch, otherwise goes back."""
        if self._playground.start.mode == "train":
            self.app.exit()
        else:
            await self._playground.action_back()
