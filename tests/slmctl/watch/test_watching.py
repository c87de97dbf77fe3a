"""How a person looks at runs, what is said of them in words, how samples are compared, how panels share a screen."""

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from engine.core.events import (
    CheckpointSaved,
    ControlAcknowledged,
    EvalCompleted,
    Event,
    RunFailed,
    StageFinished,
    StageStarted,
    StepCompleted,
)
from slmctl.plots.styled_rows import to_lines, wrap
from slmctl.tui.watch.body import arrange_panels
from slmctl.watch.controls import SentRequest, progress, refusal
from slmctl.watch.follower import ProcessState, RunInfo, StepSamples, Update
from slmctl.watch.frame import alert_texts, explanation, run_row, stage_parts
from slmctl.watch.panels import ChartView, curves_of, draw_panel, metrics_of, panel_of, panel_rows, panels_of, title_of
from slmctl.watch.samples import (
    Sample,
    SampleListing,
    SamplePosition,
    SampleSearch,
    list_rows,
    mean_numbers,
    nearest_position,
    new_phrase,
    parse_samples,
    previous_sample,
    row_at,
    text_rows,
    word_diff,
)
from slmctl.watch.state import WatchState
from tests.slmctl.watch.test_history import told
from tests.support.recorded_runs import alert, drawn, lines_of, ppo_step, sample

STEPS = list(range(1, 101))


def drawn_line(step: int, *rows: Any) -> StepSamples:
    return StepSamples("ppo", step, lines_of(drawn(step, *rows)).strip())


def test_the_cursor_moves_by_columns_and_follows_at_the_end() -> None:
    view = ChartView().moved(-1, STEPS, 33)
    assert view.cursor == 97, "99 steps over 33 columns are 3 a column"
    assert view.moved(-10, STEPS, 33).cursor == 67
    assert view.moved(1, STEPS, 33).cursor == 100
    assert view.moved(2, STEPS, 33).cursor is None
    assert view.moved(-99, STEPS, 33).cursor == 1
    assert ChartView().moved(-1, [], 33) == ChartView()
    assert ChartView().at(41, [10, 20, 40, 80]).cursor == 40


def test_a_range_narrows_around_the_cursor_and_goes_with_it() -> None:
    view = ChartView(cursor=50).zoomed(0.5, STEPS)
    assert view.window == (25.25, 74.75)
    assert view.at(100, STEPS).window == (50.5, 100.0)
    assert view.at(60, STEPS).window == view.window
    assert view.zoomed(2, STEPS).window is None
    assert ChartView().zoomed(0.5, STEPS).window == (50.5, 100.0), "at the newest the range ends there"
    narrow = ChartView(cursor=50)
    for _ in range(20):
        narrow = narrow.zoomed(0.5, STEPS)
    assert narrow.window == (48.0, 52.0)


@given(st.integers(0, 120) | st.none(), st.lists(st.sampled_from(["n", "w", "l", "r", "e"]), max_size=12))
def test_a_range_never_leaves_the_steps(cursor: int | None, keys: list[str]) -> None:
    view = ChartView(cursor=cursor)
    for key in keys:
        moves = {"n": view.zoomed(0.5, STEPS), "w": view.zoomed(2, STEPS), "l": view.moved(-3, STEPS, 40),
                 "r": view.moved(3, STEPS, 40), "e": view.at(inf, STEPS)}  # fmt: skip
        view = moves[key]
        if view.window is not None:
            assert 1 <= view.window[0] < view.window[1] <= 120
    assert view.smoother().smoother().smoother().smoothing == view.smoothing


def watching(*events: Event) -> WatchState:
    return WatchState([told(*events)])


def test_the_shown_stage_follows_an_active_run() -> None:
    events: list[Event] = [StageStarted("ppo", 9, at=1.0), ppo_step(1), StageStarted("eval", 5, at=3.0)]

    def look(word: str) -> Update:
        return Update([], [], ProcessState(word, "eval", 0, 5), RunInfo())

    live = watching(*events)
    live.add([look("running")])
    assert live.stage == "eval"
    live.add([look("finished")])
    assert live.stage == "eval", "what a person looked at does not go away"
    late = watching(*events)
    late.add([look("finished")])
    assert late.stage == "ppo", "a run that is over is opened where its curves are"
    late.show_stage("sft")
    late.add([look("running")])
    assert late.stage == "sft"
    late.show_stage("")
    assert late.stage == "eval"


