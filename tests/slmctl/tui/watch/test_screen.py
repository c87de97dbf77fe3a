"""The Train mode on recorded events: what it says of a run that goes on, ends or dies, and what it asks of it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from engine.core.events import (
    CheckpointSaved,
    ControlAcknowledged,
    RunFailed,
    RunResumed,
    StageFinished,
    StageStarted,
    StepCompleted,
)
from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import pending_requests
from slmctl.plots.styled_rows import to_lines
from slmctl.tui.app import Playground
from slmctl.tui.playground import Start
from slmctl.tui.watch.body import Chart
from slmctl.tui.watch.run_header import StageStrip
from slmctl.tui.widgets.rows_view import RowsView
from tests.support.pilot import played, screen_text
from tests.support.recorded_runs import alert, beat, begin_ppo, drawn, make_run, ppo_step, sample, say
from tests.support.train_mode import charts, heading, see, watch

NASTY = "[@click=app.quit()]x[/]\x1b]0;owned\x07"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = make_run(tmp_path)
    begin_ppo(run)
    beat(run)
    return run


def test_numbers_move_as_the_run_goes_on(run: RunDir) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "tiny  ppo 0/50", "running", "no values yet")
        say(run, ppo_step(1), ppo_step(2))
        await see(app, pilot, "tiny  ppo 2/50", "reward  0.2", "KL to the reference  0.1")
        say(run, ppo_step(3, score=float("nan")), ppo_step(4, kl_nats=float("inf")))
        await see(app, pilot, "tiny  ppo 4/50", "reward  0.4", "KL to the reference  inf")
        say(run, RunResumed("ppo", 2), ppo_step(3, score=7.5))
        await see(app, pilot, "tiny  ppo 3/50", "reward  7.5")
        assert [heading(chart)[:7] for chart in charts(app)] == ["▸reward", "KL to t"]

    watch(run.path.parent, script)


def test_it_follows_from_stage_to_stage_until_one_is_chosen(run: RunDir) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "[5 ppo ▸]")
        say(run, ppo_step(1), StageFinished("ppo", 50, {"ppo/score": 1.0}), StageStarted("eval", 5))
        beat(run, "eval", 0, 5)
        await see(app, pilot, "5 ppo ✓", "[6 eval ▸]", "side by side")
        await pilot.press("5")
        await see(app, pilot, "[5 ppo ✓]", "reward  0.1")
        say(run, StepCompleted("eval", 1, {"eval/utility": 0.5}))
        await see(app, pilot, "eval 1/5", "[5 ppo ✓]")
        await pilot.press("0")
        await see(app, pilot, "[6 eval ▸]")
        await pilot.click(StageStrip, offset=(3, 0))
        await see(app, pilot, "[1 pretrain]")

    watch(run.path.parent, script)


def test_what_a_stage_says_at_its_end_has_a_panel(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    end = {"rm/validation_accuracy": 0.73, "rm/gain": 0.95, "rm/calibration_error": 0.02, "rm/peak_rss_mb": 700.0}
    say(run, StageStarted("rm", 2, at=1.0), StepCompleted("rm", 1, {"rm/accuracy": 0.7, "rm/loss": 0.5}, at=2.0))
    say(run, StageFinished("rm", 1, end, at=3.0))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        text = await see(app, pilot, "accuracy  0.7 held-out 0.73", "loss  0.5", "end of the stage")
        for words in ("gain", "0.95", "calibration error", "0.02"):
            assert words in text
        assert "memory" not in text

    watch(tmp_path, script, size=(140, 45))


def test_a_dead_run_is_marked_with_the_command_to_resume(tmp_path: Path) -> None:
    run = make_run(tmp_path, toml='[config.world]\nname = "pocket"\n')
    begin_ppo(run)
    say(run, ppo_step(1), CheckpointSaved("ppo", 1, "ppo/step-000001"))
    code = "import sys; from pathlib import Path; from engine.rundir.directory import RunDir\n"
    code += "from tests.support.recorded_runs import beat\n"
    subprocess.run([sys.executable, "-c", f"{code}beat(RunDir(Path(sys.argv[1])))", str(run.path)], check=True)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        text = await see(app, pilot, " dead", "Its process is gone; last checkpoint after ppo step 1.")
        assert "slmctl run --run tiny" in " ".join(text.split())
        assert "g Resume" in text and "p Pause" not in text
        for key, what in (("p", "pause"), ("s", "save"), ("x", "stop")):
            await pilot.press(key)
            assert last_note(app) == f"nothing to {what} in tiny: its process is gone"
        assert not run.control.exists()

    watch(tmp_path, script)


@pytest.mark.parametrize(
    ("state", "word", "told"),
    [("finished", "finished", "The PPO policy is finished."), ("failed", "failed", "Failed: out of memory. To resume"),
     ("stopped", "stopped", "Stopped and saved. To resume"), ("paused", "paused", "Paused after ppo step 1.")],
)  # fmt: skip
def test_ends_are_told_apart_in_words(run: RunDir, state: str, word: str, told: str) -> None:
    say(run, ppo_step(1), RunFailed("ppo", "out of memory"))
    beat(run, state=state)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, f" {word}\n", told)

    watch(run.path.parent, script)


def last_note(app: Playground) -> str:
    return [note.message for note in app._notifications][-1]


def test_g_ends_a_pause_or_explains_why_it_cannot(run: RunDir) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, " running\n")
        await pilot.press("g")
        assert last_note(app) == "nothing to resume in tiny: it is running"
        beat(run, state="paused")
        await see(app, pilot, "p Unpause", "g Resume")
        await pilot.press("g")
        await see(app, pilot, "resume requested")
        assert [request.request for request in pending_requests(run, 0)] == ["resume"]
        beat(run, state="finished")
        await see(app, pilot, " finished\n")
        await pilot.press("g")
        assert last_note(app) == "nothing to resume in tiny: it is finished"

    watch(run.path.parent, script)


def test_a_remapped_control_says_too_why_it_would_do_nothing(run: RunDir, tmp_path: Path) -> None:
    choices = tmp_path / "playground.toml"
    choices.write_text('[keys]\n"train.pause" = "f9"\n')
    beat(run, state="finished")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, " finished\n")
        await pilot.press("p")
        assert not app._notifications
        await pilot.press("f9")
        assert last_note(app) == "nothing to pause in tiny: it is finished"

    played(Playground(Start(run.path.parent, "train"), preferences=choices), script)


def test_requests_reach_the_run_and_their_answers_the_screen(run: RunDir) -> None:
    say(run, ppo_step(1))

    def asked() -> list[str]:
        return [request.request for request in pending_requests(run, 0)]

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "p Pause", "s Save", "x Stop")
        await pilot.press("p")
        await see(app, pilot, "pause requested: takes effect when ppo step 2 ends")
        assert asked() == ["pause"]
        say(run, ppo_step(2), ControlAcknowledged(1, "pause"))
        beat(run, state="paused")
        text = await see(app, pilot, "Paused after ppo step 2.", "p Unpause")
        assert "requested" not in text
        await pilot.press("p")
        await see(app, pilot, "resume requested")
        say(run, ControlAcknowledged(2, "resume"))
        beat(run)
        await see(app, pilot, "p Pause", " running\n")
        await pilot.press("s")
        await see(app, pilot, "save requested: takes effect when ppo step 3 ends")
        say(run, ppo_step(3), ControlAcknowledged(3, "save"))
        await see(app, pilot, " saving")
        say(run, CheckpointSaved("ppo", 3, "ppo/step-000003", at=2e9))
        await see(app, pilot, "saved ppo/step-000003")
        assert asked() == ["pause", "resume", "save"]

    watch(run.path.parent, script)


def test_a_run_is_stopped_only_by_one_who_is_sure(run: RunDir) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "x Stop")
        await pilot.press("x")
        await see(app, pilot, "Stop tiny?", "y  stop")
        await pilot.press("escape")
        await pilot.press("x", "y")
        await see(app, pilot, "stop requested: takes effect when ppo step 1 ends")
        assert [request.request for request in pending_requests(run, 0)] == ["stop"]

    watch(run.path.parent, script)


def test_alerts_are_loud_and_listed(run: RunDir) -> None:
    say(run, *(ppo_step(step) for step in (1, 2, 3)), alert(2), alert(3, "Responses average 40.0 tokens."))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, " ALERT  ppo step 3: Responses average 40.0 tokens. (! goes there, a lists")
        axis = to_lines(charts(app)[0].rows())[-2]
        assert axis.count("!") == 2
        await pilot.press("a")
        text = await see(app, pilot, "ppo step 2: KL is 9.0 nats per response, above 8: raise kl_coef or lower")
        assert "│ lr." in text, "the rest of the alert is wrapped"
        await pilot.press("escape")
        await see(app, pilot, "▸reward")

    watch(run.path.parent, script)


def test_an_empty_folder_gives_a_hint_and_shows_the_first_run(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "slmctl run --preset tiny")
        await pilot.press("p", "x", "z", "c", "a", "tab", "left_square_bracket", "m", "y", "3")
        begin_ppo(make_run(tmp_path, "first"))
        await see(app, pilot, "first  ppo 0/50")

    watch(tmp_path, script)


def test_q_leaves_the_run_to_itself(run: RunDir) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "running")
        await pilot.press("q")
        await pilot.pause()
        assert not app.is_running

    watch(run.path.parent, script)
    assert not run.control.exists()

    async def back(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        await see(app, pilot, "running")
        await pilot.press("q")
        assert app.current_mode == "runs"

    played(Playground(Start(run.path.parent)), back, (80, 24))


def test_news_in_another_mode_waits_until_one_is_back(run: RunDir) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "ppo 0/50")
        await pilot.press("f2")
        say(run, ppo_step(1))
        await pilot.press("f3")
        await see(app, pilot, "ppo 1/50")

    watch(run.path.parent, script)


def test_a_look_that_finds_nothing_draws_no_chart(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    say(run, ppo_step(1))
    drawn_again: list[Chart] = []
    repaint = RowsView.repaint

    def counting(view: RowsView) -> None:
        if isinstance(view, Chart):
            drawn_again.append(view)
        repaint(view)

    monkeypatch.setattr(RowsView, "repaint", counting)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "reward  0.1")
        await pilot.pause(0.3)
        count = len(drawn_again)
        await asyncio.sleep(0.8)
        assert len(drawn_again) == count
        say(run, ppo_step(2))
        await see(app, pilot, "reward  0.2")
        assert len(drawn_again) > count

    watch(run.path.parent, script)


class Lines(App[None]):
    """Shows what it is told to."""

    def compose(self) -> ComposeResult:
        yield RowsView()

    def on_mount(self) -> None:
        self.query_one(RowsView).paint(lambda width, height: [[("\x1b]0;x\x07\n[@click=app.quit()]", "line0")]])


def test_rows_are_harmless_whoever_painted_them() -> None:
    async def main() -> None:
        app = Lines()
        async with app.run_test(size=(40, 3)):
            text = app.query_one(RowsView).render_line(0).text
            assert text.rstrip() == "␛]0;x␇ [@click=app.quit()]"

    asyncio.run(main())


def test_what_models_and_files_say_does_nothing_here(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a[@click=app.quit()]b")
    begin_ppo(run)
    say(run, StepCompleted("ppo", 1, {"ppo/score": 1.0, f"ppo/{NASTY}": 2.0}, at=101.0), alert(1, NASTY))
    say(run, drawn(1, sample(NASTY, NASTY), sample("\x9b31m\u202e", "\r\n\x00\x7f")), RunFailed("ppo", NASTY))
    beat(run, state="failed")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "a[@click=app.quit()…", "[@click=app.quit()]x[/]␛]0;owned␇", "Failed: ")
        for keys in (
            (),
            ("enter",),
            ("escape", "a"),
            ("escape", "c"),
            ("escape", "6"),
            ("5", "1"),
            ("5", "tab", "z"),
            ("escape", "y"),
        ):
            await pilot.press(*keys)
            await pilot.pause()
            assert not set(screen_text(app)) & set("\x1b\x07\x9b\u202e\r\x00\x7f")
            for strip in app.screen._compositor.render_strips():
                assert not any(segment.style and segment.style.meta.get("@click") for segment in strip)
        assert not set(app.clipboard) & set("\x1b\x07")

    watch(tmp_path, script, size=(140, 45))
