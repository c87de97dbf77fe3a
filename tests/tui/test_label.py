"""The Label mode: one key an answer, blind until it is kept, nothing lost, nothing obeyed that models or people say."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from engine.errors import EngineError, FileError
from engine.planning import RunRequest, prepare
from engine.preferences import Judgement, LabelStore, read_labels
from engine.records import prompt_text
from slmctl.labelling.rounds import Progress, Round
from slmctl.labelling.sitting import Wishes
from slmctl.tui import round_desk
from slmctl.tui.app import Playground
from slmctl.tui.messages import OpenLabel
from slmctl.tui.screens import label
from slmctl.tui.screens.label import LabelScreen
from slmctl.tui.screens.label_round import RoundScreen
from slmctl.tui.start import Start
from slmctl.tui.widgets.response_panel import ResponseHead, ResponsePanel
from slmctl.worker.sampler import Draw, OnToken
from tests.tui.fakes import FakeDrawing, FakeSampler
from tests.tui.playing import Script, played, screen_text, until

NAMES = ("tiny:sft", "tiny:ppo", "tiny:rm")
HOSTILE = "\x1b]2;pwned\x07[@click=app.quit()]here[/] [/nope] \x1b[31mred\x9b2J\u202eright\ttab\rback\x00"


def make_run(home: Path, name: str = "tiny", *finished: str) -> None:
    """A run with these stages finished."""
    run = prepare(RunRequest("run", run=name), home, {"OMP_NUM_THREADS": "1"}).rundir
    for stage in finished or ("sft", "rm", "ppo"):
        run.final(stage).mkdir(parents=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a run named tiny."""
    make_run(tmp_path / "runs")
    return tmp_path / "runs"


def play(
    home: Path,
    script: Script,
    *models: str,
    sampler: FakeSampler | None = None,
    size: tuple[int, int] = (80, 24),
    **wished: Any,
) -> list[Judgement]:
    """Runs a script against the label mode; what stands in the database afterwards."""
    wishes = Wishes(models or ("tiny:sft", "tiny:ppo"), annotator=wished.pop("annotator", "ann"), **wished)
    start = Start(home, "label", models=wishes.models, options={"label": wishes})
    played(Playground(start, sampler or FakeSampler()), script, size)
    labels = home / "tiny" / "labels.db"
    return read_labels(labels) if labels.exists() else []


def screen_of(app: Playground) -> LabelScreen:
    """The label mode's own screen, also where something lies over it."""
    found = app.screen_stack[0]
    assert isinstance(found, LabelScreen)
    return found


async def pair(app: Playground, pilot: Pilot[None], judged: int = 0) -> None:
    """Waits until so many judgements stand and the next question is on the screen."""

    def there() -> bool:
        session = screen_of(app).session
        return session is not None and session.question is not None and len(session.labelling.judged) == judged

    await until(pilot, there, f"a question after {judged} judgements")
    await pilot.pause()


def words(app: Playground) -> str:
    """What stands on the screen, as one line without frames."""
    return " ".join(screen_text(app).translate(str.maketrans("│▌╭╮╰╯─", "       ")).split())


def by_place(judgement: Judgement) -> list[int] | None:
    """The ranks in the order of the screen."""
    return None if judgement.ranks is None else [judgement.ranks[at] for at in judgement.shown]


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
def test_whose_responses_they_are_is_told_once_the_vote_is_kept(home: Path, size: tuple[int, int]) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        before = screen_text(app)
        assert not [name for name in (*NAMES, "says") if name in before]
        await pilot.press("2")
        await pair(app, pilot, 1)
        told = screen_text(app)
        assert "kept: 2 is better" in told and "tiny:rm says 1: " in told
        shown = screen_of(app).session
        assert shown is not None
        order = [shown.labelling.judged[0].candidates[at].model for at in shown.labelling.judged[0].shown]
        assert f"1: {order[0]}  2: {order[1]}" in told

    play(home, script, sampler=Nameless(), size=size)


class Nameless(FakeSampler):
    """Answers that do not say which model gave them."""

    def draw(self, wanted: Draw, on_token: OnToken | None = None) -> FakeDrawing:
        answers = [f"answer {wanted.seed % 997}.{wanted.step}.{row}" for row in range(len(wanted.prompts))]
        for prompt in wanted.prompts:
            self.say(wanted.model, prompt_text(prompt), *answers)
        return super().draw(wanted, on_token)


