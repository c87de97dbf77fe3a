"""Looking at numbers in the Train mode: samples by step, panels, the cursor, zoom, metrics, several runs, sizes."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.rundir.directory import RunDir
from slmctl.plots.styled_rows import to_lines
from slmctl.tui.app import Playground
from slmctl.tui.messages import OpenRuns
from slmctl.tui.watch.body import Chart, SampleList, WatchBody
from slmctl.tui.watch.dialogs import MetricPicker, TextDialog, ZoomScreen
from slmctl.tui.watch.messages import RunsPolled
from slmctl.tui.widgets.rows_view import RowsView
from slmctl.watch.follower import Follower
from tests.support.pilot import screen_text
from tests.support.recorded_runs import alert, beat, begin_ppo, drawn, make_run, ppo_step, sample, say
from tests.support.train_mode import charts, heading, see, watch


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = make_run(tmp_path)
    begin_ppo(run)
    beat(run)
    return run


def test_samples_are_scrubbed_by_step_together_with_charts(run: RunDir) -> None:
    say(run, *(ppo_step(step) for step in range(1, 12)))
    say(run, drawn(1, sample("Who are you?", "I am me.")), drawn(5, sample("Other?", "Yes.", score=0.5)))
    say(run, drawn(10, sample("Who are you?", "I am an assistant.", score=2.0), sample("B?", "b")))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        text = await see(app, pilot, "samples of step 10", "3 of 3", "→ I am an assistant.")
        for words in (
            "the first 2 responses of its rollout",
            "means (change): reward 1.50 (+1.00)",
        ):
            assert words in text
        for words in ("sample 1 of 2", "step 1   I am me.", "reward 1.00 then, +1.00 since"):
            assert words in text
        await pilot.press("left_square_bracket")
        text = await see(app, pilot, "samples of step 5", "→ Yes.", "this prompt was not sampled before")
        assert "reward  0.5 at 5" in text and "0.5 at 0.25" in text
        await pilot.press("left_square_bracket", "left_square_bracket")
        await see(app, pilot, "samples of step 1 ", "reward  0.1 at 1")
        await pilot.press("right_square_bracket", "right_square_bracket")
        text = await see(app, pilot, "samples of step 10", "reward  1.1")
        assert " at 10" not in text, "at the newest samples it goes with the run again"
        say(run, ppo_step(12), drawn(12, sample("C?", "c")))
        await see(app, pilot, "samples of step 12")

    watch(run.path.parent, script, size=(140, 45))


def test_samples_on_a_small_screen_use_tab_and_arrows(run: RunDir) -> None:
    say(run, ppo_step(1), drawn(1, sample("A?", "a"), sample("B?", "the second\nanswer"), sample("C?", "c")))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "1-2 of 9")
        assert not app.screen.query_one(SampleList).region
        await pilot.press("shift+tab")
        await see(app, pilot, "samples of step 1", "sample 1 of 3", "→ the second answer")
        await pilot.press("down", "down", "down", "up")
        await see(app, pilot, "sample 2 of 3")
        await pilot.press("enter")
        assert isinstance(app.screen, TextDialog)
        await see(app, pilot, "response the second")
        await pilot.press("escape", "tab")
        await see(app, pilot, "▸reward  0.1")

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
        titles = "reward, KL to the reference, reward vs √KL, policy loss, value loss, entropy, clip fraction"
        assert ", ".join(seen) == "▸" + ", ▸".join([*titles.split(", "), "response length", "throughput"])
        assert app.focused is not None and heading(charts(app)[0]).startswith("▸reward")

    watch(run.path.parent, script)


def test_the_cursor_shows_the_value_at_a_step_in_every_chart(run: RunDir) -> None:
    say(run, *(ppo_step(step) for step in range(1, 6)))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "reward  0.5")
        await pilot.press("left", "left")
        await see(app, pilot, "reward  0.3 at 3", "KL to the reference  0.15 at 3")
        await pilot.press("end")
        await see(app, pilot, "reward  0.5 ")
        chart = charts(app)[0]
        await pilot.click(chart, offset=(4, 3))
        await see(app, pilot, "reward  0.1 at 1")
        await pilot.press("y")
        assert app.clipboard == "tiny ppo step 1 ppo/score 0.1"

    watch(run.path.parent, script)


def test_a_zoomed_panel_shows_its_meaning_and_stays_live(run: RunDir) -> None:
    say(run, *(ppo_step(step) for step in range(1, 41)))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "reward  4")
        await pilot.press("tab", "z")
        assert isinstance(app.screen, ZoomScreen)
        await see(app, pilot, "l Log ", "? Help ")
        await see(app, pilot, "KL divergence from the reference policy", "highest 2 at 40")
        say(run, ppo_step(41, kl_nats=2.5))
        await see(app, pilot, "highest 2.5 at 41")
        await pilot.press("left", "plus", "plus", "l", "m")
        await see(app, pilot, "at 40", "lowest 1.55 at 31")
        await pilot.press("escape")
        await see(app, pilot, "▸KL to the reference  2 at 40", "reward  4 at 40")

    watch(run.path.parent, script)


def test_metrics_are_picked(run: RunDir) -> None:
    say(run, ppo_step(1, lr=0.5))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "1-2 of 9")
        await pilot.press("c")
        assert isinstance(app.screen, MetricPicker)
        text = await see(app, pilot, "[x] reward: mean reward of the rollout's responses", "[ ] learning rate")
        await pilot.press(*("space", "down") * 8, "space", "c")
        await see(app, pilot, "learning rate  0.5")
        assert [heading(chart) for chart in charts(app)] == ["▸learning rate  0.5" + "← → a step".rjust(60)]
        await pilot.press("c", "d")
        await see(app, pilot, "1-2 of 9", "reward  0.1")
        assert "[x]" in text

    watch(run.path.parent, script)


def test_several_runs_share_charts_and_one_of_them_listens(tmp_path: Path) -> None:
    for name, score in (("one", 0.25), ("two", 0.75)):
        run = make_run(tmp_path, name)
        begin_ppo(run)
        say(run, ppo_step(1), ppo_step(2, score=score), drawn(2, sample(f"prompt of {name}?", "a")))
        beat(run)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "▸A one  ppo 2/50", " B two  ppo 2/50", "reward  A 0.25 B 0.75", "prompt of one?")
        await pilot.press("r")
        await see(app, pilot, " A one", "▸B two", "prompt of two?")
        await pilot.press("s")
        await see(app, pilot, "save requested")
        assert (tmp_path / "two" / "control.jsonl").exists() and not (tmp_path / "one" / "control.jsonl").exists()
        app.screen.post_message(OpenRuns(("one",)))
        await see(app, pilot, " one  ppo 2/50", "reward  0.25 ")
        assert "two" not in screen_text(app)
        late = RunsPolled(1, tuple(Follower(RunDir(tmp_path / name)).poll() for name in ("two", "one")))
        app.screen.post_message(late)
        await pilot.pause()
        assert "reward  0.25 " in screen_text(app), "a look at runs that are followed no more is of no use"

    watch(tmp_path, script, "one", "two", size=(140, 45))


SIZES = [(200, 60), (40, 10), (80, 24), (119, 30), (120, 31), (20, 12), (140, 45)]


def test_it_fits_every_size_and_ascii(run: RunDir) -> None:
    say(
        run,
        *(ppo_step(step) for step in range(1, 9)),
        alert(3),
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
                to_lines([row for view in app.screen.query_one(WatchBody).query(RowsView) for row in view.rows()])
            )
            assert text.replace("東京", "").replace("👍", "").replace("…", "").isascii()

    watch(run.path.parent, script, ascii=True)


def test_one_key_leads_to_the_samples_and_back(run: RunDir) -> None:
    say(run, ppo_step(1), ppo_step(2))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        text = await see(app, pilot, "1-2 of 9")
        assert "v Samples" not in text, "there are none yet"
        say(run, drawn(2, sample("A?", "a")))
        await see(app, pilot, "v Samples", " running\n")
        await pilot.press("tab", "v")
        await see(app, pilot, "▸samples of step 2", "sample 1 of 1", "v Charts")
        await pilot.press("v")
        await see(app, pilot, "▸KL to the reference", "v Samples")

    watch(run.path.parent, script)


@pytest.mark.parametrize("size", [(100, 30), (120, 31), (140, 45)])
def test_samples_stand_below_the_charts_where_there_is_room(run: RunDir, size: tuple[int, int]) -> None:
    say(run, ppo_step(1), drawn(1, *(sample(f"Number {n}?", "a") for n in range(16))))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "▸reward", "reward vs √KL", "samples of step 1", "Number 0?", "Number 4?", "/ filter")

    watch(run.path.parent, script, size=size)


def test_samples_of_all_steps_are_filtered_by_a_text(run: RunDir) -> None:
    say(run, *(ppo_step(step) for step in range(1, 12)))
    say(run, drawn(1, sample("A red fox?", "Yes."), sample("B?", "no")), drawn(5, sample("C?", "It is RED\nFox.")))
    say(run, drawn(10, sample("D?", "d")))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "v Samples")
        await pilot.press("slash", *"red", "space", *"fox")
        text = await see(app, pilot, '"red fox": 2 samples', "in 2 of the 3 steps with samples", "A red fox?", "C?")
        assert "B?" not in text and "D?" not in text
        await pilot.press("enter", "up")
        await see(app, pilot, "▸       1   1.00", "sample 1 of 2", "A red fox?")
        say(run, drawn(11, sample("E?", "A red fox.")))
        await see(app, pilot, '"red fox": 3 samples')
        await pilot.press("right_square_bracket")
        await see(app, pilot, "▸       5   1.00")
        await pilot.press("v")
        await see(app, pilot, "reward  0.5 at 5")
        await pilot.press("v", "slash", "x", "x", "enter")
        await see(app, pilot, '"xx": 0 samples')
        await pilot.press("escape")
        await see(app, pilot, "▸samples of step 5", "2 of 4")
        await pilot.press("escape")
        assert app.current_mode == "runs", "the second goes back"

    watch(run.path.parent, script)


def test_one_key_points_at_the_alerts_the_last_first(run: RunDir) -> None:
    say(run, *(ppo_step(step) for step in range(1, 9)), alert(3), alert(6))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await see(app, pilot, "! goes there, a lists all 2", "← → a step")
        for step in (6, 3, 6):
            await pilot.press("exclamation_mark")
            await see(app, pilot, f"reward  {step / 10} at {step}")
        assert "← → a step" not in screen_text(app)
        await pilot.press("home")
        await see(app, pilot, "reward  0.1 at 1")

    watch(run.path.parent, script)


def test_a_metric_without_a_value_at_a_step_is_said_in_words(run: RunDir) -> None:
    last = ppo_step(3, policy_loss=math.nan)
    left_out = {name: value for name, value in last.metrics.items() if name != "ppo/value_loss"}
    say(run, ppo_step(1), ppo_step(2), replace(last, metrics=left_out), drawn(3, {"prompt": "A?", "response": "a"}))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        nothing = ("policy loss  none at step 3", "value loss  none at step 3", "reward -, KL -")
        text = await see(app, pilot, *nothing)
        assert "nan" not in text
        await pilot.press("left")
        await see(app, pilot, "policy loss  0.1 at 2")
        await pilot.press("right")
        await see(app, pilot, "policy loss  none at 3", "value loss  none at 3")

    watch(run.path.parent, script, size=(140, 45))
