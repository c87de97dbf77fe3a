"""The Train mode on replayed events: what it shows while a run goes on, ends or dies, and what it asks of it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from engine.events import (
    CheckpointSaved,
    ControlAcknowledged,
    RunFailed,
    RunResumed,
    StageFinished,
    StageStarted,
    StepCompleted,
)
from engine.pulse import pending_requests
from engine.rundir import RunDir
from slmctl.plots.rows import plain
from slmctl.tui.app import Playground
from slmctl.tui.messages import OpenRuns, RunsFollowed
from slmctl.tui.screens.metrics import MetricsScreen
from slmctl.tui.screens.reading import ReadingScreen
from slmctl.tui.screens.zoom import ZoomScreen
from slmctl.tui.start import Start
from slmctl.tui.widgets.chart import Chart
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.tui.widgets.sample_list import SampleList
from slmctl.tui.widgets.stage_strip import StageStrip
from slmctl.tui.widgets.train_body import TrainBody
from slmctl.watching.follower import Follower
from tests.tui.playing import Script, played, screen_text, until
from tests.tui.told import alarm, beat, begin_ppo, drawn, make_run, ppo_step, sample, say

NASTY = "[@click=app.quit()]x[/]\x1b]0;owned\x07"


def watch(home: Path, script: Script, *names: str, size: tuple[int, int] = (80, 24), ascii: bool = False) -> None:
    played(Playground(Start(home, "train", names, ascii=ascii)), script, size)


async def see(app: Playground, pilot: Pilot[None], *texts: str) -> str:
    """The screen, once all of the texts stand on it."""
    try:
        await until(pilot, lambda: all(text in screen_text(app) for text in texts), " and ".join(map(repr, texts)))
    except AssertionError as error:
        raise AssertionError(f"{error}; the screen is\n{screen_text(app)}") from None
    return screen_text(app)


def charts(app: Playground) -> list[Chart]:
    return [chart for chart in app.screen.query(Chart) if chart.display]


def heading(chart: Chart) -> str:
    return plain(chart.rows()[:1])[0].strip()


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
        await see(app, pilot, "tiny  ppo 2/50", "score  0.2", "KL to the reference  0.1")
        say(run, ppo_step(3, score=float("nan")), ppo_step(4, kl_nats=float("inf")))
        await see(app, pilot, "tiny  ppo 4/50", "score  0.4", "KL to the reference  inf")
        say(run, RunResumed("ppo", 2), ppo_step(3, score=7.5))
        await see(app, pilot, "tiny  ppo 3/50", "score  7.5")
        assert [heading(chart)[:7] for chart in charts(app)] == ["▸score ", "KL to t"]

    watch(run.path.parent, script)


def test_it_follows_from_stage_to_stage_until_one_is_chosen(run: RunDir) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "[5 ppo ▸]")
        say(run, ppo_step(1), StageFinished("ppo", 50, {"ppo/score": 1.0}), StageStarted("eval", 5))
        beat(run, "eval", 0, 5)
        await see(app, pilot, "5 ppo ✓", "[6 eval ▸]", "side by side")
        await pilot.press("5")
        await see(app, pilot, "[5 ppo ✓]", "score  0.1")
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
        text = await see(app, pilot, "accuracy  0.7 held-out 0.73", "loss  0.5", "at the end of the stage")
        for words in ("gain", "0.95", "calibration error", "0.02"):
            assert words in text
        assert "memory" not in text

    watch(tmp_path, script, size=(140, 45))


def test_a_run_whose_process_is_gone_is_dead_and_the_command_to_go_on_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, toml='[config.world]\nname = "pocket"\n')
    begin_ppo(run)
    say(run, ppo_step(1), CheckpointSaved("ppo", 1, "ppo/step-000001"))
    code = "import sys; from pathlib import Path; from engine.rundir import RunDir; from tests.tui.told import beat\n"
    subprocess.run([sys.executable, "-c", f"{code}beat(RunDir(Path(sys.argv[1])))", str(run.path)], check=True)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        text = await see(app, pilot, " dead", "Its process is gone; saved last after ppo step 1.")
        assert "slmctl run --run tiny" in " ".join(text.split())
        assert "g Go on" in text and "p Pause" not in text
        await pilot.press("p", "s", "x")
        assert not run.control.exists()

    watch(tmp_path, script)


@pytest.mark.parametrize(
    ("state", "word", "told"),
    [("finished", "finished", "The PPO policy is done."), ("failed", "failed", "Failed: out of memory. To go on"),
     ("interrupted", "stopped", "Stopped and saved. To go on"), ("paused", "paused", "Paused after ppo step 1.")],
)  # fmt: skip
def test_ends_are_told_apart_in_words(run: RunDir, state: str, word: str, told: str) -> None:
    say(run, ppo_step(1), RunFailed("ppo", "out of memory"))
    beat(run, state=state)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, f" {word}\n", told)

    watch(run.path.parent, script)


def test_samples_are_scrubbed_by_step_and_everything_points_there(run: RunDir) -> None:
    say(run, *(ppo_step(step) for step in range(1, 12)))
    say(run, drawn(1, sample("Who are you?", "I am me.")), drawn(5, sample("Other?", "Yes.", score=0.5)))
    say(run, drawn(10, sample("Who are you?", "I am an assistant.", score=2.0), sample("B?", "b")))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        text = await see(app, pilot, "samples of step 10", "3 of 3", "→ I am an assistant.")
        for words in ("mean score 1.50 (+1.00)", "sample 1 of 2", "step 1   I am me.", "score 1.00 then, now +1.00"):
            assert words in text
        await pilot.press("left_square_bracket")
        text = await see(app, pilot, "samples of step 5", "→ Yes.", "this prompt was not sampled before")
        assert "score  0.5 at 5" in text and "0.5 at 0.25" in text
        await pilot.press("left_square_bracket", "left_square_bracket")
        await see(app, pilot, "samples of step 1 ", "score  0.1 at 1")
        await pilot.press("right_square_bracket", "right_square_bracket")
        text = await see(app, pilot, "samples of step 10", "score  1.1")
        assert " at 10" not in text, "at the newest samples it goes with the run again"
        say(run, ppo_step(12), drawn(12, sample("C?", "c")))
        await see(app, pilot, "samples of step 12")

    watch(run.path.parent, script, size=(140, 45))


def test_samples_are_reached_by_tab_on_a_small_screen_and_chosen_by_arrows(run: RunDir) -> None:
    say(run, ppo_step(1), drawn(1, sample("A?", "a"), sample("B?", "the second\nanswer"), sample("C?", "c")))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "1-2 of 9")
        assert not app.screen.query_one(SampleList).region
        await pilot.press("shift+tab")
        await see(app, pilot, "samples of step 1", "sample 1 of 3", "→ the second answer")
        await pilot.press("down", "down", "down", "up")
        await see(app, pilot, "sample 2 of 3")
        await pilot.press("enter")
        assert isinstance(app.screen, ReadingScreen)
        await see(app, pilot, "response the second")
        await pilot.press("escape", "tab")
        await see(app, pilot, "▸score  0.1")

    watch(run.path.parent, script)


def test_every_panel_is_on_some_page(run: RunDir) -> None:
    say(run, ppo_step(1), ppo_step(2))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "1-2 of 9")
        seen = []
        for _ in range(9):
            focused = app.focused
            assert isinstance(focused, Chart) and focused in charts(app) and len(charts(app)) <= 2
            seen.append(heading(focused).split("  ")[0])
            await pilot.press("tab")
        titles = "score, KL to the reference, score by KL, policy loss, value error, entropy, clip fraction"
        assert ", ".join(seen) == "▸" + ", ▸".join([*titles.split(", "), "response length", "throughput"])
        assert app.focused is not None and heading(charts(app)[0]).startswith("▸score")

    watch(run.path.parent, script)


def test_the_cursor_shows_the_value_at_a_step_in_every_chart(run: RunDir) -> None:
    say(run, *(ppo_step(step) for step in range(1, 6)))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "score  0.5")
        await pilot.press("left", "left")
        await see(app, pilot, "score  0.3 at 3", "KL to the reference  0.15 at 3")
        await pilot.press("end")
        await see(app, pilot, "score  0.5 ")
        chart = charts(app)[0]
        await pilot.click(chart, offset=(4, 3))
        await see(app, pilot, "score  0.1 at 1")
        await pilot.press("y")
        assert app.clipboard == "tiny ppo step 1 ppo/score 0.1"

    watch(run.path.parent, script)


def test_a_panel_fills_the_screen_with_its_meaning_and_stays_live(run: RunDir) -> None:
    say(run, *(ppo_step(step) for step in range(1, 41)))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "score  4")
        await pilot.press("tab", "z")
        assert isinstance(app.screen, ZoomScreen)
        await see(app, pilot, "distance from the reference policy, summed through EOS", "highest 2 at 40")
        say(run, ppo_step(41, kl_nats=2.5))
        await see(app, pilot, "highest 2.5 at 41")
        await pilot.press("left", "plus", "plus", "l", "m")
        await see(app, pilot, "at 40", "lowest 1.55 at 31")
        await pilot.press("escape")
        await see(app, pilot, "▸KL to the reference  2 at 40", "score  4 at 40")

    watch(run.path.parent, script)


def test_requests_reach_the_run_and_their_answers_the_screen(run: RunDir) -> None:
    say(run, ppo_step(1))

    def asked() -> list[str]:
        return [request.request for request in pending_requests(run, 0)]

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "p Pause", "s Save", "x Stop")
        await pilot.press("p")
        await see(app, pilot, "pause asked: it is heard when ppo step 2 ends")
        assert asked() == ["pause"]
        say(run, ppo_step(2), ControlAcknowledged(1, "pause"))
        beat(run, state="paused")
        text = await see(app, pilot, "Paused after ppo step 2.", "p Resume")
        assert "asked" not in text
        await pilot.press("p")
        await see(app, pilot, "resume asked")
        say(run, ControlAcknowledged(2, "resume"))
        beat(run)
        await see(app, pilot, "p Pause", " running\n")
        await pilot.press("s")
        await see(app, pilot, "save asked: it is heard when ppo step 3 ends")
        say(run, ppo_step(3), ControlAcknowledged(3, "save"))
        await see(app, pilot, "save heard: saving")
        say(run, CheckpointSaved("ppo", 3, "ppo/step-000003", at=2e9))
        await see(app, pilot, "saved: ppo/step-000003")
        assert asked() == ["pause", "resume", "save"]

    watch(run.path.parent, script)


def test_a_run_is_stopped_only_by_one_who_is_sure(run: RunDir) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "x Stop")
        await pilot.press("x")
        await see(app, pilot, "Stop tiny?", "y  stop it")
        await pilot.press("escape")
        await pilot.press("x", "y")
        await see(app, pilot, "stop asked: it is heard when ppo step 1 ends")
        assert [request.request for request in pending_requests(run, 0)] == ["stop"]

    watch(run.path.parent, script)


def test_alarms_are_loud_and_listed(run: RunDir) -> None:
    say(run, *(ppo_step(step) for step in (1, 2, 3)), alarm(2), alarm(3, "Responses average 40.0 tokens."))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, " ALARM  ppo step 3: Responses average 40.0 tokens. (2 in all, a lists them)")
        axis = plain(charts(app)[0].rows())[-2]
        assert axis.count("!") == 2
        await pilot.press("a")
        await see(app, pilot, "ppo step 2: KL is 9.0 nats a response, above 8: raise kl_coef or lower lr.")
        await pilot.press("escape")
        await see(app, pilot, "▸score")

    watch(run.path.parent, script)


def test_metrics_are_picked(run: RunDir) -> None:
    say(run, ppo_step(1, lr=0.5))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "1-2 of 9")
        await pilot.press("c")
        assert isinstance(app.screen, MetricsScreen)
        text = await see(app, pilot, "[x] score: mean score of the rollout's responses", "[ ] learning rate")
        await pilot.press(*("space", "down") * 8, "space", "c")
        await see(app, pilot, "learning rate  0.5")
        assert [heading(chart) for chart in charts(app)] == ["▸learning rate  0.5"]
        await pilot.press("c", "d")
        await see(app, pilot, "1-2 of 9", "score  0.1")
        assert "[x]" in text

    watch(run.path.parent, script)


def test_several_runs_share_charts_and_one_of_them_listens(tmp_path: Path) -> None:
    for name, score in (("one", 0.25), ("two", 0.75)):
        run = make_run(tmp_path, name)
        begin_ppo(run)
        say(run, ppo_step(1), ppo_step(2, score=score), drawn(2, sample(f"prompt of {name}?", "a")))
        beat(run)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "▸A one  ppo 2/50", " B two  ppo 2/50", "score  A 0.25 B 0.75", "prompt of one?")
        await pilot.press("r")
        await see(app, pilot, " A one", "▸B two", "prompt of two?")
        await pilot.press("s")
        await see(app, pilot, "save asked")
        assert (tmp_path / "two" / "control.jsonl").exists() and not (tmp_path / "one" / "control.jsonl").exists()
        app.screen.post_message(OpenRuns(("one",)))
        await see(app, pilot, " one  ppo 2/50", "score  0.25 ")
        assert "two" not in screen_text(app)
        late = RunsFollowed(1, tuple(Follower(RunDir(tmp_path / name)).poll() for name in ("two", "one")))
        app.screen.post_message(late)
        await pilot.pause()
        assert "score  0.25 " in screen_text(app), "a look at runs that are followed no more is of no use"

    watch(tmp_path, script, "one", "two", size=(140, 45))


def test_an_empty_folder_says_what_to_type_and_takes_up_the_first_run(tmp_path: Path) -> None:
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
        await see(app, pilot, "score  0.1")
        await pilot.pause(0.3)
        count = len(drawn_again)
        await asyncio.sleep(0.8)
        assert len(drawn_again) == count
        say(run, ppo_step(2))
        await see(app, pilot, "score  0.2")
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


SIZES = [(200, 60), (40, 10), (80, 24), (119, 30), (120, 31), (20, 12), (140, 45)]


def test_it_fits_every_size_and_ascii(run: RunDir) -> None:
    say(
        run,
        *(ppo_step(step) for step in range(1, 9)),
        alarm(3),
        drawn(5, sample("東京 👍 prompt", "x" * 300, tokens=99)),
    )

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "ppo 8/50")
        for size in SIZES:
            await pilot.resize_terminal(*size)
            for key in ("tab", "tab", "shift+tab", "shift+tab", "shift+tab"):  # the last are the samples
                await pilot.press(key)
                for view in app.screen.query(RowsView):
                    for y in range(view.size.height if view.region else 0):
                        assert view.render_line(y).cell_length == view.content_size.width
                focused = app.focused
                assert isinstance(focused, (Chart, SampleList)) and focused.region
            text = "\n".join(
                plain([row for view in app.screen.query_one(TrainBody).query(RowsView) for row in view.rows()])
            )
            assert text.replace("東京", "").replace("👍", "").replace("…", "").isascii()

    watch(run.path.parent, script, ascii=True)


def test_what_models_and_files_say_does_nothing_here(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a[@click=app.quit()]b")
    begin_ppo(run)
    say(run, StepCompleted("ppo", 1, {"ppo/score": 1.0, f"ppo/{NASTY}": 2.0}, at=101.0), alarm(1, NASTY))
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
