"""The playground: one app with a screen per mode, and one sampler child that Chat and Label share.

Wiring only: each mode lives in its own folder. A mode's screen is imported when it is first opened; the app adds the
bar at its top and the keys at its bottom.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, cast

from textual._context import active_message_pump
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.errors import NoWidget
from textual.events import Event, Key, MouseEvent, Paste
from textual.filter import LineFilter
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen, Screen
from textual.theme import Theme
from textual.widget import Widget
from textual.worker import WorkerFailed, active_worker

from slmctl.console.safe import clean, one_line
from slmctl.runs.overview import Overview
from slmctl.tui.key_queue import KeyQueue
from slmctl.tui.keymap import clashes
from slmctl.tui.line_filters import AsciiMarks, NoColor
from slmctl.tui.messages import ModeChosen, OpenChat, OpenForm, OpenLabel, OpenRuns
from slmctl.tui.playground import MODES, Start
from slmctl.tui.preferences import Preferences, read_preferences, save_theme
from slmctl.tui.runs.launches import LaunchedCommands, RunChanges
from slmctl.tui.widgets.key_line import KeyLine
from slmctl.tui.widgets.mode_bar import ModeBar
from slmctl.tui.widgets.option_list import Palette
from slmctl.worker.protocol import Sampler, SamplerGone

SCREENS = {
    "runs": ("runs", "RunsScreen"),
    "train": ("watch", "WatchScreen"),
    "chat": ("chat", "ChatScreen"),
    "label": ("label", "LabelScreen"),
}
CLOSING_S = 3.0
PROBLEM_S = 20.0
PROBLEMS = 3  # as many as a note has room for
COPIED = 60
SIDE_BY_SIDE = 120  # columns from which panes are side by side rather than stacked


def _commands() -> type[Provider]:
    return cast("type[Provider]", import_module("slmctl.tui.palette").Commands)


class Playground(App[None]):
    """All modes. `sampler` is made when a mode first needs one; `preferences` is the file of keys and theme, if any.

    `fault` is the error that ended the app, if any.
    """

    TITLE = "slmctl"
    CSS_PATH = Path(__file__).with_name("playground.tcss")
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_commands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "mode('runs')", "Runs", id="mode.runs", show=False, priority=True),
        Binding("f3", "mode('train')", "Train", id="mode.train", show=False, priority=True),
        Binding("f5", "mode('chat')", "Chat", id="mode.chat", show=False, priority=True),
        Binding("f6", "mode('label')", "Label", id="mode.label", show=False, priority=True),
        Binding("question_mark,f1", "help", "Help", id="help"),
        Binding("ctrl+p", "command_palette", "Commands", id="palette", show=False, priority=True),
        Binding("escape", "back", "Back", id="back", show=False),
        Binding("ctrl+q", "quit", "Quit", id="quit", show=False, priority=True),
    ]

    def __init__(self, start: Start, sampler: Sampler | None = None, preferences: Path | None = None) -> None:
        super().__init__()
        self.start = start
        self.overview = Overview(start.home)
        self.launches = LaunchedCommands(self, self.say)
        self.run_changes = RunChanges(self, start.home, self.say, self.select_run)
        self._keys = KeyQueue(self, super().on_event)
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (SIDE_BY_SIDE, "-wide")]  # classes of every screen
        self.watched = ""  # the run to which Runs moves its cursor when it is shown next
        self.fault: BaseException | None = None
        self._sampler = sampler
        self._preferences_file = preferences
        self._preferences = Preferences()
        self._came_from: list[str] = []
        self._switching = asyncio.Lock()  # one mode is opened at a time

    async def on_mount(self) -> None:
        """Opens the mode of the command line."""
        self._apply_preferences()
        for mode in MODES:
            self.add_mode(mode, partial(_screen, mode))
        await self.open_mode(self.start.mode)

    async def on_unmount(self) -> None:
        """Ends the sampler child; if it is late, the end of its input ends it after this process."""
        self.launches.settle()
        if self._sampler is not None:
            with suppress(TimeoutError, SamplerGone):
                await asyncio.wait_for(self._sampler.close(), CLOSING_S)

    async def on_event(self, event: Event) -> None:
        """Delivers keys one by one, everything else as Textual does."""
        if isinstance(event, Key | Paste) and not event.is_forwarded:
            await self._keys.take(event)
        elif not (isinstance(event, MouseEvent) and self._is_gone(event)):
            await super().on_event(event)

    def _is_gone(self, event: MouseEvent) -> bool:
        """Whether the widget under the mouse has been removed, in which case Textual fails on its parent."""
        try:
            return not self.get_widget_at(event.x, event.y)[0].is_attached
        except NoWidget:
            return False

    async def open_mode(self, mode: str, note: Message | None = None) -> None:
        """Shows a mode, which keeps its state; `note` is posted to its first screen, which is then on top."""
        async with self._switching:
            came_from = [earlier for earlier in (*self._came_from, self.current_mode) if earlier in MODES]
            self._came_from = [earlier for earlier in dict.fromkeys(reversed(came_from)) if earlier != mode][::-1]
            first = mode == self.current_mode or note is not None
            await self._show(mode)
            while first and len(self.screen_stack) > 1:
                super().pop_screen()  # not awaited: the top screen may be the caller
            if note is not None:
                self.screen.post_message(note)

    async def _show(self, mode: str) -> None:
        """Switches to a mode; its first screen gets the bar and the keys once."""
        with self.batch_update():
            await self.switch_mode(mode)
            screen = self.screen_stack[0]
            if not screen.query(ModeBar):
                await screen.mount(ModeBar(mode, self.key_of, str(self.start.home)))
            if not screen.query(KeyLine):
                await screen.mount(KeyLine())
            screen.refresh_bindings()  # the key line missed the first signal

    async def open_train(self, runs: Iterable[str]) -> None:
        """Shows runs in Train."""
        await self.open_mode("train", OpenRuns(tuple(runs)))

    async def open_chat(self, models: Iterable[str]) -> None:
        """Chats with models in Chat."""
        await self.open_mode("chat", OpenChat(tuple(models)))

    async def open_label(self, models: Iterable[str]) -> None:
        """Labels responses of models in Label."""
        await self.open_mode("label", OpenLabel(tuple(models)))

    async def open_form(self, target: str, parent: str | None = None) -> None:
        """Opens the form that starts a stage or a whole run."""
        await self.open_mode("runs", OpenForm(target, parent))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disables the mode keys below a modal; elsewhere they take precedence over those of text fields."""
        return action != "mode" or not isinstance(self.screen, ModalScreen)

    async def action_mode(self, mode: str) -> None:
        """Shows a mode."""
        await self.open_mode(mode)

    async def on_mode_chosen(self, message: ModeChosen) -> None:
        """Shows the mode that was clicked."""
        await self.open_mode(message.mode)

    async def action_back(self) -> None:
        """Closes the top screen; else shows the previous mode, or Runs."""
        if len(self.screen_stack) > 1:
            await self.pop_screen()
        else:
            async with self._switching:
                await self._show(self._came_from.pop() if self._came_from else "runs")

    def push_screen(
        self, screen: Any, callback: Any = None, wait_for_dismiss: Any = False, *, mode: str | None = None
    ) -> Any:
        """Opens a screen over the mode whose message handler calls this, even if another mode is shown by now."""
        caller = self._calling_screen()
        own = (name for name, stack in self._screen_stacks.items() if caller in stack)
        return super().push_screen(screen, callback, wait_for_dismiss, mode=mode or next(own, None))

    def pop_screen(self) -> AwaitComplete:
        """Closes the top screen, unless another one calls this: a closed screen must not close the next."""
        caller = self._calling_screen()
        return super().pop_screen() if caller in (None, self.screen) else AwaitComplete()

    def _calling_screen(self) -> Screen[Any] | None:
        """The screen whose message handler is running; None for the app's own, as for keys."""
        pump = active_message_pump.get(self)
        nodes = pump.ancestors_with_self if isinstance(pump, DOMNode) else []
        return next((node for node in nodes if isinstance(node, Screen)), None)

    def select_run(self, name: str) -> None:
        """Has Runs move its cursor to a run."""
        self.watched = name

    def action_command_palette(self) -> None:
        """Opens the command palette unless it is open."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def search_themes(self) -> None:
        """Opens the palette of themes."""
        from textual.theme import ThemeProvider

        self.push_screen(Palette([ThemeProvider], placeholder="Search for themes..."))

    def action_help(self) -> None:
        """Shows the keys that work now, from the focused widget up to the app."""
        from slmctl.tui.help import HelpScreen

        self.push_screen(HelpScreen(self.screen, self.current_mode))

    def open_guide(self, topic: str | None = None) -> None:
        """Opens a page of the manual, or its list of topics."""
        from slmctl.tui.guide import GuideScreen

        self.push_screen(GuideScreen(topic))

    @property
    def sampler(self) -> Sampler:
        """The sampler child that Chat and Label share."""
        if self._sampler is None:
            from slmctl.worker.client import ChildSampler

            self._sampler = ChildSampler(self.start.home, self.start.options)
        return self._sampler

    def key_of(self, binding: str) -> str:
        """The key of one of the app's bindings, as displayed."""
        mine = next(item for item in Binding.make_bindings(self.BINDINGS) if item.id == binding)
        first = self._preferences.keys.get(binding, mine.key).split(",")[0].strip()
        return self.get_key_display(Binding(first, mine.action)).upper()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """The filters of every line before it is drawn."""
        own = [*([NoColor()] if self.no_color else []), *([AsciiMarks()] if self.start.ascii else [])]
        return [*super().get_line_filters(), *own]

    def get_key_display(self, binding: Binding) -> str:
        """The displayed name of a key, in ASCII with --ascii."""
        shown = super().get_key_display(binding)
        return shown if shown.isascii() or not self.start.ascii else binding.key

    def copy(self, text: str) -> None:
        """Copies a text, as far as it can be encoded, and shows a note."""
        self.copy_to_clipboard(text.encode(errors="replace").decode())
        self.say(f"copied: {one_line(text, COPIED)}")

    def say(self, text: str, severity: SeverityLevel = "information", timeout: float | None = None) -> None:
        """Shows a passing note; the text may come from anywhere."""
        self.notify(clean(text), severity=severity, timeout=timeout, markup=False)

    def _apply_preferences(self) -> None:
        """Sets keys and theme, shows what is wrong in their file, and saves a theme that is chosen later."""
        if self._preferences_file is None:
            return
        self._preferences = read_preferences(self._preferences_file, self.available_themes)
        self.set_keymap(self._preferences.keys)
        if self._preferences.theme is not None:
            self.theme = self._preferences.theme
        problems = [*self._preferences.problems, *clashes(self._preferences.keys)]
        if problems:
            more = [f"... and {len(problems) - PROBLEMS} more"] * (len(problems) > PROBLEMS)
            text = "\n".join([f"{self._preferences_file}:", *problems[:PROBLEMS], *more])
            self.say(text, "warning", PROBLEM_S)
        self.theme_changed_signal.subscribe(self, partial(self._save_theme, self._preferences_file))

    def _save_theme(self, file: Path, theme: Theme) -> None:
        try:
            save_theme(file, theme.name)
        except (OSError, ValueError) as error:
            self.say(f"the theme was not saved: {file} could not be changed: {error}", "warning")

    def end_with(self, fault: BaseException | None) -> None:
        """Keeps the first error, to be reported once the terminal is restored."""
        self.fault = self.fault or fault

    def _handle_exception(self, error: Exception) -> None:
        """Ignores that a removed widget's last handler or worker no longer finds the widgets below it."""
        cause: BaseException = error
        node: object = active_message_pump.get(self)
        if isinstance(error, WorkerFailed):
            cause, node = error.error, active_worker.get().node
        if not (isinstance(cause, NoMatches) and isinstance(node, Widget) and (node._pruning or not node.is_attached)):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Ends the playground with an unhandled error."""
        self.end_with(sys.exc_info()[1])
        self._close_messages_no_wait()


def _screen(mode: str) -> Screen[None]:
    """A mode's screen; other modes are not imported."""
    package, name = SCREENS[mode]
    return cast("Screen[None]", getattr(import_module(f"slmctl.tui.{package}.screen"), name)())