def test_the_chosen_sample_is_one_that_there_is() -> None:
    several = watching(ppo_step(1), ppo_step(2), drawn(1, sample("a", "b")), drawn(2, *[sample("c", "d")] * 3))
    several.choose_sample(2)
    several.scrub(-1)
    assert (several.position, several.listing.chosen, several.copied(None)) == (SamplePosition(0, 0), 0, "a\nb")
    several.scrub(1)
    assert several.position == SamplePosition(1, 2)


def test_an_alert_past_the_last_whole_step_is_pointed_at_there() -> None:
    alerted = watching(ppo_step(1), ppo_step(2), ppo_step(3), alert(2), alert(4, "the loss is not finite"))
    found = []
    for _ in range(3):
        alerted.to_alert()
        found.append(alerted.view.cursor)
    assert found == [3, 2, 3]


def test_panels_of_a_stage_are_those_that_it_speaks_of() -> None:
    story = told(
        StageStarted("rm", 2, at=1.0),
        StepCompleted("rm", 1, {"rm/accuracy": 0.7}),
        EvalCompleted("rm", 1, {"rm/validation_accuracy": 0.8}),
    )
    assert [panel.title for panel in panels_of("rm", [story])] == ["accuracy"]
    assert [panel.title for panel in panels_of("ppo", [story])][:3] == [
        "reward",
        "KL to the reference",
        "reward vs √KL",
    ]
    strange = told(StepCompleted("dpo", 1, {"dpo/margin_of_\x1b": 1.0}))
    assert [panel.title for panel in panels_of("dpo", [strange])] == ["margin of ␛"]
    assert metrics_of("dpo", [strange]) == ["dpo/margin_of_\x1b"], "the name is kept, its title is safe to print"
    curves = curves_of(panels_of("rm", [story])[0], "rm", [story])
    assert [(curve.rank, curve.sparse) for curve in curves] == [(0, False), (1, True)]


def test_a_heading_holds_whole_numbers_only() -> None:
    story = told(ppo_step(1, score=1.25))
    for width in range(1, 60):
        heading = to_lines(panel_rows(panel_of("ppo/score"), "ppo", [story], ChartView(), width, 5))[0]
        assert len(heading) == width
        assert "1.25" in heading or not any(char.isdigit() for char in heading)
    story = told(*(ppo_step(step) for step in range(1234, 1237)))
    for width in range(1, 60):
        heading = to_lines(panel_rows(panel_of("ppo/score"), "ppo", [story], ChartView(cursor=1236), width, 5))[0]
        assert "at 1236" in heading or " at" not in heading


def test_pointing_draws_nothing_anew() -> None:
    story = told(*(ppo_step(step) for step in range(1, 6)))
    once = draw_panel(panel_of("ppo/score"), "ppo", [story], ChartView(), 40, 8)
    assert to_lines(once.rows_at(3))[0].strip().startswith("reward  0.3 at 3")
    assert to_lines(once.rows_at(None)) == to_lines(
        draw_panel(panel_of("ppo/score"), "ppo", [story], ChartView(), 40, 8).rows_at(None)
    )


@pytest.mark.parametrize("width", range(1, 150, 7))
def test_a_run_in_a_line_of_any_width(width: int) -> None:
    steps = [ppo_step(step) for step in (1, 2, 3)]
    story = told(StageStarted("ppo", 50, at=100.0), *steps, process=ProcessState("running", "ppo", 3, 50))
    text = to_lines([run_row(story, 103.0, width, "A")])[0]
    assert len(text) == width
    if width > 70:
        assert text.startswith(" A tiny  ppo 3/50 ━") and text.endswith("   running ")
        assert "  6%   1 s/step  47 s left" in text
    assert to_lines([run_row(story, 103.0, width, "", ascii=True)])[0].isascii()


def test_the_stages_in_a_line() -> None:
    story = told(StageStarted("sft", 3, at=1.0), StageFinished("sft", 3, {}, at=2.0), StageStarted("ppo", 9, at=3.0))
    assert "".join(text for _, text, _ in stage_parts(story, "sft", 80)) == (
        " 1 pretrain [2 sft ✓] 3 comparisons  4 rm  5 ppo ▸  6 eval "
    )
    assert "".join(text for _, text, _ in stage_parts(story, "ppo", 40, ascii=True)) == " 1 2 + 3 4[5 ppo >] 6"