def test_the_same_number_at_once_means_much_better(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label, "AGAIN_S", 1e9)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("1")
        await pair(app, pilot, 1)
        await pilot.press("1")
        await until(pilot, lambda: "much better" in screen_text(app), "much better")
        await pilot.press("1", "1")
        await pilot.pause(0.05)
        await pair(app, pilot, 1)
        await pilot.press("2")
        await pair(app, pilot, 2)

    first, second = play(home, script)
    assert (first.strength, second.strength, by_place(second)) == (2, 1, [1, 0])


def test_a_number_that_is_held_down_is_one_vote(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label, "AGAIN_S", 1e9)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press(*["2"] * 12)
        await until(pilot, lambda: "much better" in screen_text(app), "much better")

    (kept,) = play(home, script)
    assert (kept.strength, by_place(kept)) == (2, [1, 0])


def test_until_an_answer_is_on_the_disk_no_other_is_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label, "AGAIN_S", 1e9)
    writable, add = threading.Event(), LabelStore.add

    def slow(store: LabelStore, judgement: Judgement) -> int:
        assert writable.wait(60)
        return add(store, judgement)

    monkeypatch.setattr(LabelStore, "add", slow)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("1", "2", "0", "x", "space", "backspace", "1")
        assert "kept" not in screen_text(app)
        writable.set()
        await until(pilot, lambda: "1 is much better" in screen_text(app), "much better")
        await pair(app, pilot, 1)

    (kept,) = play(home, script)
    assert (kept.strength, by_place(kept)) == (2, [0, 1])


def test_the_same_number_later_is_a_vote_on_the_next_pair(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label, "AGAIN_S", -1.0)

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
        assert "your text is kept as a demonstration" in screen_text(app)
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
        assert "other responses" in screen_text(app)

    play(home, script)


def test_the_next_pair_is_there_though_the_sampler_is_busy(home: Path) -> None:
    sampler = FakeSampler()

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        session = screen_of(app).session
        assert session is not None
        await until(pilot, lambda: len(session.labelling.questions.waiting) >= 4, "questions that wait")
        sampler.hold("tiny:sft")
        for judged in range(4):
            await pilot.press("2" if judged % 2 else "1")
            await pair(app, pilot, judged + 1)

    assert len(play(home, script, sampler=sampler)) == 4


def test_several_responses_are_ranked_and_a_number_beyond_them_means_nothing(home: Path) -> None:
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


@pytest.mark.parametrize("k", [2, 3, 9])
def test_responses_stand_side_by_side_where_there_is_room(home: Path, k: int) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        for size, beside in (((80, 24), False), ((140, 45), True), ((40, 10), False), ((200, 60), True)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            panels = [panel for panel in app.screen.query(ResponsePanel) if panel.display]
            assert len(panels) == k
            assert (panels[0].region.y == panels[1].region.y) == beside
            if size > (40, 10):
                assert all(panel.size.height >= 2 for panel in panels)

    play(home, script, "tiny:sft", k=k)


def test_a_click_on_a_number_is_a_vote(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.click(list(app.screen.query(ResponseHead))[1])
        await pair(app, pilot, 1)

    (kept,) = play(home, script)
    assert by_place(kept) == [1, 0]


def test_what_is_loaded_is_said_until_the_first_pair_is_there(home: Path) -> None:
    sampler = FakeSampler()
    held = sampler.hold("tiny:sft")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "drawing responses" in screen_text(app), "what is waited for")
        await pilot.press("1", "0", "x", "space", "f", "e", "K", "n", "r")
        held.set()
        await pair(app, pilot)

    assert play(home, script, sampler=sampler) == []


def test_a_model_that_cannot_be_opened_is_told_and_tried_again(home: Path) -> None:
    sampler = FakeSampler()
    sampler.fail("tiny:sft", f"it is torn {HOSTILE}")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "! it is torn" in screen_text(app), "the reason")
        assert_harmless(app)
        sampler.fail("tiny:sft", None)
        await pilot.press("r")
        await pair(app, pilot)

    play(home, script, sampler=sampler)


