"""A chat screen with a fake sampler, for tests: how to open it, type into it and read it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from textual.pilot import Pilot
from textual.widgets import Static

from engine.data.labels.store import Label, read_labels
from engine.rundir.directory import RunDir, write_text
from slmctl.tui.app import Playground
from slmctl.tui.chat.replies import ReplyPane
from slmctl.tui.chat.screen import ChatScreen
from slmctl.tui.playground import Start
from tests.support.fake_sampler import FakeSampler

TURNS_OF_LOOP = 400
MODELS = ("tiny:sft", "tiny:ppo")


def make_run(home: Path, name: str = "tiny", steps: tuple[int, ...] = (10, 20)) -> RunDir:
    """A run whose checkpoints are empty folders, which is enough for their names."""
    run = RunDir(home / name)
    write_text(run.run_toml, "schema = 2\n")
    for stage in ("pretrain", "sft", "rm", "ppo"):
        run.final(stage).mkdir(parents=True)
    for step in steps:
        run.step_dir("ppo", step).mkdir(parents=True)
    (run.final("ppo") / "value").mkdir()
    return run


@dataclass
class Talk:
    """An open chat."""

    app: Playground
    pilot: Pilot[None]
    fake: FakeSampler

    @property
    def screen(self) -> ChatScreen:
        """The chat screen, also below a dialog."""
        return cast(ChatScreen, self.app.screen_stack[0])

    async def until(self, holds: Callable[[], object], what: str = "it") -> None:
        """Waits until a condition holds, counted in turns of the event loop, not in seconds."""
        for _ in range(TURNS_OF_LOOP):
            await self.pilot.pause()
            if holds():
                return
            await asyncio.sleep(0.002)
        raise AssertionError(f"waited for {what}; the screen says {self.note()!r} and shows {self.shown()}")

    async def settled(self) -> None:
        """Waits until no reply, save or write is in progress."""
        busy = self.screen
        await self.until(lambda: not busy.chat.busy and not busy.streams.active, "the end of the replies")
        await self.app.workers.wait_for_complete()
        await self.pilot.pause()

    async def send(self, text: str) -> None:
        """Types a text, sends it, and waits until it has been processed."""
        self.screen.box.focus()
        self.screen.box.fill(text)
        await self.pilot.press("enter")
        await self.pilot.pause()

    async def say(self, text: str) -> None:
        """Sends a text and waits for the replies."""
        await self.send(text)
        await self.settled()

    async def press(self, *keys: str) -> None:
        """Presses keys and waits until their work has ended."""
        await self.pilot.press(*keys)
        await self.settled()

    @property
    def over(self) -> str:
        """The class name of the top screen."""
        return type(self.app.screen).__name__

    def contents(self, draw: int) -> list[str]:
        """The contents of the messages of a request."""
        (prompt,) = self.fake.draws[draw].prompts
        return [prompt] if isinstance(prompt, str) else [message.content for message in prompt]

    def panes(self) -> list[ReplyPane]:
        """All replies on the screen, from top to bottom."""
        return list(self.screen.query(ReplyPane))

    def shown(self) -> list[str]:
        """Their texts."""
        return [str(pane.render()) for pane in self.panes()]

    def note(self) -> str:
        """The note above the box."""
        return self.line("note")

    def line(self, name: str) -> str:
        """One of the lines of the screen: head, note, hint, legend."""
        widget = self.screen.query_one(f"#chat-{name}", Static)
        return str(widget.render()) if widget.display else ""


Script = Callable[[Talk], Awaitable[None]]


def talk(
    home: Path,
    script: Script,
    models: tuple[str, ...] = MODELS,
    fake: FakeSampler | None = None,
    size: tuple[int, int] = (80, 24),
    ascii: bool = False,
    **options: object,
) -> FakeSampler:
    """Opens a chat in `home`, runs a script against it, closes it, and returns the sampler."""
    fake = fake or FakeSampler()
    options.setdefault("annotator", "ann")
    app = Playground(Start(home, "chat", models=models, ascii=ascii, options=options), sampler=fake)

    async def main() -> None:
        async with app.run_test(size=size) as pilot:
            one = Talk(app, pilot, fake)
            await one.settled()
            await script(one)

    asyncio.run(main())
    if app.fault is not None:
        raise app.fault
    return fake


def labels(home: Path) -> list[Label]:
    """The labels in the label database of the run."""
    return read_labels(home / "tiny" / "labels.db")
