"""The playground: one app, a screen a mode, one sampler child that chat and label share.

Wiring only: what a mode shows is its screen's job (screens/), what stands in it is a widget's (widgets/). A screen is
imported when its mode is first opened. The bar at the top and the keys at the bottom of a mode's screen come from here.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual._context import active_message_pump
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.dom import DOMNode
from textual.errors import NoWidget
from textual.events import Event, Key, MouseEvent, Paste
from textual.filter import LineFilter
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen, Screen
from textual.theme import Theme

from slmctl.console.safe import clean, one_line
from slmctl.runs.overview import Overview
from slmctl.tui.ascii_marks import AsciiMarks
from slmctl.tui.key_queue import KeysInTurn
from slmctl.tui.messages import ModeChosen, OpenChat, OpenForm, OpenLabel, OpenRuns
from slmctl.tui.no_color import Uncoloured
from slmctl.tui.preferences import Choices, keep_theme, read_choices
from slmctl.tui.runs.launches import Launches
from slmctl.tui.runs.run_changes import RunChanges
from slmctl.tui.start import MODES, Start
from slmctl.tui.widgets.key_line import KeyLine
from slmctl.tui.widgets.mode_bar import ModeBar
from slmctl.worker.sampler import Sampler, SamplerGone

CLOSING_S = 3.0
PROBLEM_S = 20.0
PROBLEMS = 3  # that a note has room for
COPIED = 60
SIDE_BY_SIDE = 120  # columns from which panes stand beside each other rather than stacked


def _commands() -> type[Provider]:
    from slmctl.tui.palette import Commands

    return Commands


class Playground(App[None]):
    """All modes. `sampler` is made when a mode first asks for one; `choices` is the file of keys and theme, if any.

    `fault` is the error that ended it, where one did.
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

    def __init__(self, start: Start, sampler: Sampler | None = None, choices: Path | None = None) -> None:
        super().__init__()
        self.start = start
        self.overview = Overview(start.home)
        self.launches = Launches(self)
        self.run_changes = RunChanges(self)
        self._keys = KeysInTurn(self, super().on_event)
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (SIDE_BY_SIDE, "-wide")]  # classes that every screen gets
        self.watched = ""  # the run that was watched last, until Runs has put its cursor there
        self.fault: BaseException | None = None
        self._sampler = sampler
        self._choices_file = choices
        self._choices = Choices()
        self._came_from: list[str] = []
        self._switching = asyncio.Lock()  # modes are opened one at a time, whoever asks

    async def on_mount(self) -> None:
        """Opens the mode that was asked for."""
        self._choose()
        for mode in MODES:
            self.add_mode(mode, partial(_screen, mode))
        await self.open_mode(self.start.mode)

    async def on_unmount(self) -> None:
        """Ends the sampler child; one that does not end in time sees its input end with this process."""
        self.launches.settle()
        if self._sampler is not None:
            with suppress(TimeoutError, SamplerGone):
                await asyncio.wait_for(self._sampler.close(), CLOSING_S)

    async def on_event(self, event: Event) -> None:
        """Hands keys on one after the other, and everything else as Textual does."""
        if isinstance(event, Key | Paste) and not event.is_forwarded:
            await self._keys.take(event)
        elif not (isinstance(event, MouseEvent) and self._is_gone(event)):
            await super().on_event(event)

    def _is_gone(self, event: MouseEvent) -> bool:
        """Whether what is drawn under the mouse has been removed since; Textual counts on its parent."""
        try:
            return not self.get_widget_at(event.x, event.y)[0].is_attached
        except NoWidget:
            return False

    async def open_mode(self, mode: str, note: Message | None = None) -> None:
        """Goes to a mode, which keeps its state; its first screen comes on top where it is handed a note."""
        async with self._switching:
            came_from = [earlier for earlier in (*self._came_from, self.current_mode) if earlier in MODES]
            self._came_from = [earlier for earlier in dict.fromkeys(reversed(came_from)) if earlier != mode][::-1]
            first = mode == self.current_mode or note is not None
            await self._show(mode)
            while first and len(self.screen_stack) > 1:
                super().pop_screen()  # not awaited: the screen on top may be the one that asks
            if note is not None:
                self.screen.post_message(note)

    async def _show(self, mode: str) -> None:
        """Switches to a mode; its first screen gets the bar and the keys, once."""
        with self.batch_update():
            await self.switch_mode(mode)
            screen = self.screen_stack[0]
            if not screen.query(ModeBar):
                await screen.mount(ModeBar(mode, self.key_of, str(self.start.home)))
            if not screen.query(KeyLine):
                await screen.mount(KeyLine())
            screen.refresh_bindings()  # it was mounted after the screen said what its keys are

    async def open_train(self, runs: Iterable[str]) -> None:
        """Shows runs in Train."""
        await self.open_mode("train", OpenRuns(tuple(runs)))

    async def open_chat(self, models: Iterable[str]) -> None:
        """Talks to models in Chat."""
        await self.open_mode("chat", OpenChat(tuple(models)))

    async def open_label(self, models: Iterable[str]) -> None:
        """Labels responses of models in Label."""
        await self.open_mode("label", OpenLabel(tuple(models)))

    async def open_form(self, target: str, parent: str | None = None) -> None:
        """Opens the form that starts a stage, or everything."""
        await self.open_mode("runs", OpenForm(target, parent))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys of the modes work before those of text fields, some of which are the same, but not below a modal."""
        return action != "mode" or not isinstance(self.screen, ModalScreen)

    async def action_mode(self, mode: str) -> None:
        """Goes to a mode."""
        await self.open_mode(mode)

    async def on_mode_chosen(self, message: ModeChosen) -> None:
        """Goes to the mode that was clicked."""
        await self.open_mode(message.mode)

    async def action_back(self) -> None:
        """Leaves the screen that lies on top; else goes to the mode that was shown before, or to the runs."""
        if len(self.screen_stack) > 1:
            await self.pop_screen()
        else:
            async with self._switching:
                await self._show(self._came_from.pop() if self._came_from else "runs")

    def push_screen(
        self, screen: Any, callback: Any = None, wait_for_dismiss: Any = False, *, mode: str | None = None
    ) -> Any:
        """Opens a screen over the mode whose message handler asks for it, even if another mode is shown by now."""
        asking = self._asking_screen()
        own = (name for name, stack in self._screen_stacks.items() if asking in stack)
        return super().push_screen(screen, callback, wait_for_dismiss, mode=mode or next(own, None))

    def pop_screen(self) -> AwaitComplete:
        """Closes the screen on top, unless another one asks: one that is closed already must not close the next."""
        asking = self._asking_screen()
        return super().pop_screen() if asking in (None, self.screen) else AwaitComplete()

    def _asking_screen(self) -> Screen[Any] | None:
        """The screen whose message handler runs; None while the app's own does, as it does for keys."""
        pump = active_message_pump.get(self)
        nodes = pump.ancestors_with_self if isinstance(pump, DOMNode) else []
        return next((node for node in nodes if isinstance(node, Screen)), None)

    def action_command_palette(self) -> None:
        """Opens the command palette, unless it is open."""
        from slmctl.tui.palette import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def search_themes(self) -> None:
        """Opens the palette of themes."""
        from textual.theme import ThemeProvider

        from slmctl.tui.palette import Palette

        self.push_screen(Palette([ThemeProvider], placeholder="Search for themes..."))

    def action_help(self) -> None:
        """Shows what can be done now, from the widget that has the focus up to the app."""
        from slmctl.tui.help import HelpScreen

        self.push_screen(HelpScreen(self.screen, self.current_mode))

    def open_guide(self, topic: str | None = None) -> None:
        """Opens a page of the manual, or its list of topics."""
        from slmctl.tui.guide import GuideScreen

        self.push_screen(GuideScreen(topic))

    @property
    def sampler(self) -> Sampler:
        """The one sampler of the playground."""
        if self._sampler is None:
            from slmctl.worker.client import ChildSampler

            self._sampler = ChildSampler(self.start.home, self.start.options)
        return self._sampler

    def key_of(self, binding: str) -> str:
        """The key of a binding of the app, as it is shown."""
        mine = next(item for item in Binding.make_bindings(self.BINDINGS) if item.id == binding)
        first = self._choices.keys.get(binding, mine.key).split(",")[0].strip()
        return self.get_key_display(Binding(first, mine.action)).upper()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What is done to every line before it is drawn."""
        own = [*([Uncoloured()] if self.no_color else []), *([AsciiMarks()] if self.start.ascii else [])]
        return [*super().get_line_filters(), *own]

    def get_key_display(self, binding: Binding) -> str:
        """How a key is shown; in ASCII only where that was asked for."""
        shown = super().get_key_display(binding)
        return shown if shown.isascii() or not self.start.ascii else binding.key

    def copy(self, text: str) -> None:
        """Copies a text, as far as it can be encoded, and says so."""
        self.copy_to_clipboard(text.encode(errors="replace").decode())
        self.say(f"copied: {one_line(text, COPIED)}")

    def say(self, text: str, severity: SeverityLevel = "information", timeout: float | None = None) -> None:
        """Shows a passing note; the text may be anybody's."""
        self.notify(clean(text), severity=severity, timeout=timeout, markup=False)

    def _choose(self) -> None:
        """Takes over keys and theme, tells what is wrong with their file, and keeps a theme that is chosen later."""
        if self._choices_file is None:
            return
        from slmctl.tui.keymap import binding_ids, clashes, key_named

        self._choices = read_choices(self._choices_file, self.available_themes, binding_ids, key_named)
        self.set_keymap(self._choices.keys)
        if self._choices.theme is not None:
            self.theme = self._choices.theme
        problems = [*self._choices.problems, *clashes(self._choices.keys)]
        if problems:
            more = [f"... and {len(problems) - PROBLEMS} more"] * (len(problems) > PROBLEMS)
            text = "\n".join([f"{self._choices_file}:", *problems[:PROBLEMS], *more])
            self.say(text, "warning", PROBLEM_S)
        self.theme_changed_signal.subscribe(self, partial(self._keep_theme, self._choices_file))

    def _keep_theme(self, file: Path, theme: Theme) -> None:
        try:
            keep_theme(file, theme.name)
        except (OSError, ValueError) as error:
            self.say(f"the theme holds until you leave; {file} was not changed: {error}", "warning")

    def end_with(self, fault: BaseException | None) -> None:
        """Has whoever opened the playground tell of an error once the terminal is back; of several the first."""
        self.fault = self.fault or fault

    def _fatal_error(self) -> None:
        """Ends the playground with the error that could not be dealt with."""
        self.end_with(sys.exc_info()[1])
        self._close_messages_no_wait()


def _screen(mode: str) -> Screen[None]:
    """A mode's screen; the others are not imported."""
    if mode == "runs":
        from slmctl.tui.runs.screen import RunsScreen

        return RunsScreen()
    if mode == "train":
        from slmctl.tui.watch.screen import WatchScreen

        return WatchScreen()
    if mode == "chat":
        from slmctl.tui.chat.screen import ChatScreen

        return ChatScreen()
    from slmctl.tui.label.screen import LabelScreen

    return LabelScreen()
