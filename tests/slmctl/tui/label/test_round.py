"""A new round from the Label mode: from labels to pairs of the new policy, what fails, too few labels."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from engine.core.errors import EngineError
from engine.core.intervals import Share
from engine.rundir.directory import RunDir, write_text
from slmctl.label.rounds import Round, RoundProgress
from slmctl.tui.app import Playground
from slmctl.tui.label import round_line
from slmctl.tui.label.round_line import RoundScreen, RoundState
from tests.support.label_mode import HOSTILE, assert_harmless, make_run, pair, play, screen_of, words
from tests.support.pilot import go, screen_text, until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a run named tiny."""
    make_run(tmp_path / "runs")
    return tmp_path / "runs"


def fake_round(*said: RoundProgress, error: str = "") -> Any:
    """Commands that say this and end well, or with an error."""

    async def run_round(planned: Round, home: Path, environ: Mapping[str, str]) -> AsyncIterator[RoundProgress]:
        for progress in said:
            yield progress
            await asyncio.sleep(0.01)
        if error:
            raise EngineError(error)
        make_run(home, planned.name, "sft", "rm", "ppo")

    return run_round


RM = RoundProgress("rm", 6, 6, "accuracy 0.8", {"rm/validation_accuracy": 0.8}, 15, True)
PPO = RoundProgress("ppo", 30, 30, "score 1.2  KL 0.9", {}, 0, True, (14.25, 12.0))
READY = "tiny-2 is ready: Shift+N · reward model predicts 80% of the 15 newest labels"


def told(app: Playground) -> str:
    """What the round's own screen says, as one line."""
    return " ".join(" ".join(str(part.render()) for part in app.screen.query(Static)).split())


async def labeled(app: Playground, pilot: Pilot[None], count: int) -> None:
    """So many labels, by turns."""
    for judged in range(count):
        await pair(app, pilot, judged)
        await pilot.press("2" if judged % 2 else "1")
    await pair(app, pilot, count)


@pytest.mark.parametrize(
    ("finished", "said"),
    [
        (("sft", "rm"), "tiny-2 is training on these labels, or has stopped: see Runs."),
        (("rm", "ppo"), "tiny-2 was trained on these labels: select it in Runs"),
    ],
)
def test_a_round_that_another_screen_began_is_known(home: Path, finished: tuple[str, ...], said: str) -> None:
    make_run(home, "tiny-2", *finished)
    toml = RunDir(home / "tiny-2").run_toml
    write_text(toml, f'{toml.read_text()}\n[inputs.rm.data]\nkind = "labels"\nreference = "{home}/tiny/labels.db"\n')

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        assert said in words(app)

    play(home, script)


@pytest.mark.parametrize("size", [(80, 24), (140, 45), (60, 20)])
def test_a_round_goes_from_labels_to_pairs_of_the_new_policy(
    home: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(
        round_line, "run_round", fake_round(RoundProgress("rm", 1, 6), RM, RoundProgress("ppo", 3, 30), PPO)
    )

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await labeled(app, pilot, 12)
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, RoundScreen), "the round")
        await pilot.pause()
        plan = told(app)
        assert "New run tiny-2: tiny:rm is trained further on 12 labels, then PPO starts from tiny:sft" in plan
        assert "slmctl rm --run tiny-2 --from tiny" in plan and "enter: start" in plan
        await pilot.press("enter")
        await until(pilot, lambda: READY in words(app), "the end")
        await pilot.press("1")
        await pair(app, pilot, 13)
        assert READY in words(app), "it stays until it is acted on"
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, RoundScreen), "the result")
        await pilot.pause()
        result = told(app)
        assert (
            "predicts 80% of the 15 newest labels, which were held out" in result
            and "enter: label tiny-2:ppo" in result
        )
        assert "14.2 tokens from tiny:sft, 12.0 from tiny-2:ppo" in result
        compare = "slmctl eval tiny:sft tiny-2:ppo --judge tiny-2:rm"
        assert compare in result
        await pilot.press("y")
        assert app.clipboard == compare
        await pilot.press("enter")

        def next_round() -> bool:
            session = screen_of(app).session
            return session is not None and session.options.models == ("tiny-2:ppo",) and session.question is not None

        await until(pilot, next_round, "pairs of the new policy")
        session = screen_of(app).session
        assert session is not None
        assert (session.setup.recipe.scorer, session.core.labels) == ("tiny-2:rm", [])
        assert session.setup.database == home / "tiny-2" / "labels.db"
        assert "tiny-2 is ready" not in words(app)

    assert len(play(home, script, "tiny:sft", size=size)) == 13


