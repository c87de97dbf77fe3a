"""The main screens as they look at two sizes, on recorded runs and scripted answers."""

import time
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.core.events import RunFailed, RunFinished, StageFinished
from slmctl.tui.app import Playground
from slmctl.tui.playground import Start
from tests.support import chat_mode, label_mode
from tests.support.fake_sampler import FakeSampler
from tests.support.frames import assert_frame
from tests.support.heartbeats import make
from tests.support.pilot import played, screen_text, until
from tests.support.recorded_runs import alert, begin_ppo, drawn, make_run, ppo_step, sample, say

SIZES = pytest.mark.parametrize("size", [(80, 24), (140, 45)], ids=["small", "wide"])
TRAIN_FRAMES = [("train", "", "step"), ("samples", "v", "Paris"), ("zoom", "z", "step")]
PROMPT = "What is the capital of France?"
ANSWERS = ("Paris.", "The capital of France is Paris. I hope that helps!")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of runs, shown on the screen without the folder that it is in."""
    monkeypatch.chdir(tmp_path)
    return Path("runs")


def assert_shown(name: str, home: Path, shows: str, size: tuple[int, int], *keys: str) -> None:
    """Opens the playground, presses keys, waits until `shows` is on the screen and compares it with its frame."""

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press(*keys)
        await until(pilot, lambda: shows in screen_text(app), shows)
        await pilot.pause(0.5)
        assert_frame(app, name)

    played(Playground(Start(home), FakeSampler()), script, size)


def trained(home: Path) -> None:
    """A run whose PPO has finished, with an alert and samples."""
    run = make_run(home)
    begin_ppo(run)
    for step in range(1, 51):
        say(run, ppo_step(step, score=step**0.5 / 5, entropy=1 / step))
    rows = [sample(f"{PROMPT} ({number})", answer, score=number / 2) for number, answer in enumerate(ANSWERS)]
    say(run, alert(30), drawn(50, *rows), StageFinished("ppo", 50, {}, at=151.0), RunFinished("ppo", at=152.0))


@SIZES
def test_runs(size: tuple[int, int], home: Path) -> None:
    make(home, "tiny", "finished", "pretrain", "sft", "comparisons", "rm", "ppo", at=time.time() - 7200)
    failed = make(home, "broken", "failed", "pretrain", at=time.time() - 300)
    failed.append(RunFailed("sft", "the loss became nan"))
    assert_shown("runs", home, "the loss became nan", size)


@SIZES
def test_an_empty_folder(size: tuple[int, int], home: Path) -> None:
    assert_shown("welcome", home, "tiny", size)


@SIZES
def test_the_form(size: tuple[int, int], home: Path) -> None:
    make(home, "tiny", "finished", "pretrain", "sft", "comparisons", "rm", "ppo", at=time.time() - 7200)
    assert_shown("form", home, "slmctl run", size, "n")


@SIZES
@pytest.mark.parametrize(("name", "key", "shows"), TRAIN_FRAMES)
def test_train(name: str, key: str, shows: str, size: tuple[int, int], home: Path) -> None:
    trained(home)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "1.41" in screen_text(app), "the last score")
        await pilot.press(*[key] * bool(key))
        await until(pilot, lambda: shows in screen_text(app), shows)
        await pilot.pause(0.5)
        assert_frame(app, name)

    played(Playground(Start(home, "train", ("tiny",))), script, size)


@SIZES
def test_chat(size: tuple[int, int], home: Path) -> None:
    chat_mode.make_run(home)
    fake = FakeSampler()
    for model, answer in zip(chat_mode.MODELS, ANSWERS, strict=True):
        fake.say(model, PROMPT, answer)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        talk = chat_mode.Talk(app, pilot, fake)
        await talk.settled()
        await talk.say(PROMPT)
        await until(pilot, lambda: ANSWERS[0] in screen_text(app), "the replies")
        assert_frame(app, "chat")

    options = {"session": "paris", "annotator": "ann"}
    played(Playground(Start(home, "chat", models=chat_mode.MODELS, options=options), fake), script, size)


@SIZES
def test_label(size: tuple[int, int], home: Path) -> None:
    label_mode.make_run(home)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await label_mode.pair(app, pilot)
        await pilot.pause(0.5)
        assert_frame(app, "label")

    label_mode.play(home, script, size=size)


def test_a_changed_screen_fails_and_says_how_to_accept_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCEPT_FRAMES", raising=False)
    with pytest.raises(AssertionError, match="ACCEPT_FRAMES=1 python -m pytest"):
        assert_shown("runs", home, "tiny", (80, 24))
