"""The Label mode on a database that another process holds: nothing that was pressed is lost without a word."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.errors import LockedError
from engine.preferences import LabelStore, read_labels
from slmctl.labelling.sitting import Wishes
from slmctl.tui.app import Playground
from slmctl.tui.start import Start
from tests.labelling import locked
from tests.tui.fakes import FakeSampler
from tests.tui.labels import make_run, pair, play, words
from tests.tui.playing import played, until

WAITS = "labels.db is locked by another process; your answer waits, and is written once the file is free"
REFUSED = "not taken: your last answer still waits to be written"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a run named tiny."""
    make_run(tmp_path / "runs")
    return tmp_path / "runs"


def test_an_answer_is_said_to_wait_and_is_then_written(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        with locked(home / "tiny" / "labels.db"):
            await pilot.press("1")
            await until(pilot, lambda: WAITS in words(app), "what it waits for")
            for key in ("2", "0", "space", "backspace", "f"):
                await pilot.press(key)
                assert REFUSED in words(app)
            await pilot.press("s")
            await until(pilot, lambda: "your labels" in words(app), "the figures")
            await pilot.press("escape")
        await until(pilot, lambda: "a key that came before this was written does not count" in words(app), "the end")
        await pair(app, pilot, 1)
        await pilot.press("2")
        await pair(app, pilot, 2)

    assert [one.verdict for one in play(home, script)] == ["choice", "choice"]


def test_a_database_that_is_held_is_waited_for_when_it_is_opened(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "locked by another process; it is opened once the file is free" in words(app), "why")
        held.close()
        await pair(app, pilot)

    with ExitStack() as held:
        held.enter_context(locked(home / "tiny" / "labels.db"))
        assert play(home, script) == []


def test_whoever_leaves_before_it_is_written_is_told(home: Path) -> None:
    labels = home / "tiny" / "labels.db"
    app = Playground(
        Start(home, "label", options={"label": Wishes(("tiny:sft", "tiny:ppo"), annotator="ann")}), FakeSampler()
    )

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        held.enter_context(locked(labels))
        await pilot.press("1")
        await until(pilot, lambda: WAITS in words(app), "what it waits for")

    LabelStore(labels).close()
    with ExitStack() as held:
        played(app, script)
    assert isinstance(app.fault, LockedError) and "your last answer was not written" in str(app.fault)
    assert read_labels(labels) == []
