"""The Label mode as tests play it."""

from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from engine.data.labels.store import Label, read_labels
from engine.run.planning import RunRequest, prepare
from slmctl.label.setup import LabelOptions
from slmctl.tui.app import Playground
from slmctl.tui.label.screen import LabelScreen
from slmctl.tui.playground import Start
from tests.support.fake_sampler import FakeSampler
from tests.support.pilot import Script, played, screen_text, until

NAMES = ("tiny:sft", "tiny:ppo", "tiny:rm")
HOSTILE = "\x1b]2;pwned\x07[@click=app.quit()]here[/] [/nope] \x1b[31mred\x9b2J\u202eright\ttab\rback\x00"


def make_run(home: Path, name: str = "tiny", *finished: str) -> None:
    """A run with these stages finished."""
    run = prepare(RunRequest("run", run=name), home, {"OMP_NUM_THREADS": "1"}).rundir
    for stage in finished or ("sft", "rm", "ppo"):
        run.final(stage).mkdir(parents=True)


def play(
    home: Path,
    script: Script,
    *models: str,
    sampler: FakeSampler | None = None,
    size: tuple[int, int] = (80, 24),
    **wished: Any,
) -> list[Label]:
    """Runs a script against the label mode; what stands in the database afterwards."""
    options = LabelOptions(models or ("tiny:sft", "tiny:ppo"), annotator=wished.pop("annotator", "ann"), **wished)
    start = Start(home, "label", models=options.models, options={"label": options})
    played(Playground(start, sampler or FakeSampler()), script, size)
    labels = home / "tiny" / "labels.db"
    return read_labels(labels) if labels.exists() else []


def screen_of(app: Playground) -> LabelScreen:
    """The label mode's own screen, also where something lies over it."""
    found = app.screen_stack[0]
    assert isinstance(found, LabelScreen)
    return found


async def pair(app: Playground, pilot: Pilot[None], judged: int = 0) -> None:
    """Waits until so many labels stand and the next question is on the screen."""

    def there() -> bool:
        session = screen_of(app).session
        return session is not None and session.question is not None and len(session.core.labels) == judged

    await until(pilot, there, f"a question after {judged} labels")
    await pilot.pause()


def words(app: Playground) -> str:
    """What stands on the screen, as one line without frames."""
    return " ".join(screen_text(app).translate(str.maketrans("│▌╭╮╰╯─", "       ")).split())


def by_place(label: Label) -> list[int] | None:
    """The ranks in the order of the screen."""
    return None if label.ranks is None else [label.ranks[at] for at in label.shown]


def assert_harmless(app: Playground) -> None:
    """Nothing on the screen that a terminal obeys, and no link of anybody's."""
    for line in screen_text(app).splitlines():
        assert not [mark for mark in line if ord(mark) < 0x20 or 0x7F <= ord(mark) < 0xA0 or mark in "\u202e\u2066"]
    assert not [
        segment
        for strip in app.screen._compositor.render_strips()
        for segment in strip
        if segment.style is not None and "@click" in segment.style.meta and "quit" in str(segment.style.meta["@click"])
    ]