def test_a_sampler_that_dies_does_not_end_the_labelling(home: Path) -> None:
    sampler = FakeSampler()

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        sampler.die()
        for judged in range(30):
            await pilot.press("2" if judged % 2 else "1")
            await pair(app, pilot, judged + 1)

    assert len(play(home, script, sampler=sampler)) == 30


def test_a_model_that_is_not_there_is_told(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "has no saved step 7" in screen_text(app), "the reason")

    play(home, script, "tiny:ppo@7")


def test_what_the_disk_does_not_take_stays_on_the_screen(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise FileError(f"the disk is full {HOSTILE}")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        with monkeypatch.context() as patch:
            patch.setattr(LabelStore, "add", full)
            await pilot.press("1")
            await until(pilot, lambda: "the disk is full" in words(app), "the reason")
            assert_harmless(app)
        await pair(app, pilot)
        await pilot.press("1")
        await pair(app, pilot, 1)

    assert len(play(home, script)) == 1


def test_without_a_model_the_policies_are_offered(home: Path) -> None:
    make_run(home, "other", "sft")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "Whose responses" in screen_text(app), "the offer")
        assert [line.strip() for line in screen_text(app).splitlines() if ":" in line] == [
            "Whose responses do you want to judge? (Two at once: slmctl label A B)",
            "other:sft",
            "tiny:ppo",
            "tiny:sft",
        ]
        await pilot.press("down", "enter")
        await pair(app, pilot)
        session = screen_of(app).session
        assert session is not None and session.wishes.models == ("tiny:ppo",)

    played(Playground(Start(home, "label"), FakeSampler()), script)


def test_in_an_empty_folder_there_is_nothing_to_label(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "There is no policy to label yet" in screen_text(app), "the sentence")

    played(Playground(Start(tmp_path, "label"), FakeSampler()), script)


def test_another_mode_hands_over_other_models(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("1")
        await pair(app, pilot, 1)
        await app.open_mode("label", OpenLabel(("tiny:ppo",)))

        def other() -> bool:
            session = screen_of(app).session
            return session is not None and session.wishes.models == ("tiny:ppo",) and session.question is not None

        await until(pilot, other, "the other models")
        await pilot.press("2")
        await pair(app, pilot, 2)

    _, second = play(home, script)
    assert {candidate.model for candidate in second.candidates} == {"tiny:ppo"}


def test_guidelines_and_figures_can_be_read(home: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_text(f"Short is good. {HOSTILE}")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("h")
        await until(pilot, lambda: "Short is good." in screen_text(app), "the guidelines")
        assert_harmless(app)
        await pilot.press("escape")
        await pilot.press("1")
        await pair(app, pilot, 1)
        await pilot.press("s")
        await until(pilot, lambda: "your labels" in screen_text(app), "the figures")
        assert "1 (1 choice)" in screen_text(app)

    play(home, script, guidelines=str(tmp_path / "rules.txt"))


def test_the_goal_is_shown(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("1")
        await pair(app, pilot, 1)
        assert "1/2 ██████░░░░░░" in screen_text(app)
        await pilot.press("2")
        await until(pilot, lambda: "2/2 ████████████ your goal" in words(app), "the goal")

    play(home, script, goal=2)


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


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_nothing_is_obeyed_that_models_or_people_say(home: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"{HOSTILE} {number}"}) + "\n" for number in range(20)))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        assert_harmless(app)
        session = screen_of(app).session
        assert session is not None
        session.labelling.note = HOSTILE
        await pilot.press("n")
        await pilot.pause()
        assert_harmless(app)
        await pilot.press("escape", "2")
        await pair(app, pilot, 1)
        assert_harmless(app)
        await pilot.press("e", "1")
        await pilot.pause()
        assert_harmless(app)
        await pilot.press("escape")
        await pilot.press("s")
        await pilot.pause(0.1)
        assert_harmless(app)

    (kept,) = play(home, script, prompts=str(prompts), annotator=f"ann {HOSTILE}", size=size)
    assert HOSTILE in str(kept.prompt) and HOSTILE in kept.candidates[0].text and HOSTILE in kept.note