def test_what_is_wrong_is_said_with_the_command_that_goes_on() -> None:
    story = told(
        StageStarted("ppo", 9, at=3.0), ppo_step(1), process=ProcessState("dead", "ppo", 1, 9, last_stage="ppo")
    )
    assert explanation(story, 0.0) == "Its process is gone; no checkpoint of ppo yet. To resume: slmctl ppo --run tiny"
    story.name, story.process = "my run", ProcessState("dead", "ppo", 1, 9, last_stage="eval")
    assert explanation(story, 0.0).endswith("To resume: slmctl run --run 'my run'")
    slow = told(ppo_step(1), process=ProcessState("slow", "ppo", 1, 9, heartbeat_at=100.0))
    assert explanation(slow, 115.0).startswith("No heartbeat for 15 s, but its process")
    assert explanation(told(process=ProcessState("running")), 0.0) == ""
    broken = told(RunFailed("ppo", "\x1b]0;x\x07\nline"), process=ProcessState("failed", "ppo"))
    assert explanation(broken, 0.0).startswith("Failed: ␛]0;x␇ line. To resume")
    rates = {"eval/win_rate": 0.825, "eval/win_rate_low": 0.789, "eval/win_rate_high": 0.856}
    over = told(EvalCompleted("eval", 5, rates), process=ProcessState("finished"))
    assert explanation(over, 0.0) == "PPO against SFT on test prompts: win rate 82.5% (78.9% to 85.6%)."
    assert alert_texts([told(alert(2), alert(1))])[0].startswith("ppo step 2: KL is 9.0")


def test_nobody_is_asked_who_cannot_hear() -> None:
    assert refusal(told(process=ProcessState("running")), "pause") == ""
    assert "the evaluation saves only at its end" in refusal(told(process=ProcessState("running", "eval")), "save")
    assert refusal(told(process=ProcessState("dead")), "pause") == "nothing to pause in tiny: its process is gone"


def test_how_far_a_request_has_come() -> None:
    heard = (StageStarted("ppo", 3, at=3.0), ppo_step(1), ControlAcknowledged(4, "save"))
    asked = SentRequest(4, "save", at=200.0)
    paused = ProcessState("paused", "ppo", 1, 3)
    assert (
        progress(told(*heard[:2], process=paused), asked, 201.0) == "save requested: takes effect when ppo step 2 ends"
    )
    assert progress(told(*heard, process=paused), asked, 201.0) == "saving"
    saved = told(*heard, CheckpointSaved("ppo", 1, "ppo/step-000001", at=210.0), process=paused)
    assert progress(saved, asked, 211.0) == "saved ppo/step-000001; kept until two more checkpoints are saved"
    assert progress(saved, asked, 220.0) == ""
    again = told(*heard, CheckpointSaved("ppo", 1, "ppo/step-000001", at=190.0), process=paused)
    assert progress(again, asked, 201.0) == "saved ppo/step-000001; kept until two more checkpoints are saved", (
        "what is saved already is not written twice"
    )


def test_a_request_at_the_last_step_waits_for_the_next_stage() -> None:
    def waiting(last: str, steps: int = 2) -> str:
        said = (StageStarted("ppo", 2, at=3.0), ppo_step(1))
        return progress(
            told(*said, process=ProcessState("running", "ppo", 1, steps, last_stage=last)),
            SentRequest(4, "stop", 200.0),
            201.0,
        )

    assert waiting("eval") == "stop requested: takes effect when the first step of the next stage ends"
    assert waiting("ppo") == "stop requested too late: ppo is at its last step, then it saves and ends"
    assert waiting("ppo", steps=3) == "stop requested: takes effect when ppo step 2 ends"
    opening = told(process=ProcessState("running", "rm", last_stage="rm"))
    assert progress(opening, SentRequest(4, "save", 200.0), 201.0) == "save requested: takes effect when rm step 1 ends"


def test_samples_are_compared_with_what_came_before() -> None:
    rows = [parse_samples(drawn_line(5, sample("a", "b", score=1.0), {"prompt": 3, "response": None}, "no row"))]
    assert [item.prompt for item in rows[0]] == ["a", "3"]
    assert str(rows[0][1].score) == "nan" and mean_numbers(rows[0]).score == 1.0
    history = [
        drawn_line(1, sample("é?", "one")),
        drawn_line(5, sample("b", "two")),
        drawn_line(9, sample("é?", "three")),
    ]
    found = previous_sample(history[:2], "é?")
    assert found is not None and (found[0], found[1].response) == (1, "one")
    assert previous_sample(history[:2], "?") is None
    assert parse_samples(StepSamples("ppo", 1, b'{"samples": 3}')) == []


