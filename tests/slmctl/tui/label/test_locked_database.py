"""The Label mode with a locked database: no key press is lost without a message."""

import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.core.errors import FileError
from engine.data.labels.store import Label, LabelStore, read_labels
from slmctl.label.setup import LabelOptions
from slmctl.tui.app import Playground
from slmctl.tui.label import screen
from slmctl.tui.messages import OpenLabel
from slmctl.tui.playground import Start
from tests.support.fake_sampler import FakeSampler
from tests.support.label_databases import locked
from tests.support.label_mode import by_place, make_run, pair, play, screen_of, words
from tests.support.pilot import played, until

WAITS = "labels.db is locked by another process; your answer will be saved once it is unlocked"
REFUSED = "ignored: your last answer is still being saved"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a run named tiny."""
    make_run(tmp_path / "runs")
    return tmp_path / "runs"


async def vote_that_waits(app: Playground, pilot: Pilot[None]) -> None:
    """Says that the first is better, and waits until the screen says that this waits."""
    await pilot.press("1")
    await until(pilot, lambda: WAITS in words(app), "what it waits for")


def test_a_waiting_answer_is_reported_and_then_saved(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        with locked(home / "tiny" / "labels.db"):
            await vote_that_waits(app, pilot)
            for key in ("2", "0", "space", "backspace", "f"):
                await pilot.press(key)
                assert REFUSED in words(app)
            await pilot.press("s")
            await until(pilot, lambda: "your labels" in words(app), "the figures")
            await pilot.press("escape")
        await until(pilot, lambda: "a key pressed while saving was ignored" in words(app), "the end")
        await pair(app, pilot, 1)
        await pilot.press("2")
        await pair(app, pilot, 2)

    assert [one.verdict for one in play(home, script)] == ["choice", "choice"]


def test_opening_waits_for_a_locked_database(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(
            pilot, lambda: "locked by another process; it will be opened once it is unlocked" in words(app), "why"
        )
        held.close()
        await pair(app, pilot)

    with ExitStack() as held:
        held.enter_context(locked(home / "tiny" / "labels.db"))
        assert play(home, script) == []


def test_leaving_before_it_is_saved_is_reported(home: Path) -> None:
    labels = home / "tiny" / "labels.db"
    app = Playground(
        Start(home, "label", options={"label": LabelOptions(("tiny:sft", "tiny:ppo"), annotator="ann")}), FakeSampler()
    )

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        held.enter_context(locked(labels))
        await vote_that_waits(app, pilot)

    LabelStore(labels).close()
    with ExitStack() as held:
        played(app, script)
    said = f"your last answer was not saved: {labels} is locked by another process"
    assert isinstance(app.fault, FileError) and str(app.fault).startswith(said)
    assert read_labels(labels) == []


def test_a_waiting_answer_is_saved_before_models_change(home: Path) -> None:
    sampler = FakeSampler()
    make_run(home, "other")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        with locked(home / "tiny" / "labels.db"):
            await vote_that_waits(app, pilot)
            await app.open_mode("label", OpenLabel(("other:ppo",)))
            await until(pilot, lambda: ("other:ppo", False) in sampler.loads, "the other models")
            await pilot.pause(0.1)
            await pilot.press("2")
            assert REFUSED in words(app)
        await until(pilot, lambda: asked_of(app) == ("other:ppo",), "the other models")
        await until(pilot, lambda: not list(home.glob("tiny/labels.db-*")), "the end of the first session")

    (kept,) = play(home, script, sampler=sampler)
    assert by_place(kept) == [0, 1]
    assert not list(home.glob("*/labels.db-*")), "all sessions are closed"


def test_the_latest_of_several_waiting_models_is_labeled(home: Path) -> None:
    sampler = FakeSampler()
    make_run(home, "other")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        with locked(home / "tiny" / "labels.db"):
            await vote_that_waits(app, pilot)
            for model in ("other:ppo", "other:sft"):
                await app.open_mode("label", OpenLabel((model,)))
                await until(pilot, partial(sampler.loads.__contains__, (model, False)), model)
        await until(pilot, lambda: asked_of(app) == ("other:sft",), "the latest")

    assert len(play(home, script, sampler=sampler)) == 1
    assert not list(home.glob("*/labels.db-*")), "all sessions are closed"


def test_a_full_disk_is_reported_when_models_change(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, full = FakeSampler(), threading.Event()

    def refuse(*_: object) -> int:
        assert full.wait(20)
        raise FileError("the disk is full")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        with monkeypatch.context() as patch:
            patch.setattr(LabelStore, "add", refuse)
            await pilot.press("1")
            loaded = len(sampler.loads)
            await app.open_mode("label", OpenLabel(("tiny:ppo",)))
            await until(pilot, lambda: len(sampler.loads) > loaded, "the other models")
            full.set()
            await until(pilot, lambda: asked_of(app) == ("tiny:ppo",), "the other models")
        assert "! your last answer was not saved: the disk is full" in words(app)

    assert play(home, script, sampler=sampler) == []


def test_a_number_pressed_twice_keeps_its_label_when_models_change(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "AGAIN_S", 1e9)
    sampler, writable, add = FakeSampler(), threading.Event(), LabelStore.add

    def slow(store: LabelStore, label: Label, instead_of: int | None = None) -> int:
        assert writable.wait(20)
        return add(store, label, instead_of)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("1")
        await pair(app, pilot, 1)
        monkeypatch.setattr(LabelStore, "add", slow)
        await pilot.press("2", "2")
        loaded = len(sampler.loads)
        await app.open_mode("label", OpenLabel(("tiny:ppo",)))
        await until(pilot, lambda: len(sampler.loads) > loaded, "the other models")
        await pilot.pause(0.1)
        writable.set()
        await until(pilot, lambda: asked_of(app) == ("tiny:ppo",), "the other models")

    kept = play(home, script, sampler=sampler)
    assert [(one.strength, by_place(one)) for one in kept] == [(1, [0, 1]), (2, [1, 0])]


def test_leaving_with_a_full_disk_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaving = threading.Event()
    options = LabelOptions(("tiny:sft", "tiny:ppo"), annotator="ann")
    app = Playground(Start(home, "label", options={"label": options}), FakeSampler())

    def refuse(*_: object) -> int:
        assert leaving.wait(20)
        raise FileError("the disk is full")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        monkeypatch.setattr(LabelStore, "add", refuse)
        await pilot.press("1")
        await pilot.pause()
        threading.Timer(0.2, leaving.set).start()

    played(app, script)
    assert isinstance(app.fault, FileError) and "not saved: the disk is full" in str(app.fault)


def asked_of(app: Playground) -> tuple[str, ...]:
    """Whose responses are on the screen."""
    session = screen_of(app).session
    return session.options.models if session is not None and session.question is not None else ()
