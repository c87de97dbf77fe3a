"""The Label mode: one key an answer, blind until it is saved, and every answer can be undone."""

import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from engine.data.labels.store import Label, LabelStore
from engine.data.records import prompt_text
from slmctl.tui.app import Playground
from slmctl.tui.label import screen
from slmctl.tui.label.label_widgets import ResponseHead, ResponsePanel
from slmctl.worker.protocol import OnText, SampleRequest
from tests.support.fake_sampler import FakeSampler, FakeSampleTask
from tests.support.label_mode import NAMES, by_place, make_run, pair, play, screen_of, words
from tests.support.pilot import screen_text, typed_at_once, until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a run named tiny."""
    make_run(tmp_path / "runs")
    return tmp_path / "runs"


ANSWERS: list[tuple[list[str], tuple[str, list[int] | None, int]]] = [
    (["1"], ("choice", [0, 1], 1)),
    (["2"], ("choice", [1, 0], 1)),
    (["!"], ("choice", [0, 1], 2)),
    (["@"], ("choice", [1, 0], 2)),
    (["0"], ("tie", [0, 0], 1)),
    (["x"], ("both_bad", [0, 0], 1)),
    (["space"], ("skip", None, 1)),
    (["K", "2", ">", "1", "enter"], ("ranking", [1, 0], 1)),
    (["K", "1", "=", "2", "enter"], ("tie", [0, 0], 1)),
    (["K", "1", "<", "2", "enter", "backspace", "backspace", "2", "enter"], ("ranking", [0, 1], 1)),
]


def test_one_key_an_answer(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        for judged, (pressed, _) in enumerate(ANSWERS):
            await pair(app, pilot, judged)
            await pilot.press(*pressed)
        await pair(app, pilot, len(ANSWERS))

    kept = play(home, script)
    assert [(one.verdict, by_place(one), one.strength) for one in kept] == [said for _, said in ANSWERS]
    assert {one.annotator for one in kept} == {"ann"}
    assert {tuple(candidate.model for candidate in one.candidates) for one in kept} == {("tiny:sft", "tiny:ppo")}


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_models_are_shown_once_the_vote_is_saved(home: Path, size: tuple[int, int]) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        before = screen_text(app)
        assert not [name for name in (*NAMES, "scores") if name in before]
        await pilot.press("2")
        await pair(app, pilot, 1)
        told = screen_text(app)
        assert "saved: 2 is better" in told and "tiny:rm scores 1: " in told
        shown = screen_of(app).session
        assert shown is not None
        order = [shown.core.labels[0].candidates[at].model for at in shown.core.labels[0].shown]
        assert f"1: {order[0]}  2: {order[1]}" in told

    play(home, script, sampler=Nameless(), size=size)


class Nameless(FakeSampler):
    """Answers that do not say which model gave them."""

    def sample(self, wanted: SampleRequest, on_text: OnText | None = None) -> FakeSampleTask:
        answers = [f"answer {wanted.seed % 997}.{wanted.step}.{row}" for row in range(len(wanted.prompts))]
        for prompt in wanted.prompts:
            self.say(wanted.model, prompt_text(prompt), *answers)
        return super().sample(wanted, on_text)


def test_the_same_number_at_once_means_much_better(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "AGAIN_S", 1e9)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("1")
        await pair(app, pilot, 1)
        await pilot.press("1")
        await until(pilot, lambda: "pressed twice, changed to: 1 is much better" in screen_text(app), "much better")
        await pilot.press("1", "1")
        await pilot.pause(0.05)
        await pair(app, pilot, 1)
        await pilot.press("2")
        await pair(app, pilot, 2)

    first, second = play(home, script)
    assert (first.strength, second.strength, by_place(second)) == (2, 1, [1, 0])


def test_a_number_that_is_held_down_is_one_vote(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "AGAIN_S", 1e9)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press(*["2"] * 12)
        await until(pilot, lambda: "much better" in screen_text(app), "much better")

    (kept,) = play(home, script)
    assert (kept.strength, by_place(kept)) == (2, [1, 0])


def test_no_answer_is_taken_before_the_last_is_on_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "AGAIN_S", 1e9)
    writable, add = threading.Event(), LabelStore.add

    def slow(store: LabelStore, label: Label, instead_of: int | None = None) -> int:
        assert writable.wait(60)
        return add(store, label, instead_of)

    monkeypatch.setattr(LabelStore, "add", slow)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("1", "2", "0", "x", "space", "backspace", "1")
        assert "ignored: your last answer is still being saved" in screen_text(app)
        writable.set()
        await until(pilot, lambda: "a key pressed while saving was ignored" in words(app), "the rest")
        await until(pilot, lambda: "1 is much better" in screen_text(app), "much better")
        await pair(app, pilot, 1)

    (kept,) = play(home, script)
    assert (kept.strength, by_place(kept)) == (2, [0, 1])


def test_the_same_number_later_is_a_vote_on_the_next_pair(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "AGAIN_S", -1.0)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        for judged in range(3):
            await pair(app, pilot, judged)
            await pilot.press("1")
        await pair(app, pilot, 3)

    assert [one.strength for one in play(home, script)] == [1, 1, 1]


def test_undo_asks_again_and_again(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        prompts = []
        for judged, key in enumerate("120"):
            await pair(app, pilot, judged)
            session = screen_of(app).session
            assert session is not None and session.question is not None
            prompts.append(str(session.question.prompt))
            await pilot.press(key)
        await pair(app, pilot, 3)
        for judged in (2, 1, 0):
            await pilot.press("backspace")
            await pair(app, pilot, judged)
            assert prompts[judged][:40] in screen_text(app).replace("\n", " ")
        await pilot.press("backspace")
        await pilot.pause(0.05)

    assert play(home, script) == []


def test_flag_and_note_are_kept_with_the_vote(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("f", "n", "s", "o", "enter")
        await pilot.pause()
        assert "flagged  note" in screen_text(app)
        await pilot.press("2")
        await pair(app, pilot, 1)
        assert "flagged" not in screen_text(app)
        await pilot.press("1")
        await pair(app, pilot, 2)

    first, second = play(home, script)
    assert (first.flagged, first.note, second.flagged, second.note) == (True, "so", False, "")


def test_letters_are_letters_while_a_line_is_typed(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("n", *"x12", "space", *"0fK")
        assert app.screen.query_one(Input).value == "x12 0fK"
        await pilot.press("escape")
        await pair(app, pilot)
        assert "note" not in screen_text(app).splitlines()[1]

    assert play(home, script) == []


def test_an_edit_becomes_a_demonstration_and_the_pair_stays(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        session = screen_of(app).session
        assert session is not None and session.question is not None
        text = session.question.on_screen[1].text
        await pilot.press("e", "2")
        await pilot.pause()
        area = app.screen.query_one(TextArea)
        assert area.text == text
        area.load_text("a better text")
        await pilot.press("enter")
        await pair(app, pilot, 1)
        assert "saved: your text, as a demonstration; you can still judge the pair" in screen_text(app)
        await pilot.press("1")
        await pair(app, pilot, 2)

    edit, vote = play(home, script)
    assert (edit.verdict, edit.edited, edit.ranks) == ("edit", "a better text", None)
    assert (vote.prompt, vote.candidates, vote.verdict) == (edit.prompt, edit.candidates, "choice")


def test_other_responses_are_drawn(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        session = screen_of(app).session
        assert session is not None
        before = session.question
        await pilot.press("r")
        await until(pilot, lambda: session.question is not before, "other responses")
        assert before is not None and session.question is not None
        assert session.question.prompt == before.prompt
        await pilot.pause()
        assert "new responses" in screen_text(app)

    play(home, script)


def test_an_edit_does_not_reveal_the_models(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("e", "1")
        await until(pilot, lambda: bool(app.screen.query(TextArea)), "the editor")
        app.screen.query_one(TextArea).load_text("a better text")
        await pilot.press("enter")
        await pair(app, pilot, 1)
        shown = screen_text(app)
        assert "you can still judge the pair" in shown and "1: tiny:" not in shown and "scores" not in shown
        await pilot.press("1")
        await pair(app, pilot, 2)
        assert "1: tiny:" in screen_text(app)

    play(home, script)


def test_holding_backspace_undoes_label_after_label(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        for judged in range(5):
            await pair(app, pilot, judged)
            await pilot.press("2" if judged % 2 else "1")
        await pair(app, pilot, 5)
        typed_at_once(app, *["backspace"] * 4)
        await pair(app, pilot, 1)

    assert len(play(home, script)) == 1


def test_a_vote_counts_only_for_the_responses_shown(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        screen = screen_of(app)
        assert screen.session is not None and screen.session.question is not None
        core = screen.session.core
        assert await core.resample()  # the core has other responses before the screen has heard of it
        screen.action_choose(0)
        await until(pilot, lambda: "not saved: the responses had just changed" in screen_text(app), "the refusal")
        assert core.labels == []
        await pilot.press("1")
        await pair(app, pilot, 1)

    (vote,) = play(home, script)
    assert vote.verdict == "choice"


def test_the_next_pair_is_there_though_the_sampler_is_busy(home: Path) -> None:
    sampler = FakeSampler()

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        session = screen_of(app).session
        assert session is not None
        await until(pilot, lambda: len(session.core.questions.ready) >= 4, "questions that wait")
        sampler.hold("tiny:sft")
        for judged in range(4):
            await pilot.press("2" if judged % 2 else "1")
            await pair(app, pilot, judged + 1)

    assert len(play(home, script, sampler=sampler)) == 4


def test_several_responses_can_be_ranked(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("5", "4")
        await pair(app, pilot, 1)
        await pilot.press("K", *"3>1=4>2", "enter")
        await pair(app, pilot, 2)

    choice, ranking = play(home, script, "tiny:sft", k=4)
    assert by_place(choice) == [1, 1, 1, 0]
    assert by_place(ranking) == [1, 2, 0, 1]


def test_a_ranking_of_an_earlier_session_can_be_undone_among_pairs(home: Path) -> None:
    async def rank(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("K", *"4321", "enter")
        await pair(app, pilot, 1)

    async def undo(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot, 1)
        await pilot.press("4", "backspace")
        await pair(app, pilot, 0)
        assert len([panel for panel in app.screen.query(ResponsePanel) if panel.display]) == 4
        await pilot.press("4")
        await pair(app, pilot, 1)
        assert len([panel for panel in app.screen.query(ResponsePanel) if panel.display]) == 2

    assert [one.verdict for one in play(home, rank, "tiny:sft", k=4)] == ["ranking"]
    (kept,) = play(home, undo, "tiny:sft")
    assert (kept.verdict, by_place(kept)) == ("choice", [1, 1, 1, 0])


def test_a_click_on_a_number_is_a_vote(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.click(list(app.screen.query(ResponseHead))[1])
        await pair(app, pilot, 1)

    (kept,) = play(home, script)
    assert by_place(kept) == [1, 0]