def test_samples_of_all_steps_are_found_by_a_text() -> None:
    history = [drawn_line(1, sample("Ünder", "x")), drawn_line(5, sample("b", "two"), sample("c", "is\n ÜNDER it"))]
    found = SampleSearch().find(history, " ünder")
    assert found == [SamplePosition(0, 0), SamplePosition(1, 1)]
    assert [nearest_position(found, SamplePosition(*spot)) for spot in ((-1, 0), (0, 0), (1, 0), (1, 1), (1, 9))] == [
        0,
        0,
        0,
        1,
        1,
    ]
    finder = SampleSearch()
    assert len(finder.find(history[:1], "ünder")) == 1 and len(finder.find(history, "ünder")) == 2
    assert finder.find(history, "nowhere") == []


def test_changed_words_are_marked_and_the_texts_stay_whole() -> None:
    was, now = word_diff("The sum is 5.", "Gladly! The sum is 6.")
    assert was == [("The sum is", False), (" 5.", True)]
    assert now == [("Gladly!", True), (" The sum is", False), (" 6.", True)]
    assert word_diff("same", "same") == ([("same", False)], [("same", False)])


@given(st.text(), st.text())
def test_changes_never_change_a_text(old: str, new: str) -> None:
    was, now = word_diff(old, new)
    assert ("".join(text for text, _ in was), "".join(text for text, _ in now)) == (old, new)


def test_a_phrase_that_became_a_habit_is_named() -> None:
    def said(*responses: str) -> list[Sample]:
        return [Sample("p", response, 0.0, 0.0, 1.0, True) for response in responses]

    old = said("I am well.", "I hope that helps.", "No.", "Yes.")
    new = said("Well, I hope that helps.", "I hope that helps.", "I hope that is right.", "No.")
    assert new_phrase(new, old) == ("I hope that", 3, 1)
    assert new_phrase(old, old) is None and new_phrase([], old) is None and new_phrase(new[:2], old) is None


@given(
    st.lists(st.tuples(st.text(max_size=40), st.text(max_size=80), st.floats()), max_size=6),
    st.integers(1, 90),
    st.integers(1, 14),
    st.integers(0, 9),
    st.booleans(),
)
def test_samples_of_any_kind_fit(
    rows: list[tuple[str, str, float]], width: int, height: int, chosen: int, ascii: bool
) -> None:
    samples = [sample(prompt, response, score=score) for prompt, response, score in rows]
    history = [drawn_line(1, *samples[:2]), drawn_line(2, *samples)]
    found = SampleSearch().find(history, "a")
    for listing in (
        SampleListing(history, 1, chosen),
        SampleListing(history, 1, chosen, "a", found),
        SampleListing(history),
    ):
        shown = list_rows(listing, width, height, ascii)
        assert len(shown) == height
        assert all(sum(cell_len(text) for text, _ in row) == width for row in shown)
        numbers = [row_at(listing, height, y) for y in range(height)]
        assert all(number is None or 0 <= number < len(listing) for number in numbers)
    assert all(sum(cell_len(text) for text, _ in row) <= max(width, 20) for row in text_rows(history, 1, chosen, width))


def test_a_sample_tells_what_the_judge_thinks_where_one_watches() -> None:
    def told(**fields: float) -> str:
        return "".join(text for text, _ in text_rows([drawn_line(1, sample("p", "r", **fields))], 0, 0, 90)[0])

    assert "reward 1.50, judge 0.25, KL" in told(score=1.5, judge_score=0.25)
    assert "judge" not in told(score=1.5)


def test_lines_are_broken_between_words_and_keep_their_roles() -> None:
    rows = wrap([("name: ", "a"), ("hello big\nworld 東京東京東", "b")], 10)
    assert rows == [[("name:", "a")], [("hello big", "b")], [("world", "b")], [("東京東京東", "b")]]
    assert wrap([("", "")], 5) == [[]]


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 30), st.booleans())
def test_panels_have_room_or_a_page(width: int, height: int, panels: int, sampled: bool) -> None:
    plan = arrange_panels(width, height, panels, sampled)
    assert plan.columns >= 1 and plan.rows >= 1
    assert plan.per_page * plan.pages(max(1, panels)) >= panels
    assert plan.samples == 0 or (sampled and height - plan.samples >= 7 * plan.rows)
    if width < 96:
        assert plan.columns == 1
    assert plan.rows == 1 or (height - plan.samples) // plan.rows >= 7


def test_titles_are_words() -> None:
    assert title_of("ppo/value_loss") == "value loss"
    assert title_of("x/some_new_thing") == "some new thing"