def test_progress_of_a_round_is_shown_and_its_end_in_other_modes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = asyncio.Event()

    async def run_round(planned: Round, home: Path, environ: Mapping[str, str]) -> AsyncIterator[RoundProgress]:
        for progress in (RoundProgress("rm"), RM, RoundProgress("ppo", 3, 30)):
            yield progress
        await go_on.wait()

    monkeypatch.setattr(round_line, "run_round", run_round)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await labeled(app, pilot, 10)
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, RoundScreen), "the round")
        await pilot.press("enter")
        now = "tiny-2: PPO 3/30 · Shift+N · reward model predicts 80% of the 15 newest labels"
        await until(pilot, lambda: now in words(app), "how far it is")
        await go(app, pilot, "f2", "runs")
        go_on.set()
        said = app._notifications
        await until(pilot, lambda: "tiny-2 is ready: see Label" in [one.message for one in said], "the end")

    play(home, script, "tiny:sft")


def test_labels_that_came_after_a_round_make_another_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_line, "run_round", fake_round(RM, PPO))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await labeled(app, pilot, 10)
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, RoundScreen), "the round")
        await pilot.press("enter")
        await until(pilot, lambda: READY in words(app), "the end")
        await pilot.press("1")
        await pair(app, pilot, 11)
        await pilot.press("N")
        await until(pilot, lambda: "n: another round" in told(app), "the result")
        await pilot.press("n")
        await until(
            pilot, lambda: "New run tiny-3: tiny:rm is trained further on 11 labels" in told(app), "another plan"
        )
        await pilot.press("escape")
        await until(pilot, lambda: READY in words(app), "the round that is done")

    play(home, script, "tiny:sft")


def test_the_result_says_which_way_the_labels_went() -> None:
    planned = Round("tiny-2", "tiny:sft", "tiny:rm", 12, ())
    state = RoundState(planned, longer=Share(3, 10), done=True, stages={"ppo": PPO})
    assert "12.0 from tiny-2:ppo (the longer response won 30% of 10 labels)" in " ".join(state.lines())


def test_a_round_that_fails_says_why_and_can_be_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        round_line, "run_round", fake_round(RoundProgress("rm", 1, 6), error=f"the disk is full {HOSTILE}")
    )

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await labeled(app, pilot, 10)
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, RoundScreen), "the round")
        await pilot.press("enter")
        await until(pilot, lambda: "tiny-2 failed" in screen_text(app), "the end")
        assert_harmless(app)
        monkeypatch.setattr(round_line, "run_round", fake_round(RM, PPO))
        await pilot.press("N")
        await until(pilot, lambda: "! the disk is full" in told(app), "the reason")
        assert "New run tiny-2:" in told(app) and "enter: resume · n: another round" in told(app)
        await pilot.press("enter")
        await until(pilot, lambda: "tiny-2 is ready" in screen_text(app), "the end")

    play(home, script, "tiny:sft")


def test_too_few_labels_for_a_round_are_reported(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await labeled(app, pilot, 2)
        await pilot.press("N")
        await until(pilot, lambda: "needs at least 10 labels" in words(app), "the reason")

    play(home, script, "tiny:sft")