STRANGE = st.text(min_size=1, max_size=60) | st.binary(min_size=1).map(lambda raw: raw.decode("latin-1"))


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(STRANGE, min_size=2, max_size=2, unique_by=str.strip), min_size=12, max_size=12))
def test_any_response_can_be_judged(home: Path, answers: list[list[str]]) -> None:
    class Said(FakeSampler):
        """Gives two answers to every prompt, others each time."""

        def draw(self, wanted: Draw, on_token: OnToken | None = None) -> FakeDrawing:
            two = answers[len(self.draws) % len(answers)]
            for prompt in wanted.prompts:
                self.say(wanted.model, prompt_text(prompt), *two * len(wanted.prompts))
            return super().draw(wanted, on_token)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        for judged in range(20):
            await pair(app, pilot, judged)
            assert_harmless(app)
            await pilot.press("1" if judged % 2 else "2")
        await pair(app, pilot, 20)

    (home / "tiny" / "labels.db").unlink(missing_ok=True)
    kept = play(home, script, "tiny:sft", sampler=Said())
    said = [set(two) for two in answers]
    assert all({candidate.text for candidate in one.candidates} in said for one in kept)


def fake_drive(*said: Progress, error: str = "") -> Any:
    """Commands that say this and end well, or with an error."""

    async def drive(planned: Round, home: Path, environ: Mapping[str, str]) -> AsyncIterator[Progress]:
        for progress in said:
            yield progress
            await asyncio.sleep(0.01)
        if error:
            raise EngineError(error)
        make_run(home, planned.name, "sft", "rm", "ppo")

    return drive


RM = Progress("rm", 6, 6, "accuracy 0.8", {"rm/validation_accuracy": 0.8}, 15, True)
PPO = Progress("ppo", 30, 30, "score 1.2  KL 0.9", {}, 0, True)


async def labelled(app: Playground, pilot: Pilot[None], count: int) -> None:
    """So many labels, by turns."""
    for judged in range(count):
        await pair(app, pilot, judged)
        await pilot.press("2" if judged % 2 else "1")
    await pair(app, pilot, count)


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_a_round_goes_from_labels_to_pairs_of_the_new_policy(
    home: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(round_desk, "drive", fake_drive(Progress("rm", 1, 6), RM, Progress("ppo", 3, 30), PPO))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await labelled(app, pilot, 12)
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, RoundScreen), "the round")
        await pilot.pause()
        plan = words(app)
        assert "A new run, tiny-2: 12 labels teach tiny:rm your taste" in plan
        assert "slmctl rm --run tiny-2 --from tiny" in plan and "enter: start" in plan
        await pilot.press("enter")
        await until(pilot, lambda: "tiny-2 is ready" in words(app), "the end")
        await pilot.pause()
        assert "tiny-2 is ready" in screen_text(app)
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, RoundScreen), "the result")
        await pilot.pause()
        result = words(app)
        assert "right on 80% of the 15 newest labels, not learnt from" in result and "enter: label tiny-2:ppo" in result
        await pilot.press("enter")

        def next_round() -> bool:
            session = screen_of(app).session
            return session is not None and session.wishes.models == ("tiny-2:ppo",) and session.question is not None

        await until(pilot, next_round, "pairs of the new policy")
        session = screen_of(app).session
        assert session is not None
        assert (session.sitting.recipe.scorer, session.labelling.judged) == ("tiny-2:rm", [])
        assert session.sitting.labels == home / "tiny-2" / "labels.db"

    assert len(play(home, script, "tiny:sft", size=size)) == 12


def test_a_round_that_fails_says_why_and_can_be_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_desk, "drive", fake_drive(Progress("rm", 1, 6), error=f"the disk is full {HOSTILE}"))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await labelled(app, pilot, 10)
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, RoundScreen), "the round")
        await pilot.press("enter")
        await until(pilot, lambda: "tiny-2 failed" in screen_text(app), "the end")
        assert_harmless(app)
        monkeypatch.setattr(round_desk, "drive", fake_drive(RM, PPO))
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, RoundScreen), "the round")
        await pilot.press("enter")
        await until(pilot, lambda: "tiny-2 is ready" in screen_text(app), "the end")

    play(home, script, "tiny:sft")


def test_too_few_labels_for_a_round_are_told(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await labelled(app, pilot, 2)
        await pilot.press("N")
        await until(pilot, lambda: "needs 10 labels" in words(app), "the reason")

    play(home, script, "tiny:sft")
