"""The Label screen: layout, placeholders, errors, guidelines, statistics, goal."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.core.errors import DataError, FileError
from engine.data.labels.store import LabelStore, read_labels
from engine.data.records import prompt_text
from slmctl.chat.votes import SELECTION
from slmctl.tui.app import Playground
from slmctl.tui.label.label_widgets import ResponsePanel
from slmctl.tui.messages import OpenLabel
from slmctl.tui.playground import Start
from slmctl.worker.protocol import SampleRequest
from tests.support.fake_sampler import FakeSampler
from tests.support.label_mode import HOSTILE, assert_harmless, make_run, pair, play, screen_of, words
from tests.support.pilot import played, screen_text, until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a run named tiny."""
    make_run(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.mark.parametrize("k", [2, 3, 9])
def test_responses_are_side_by_side_where_there_is_room(home: Path, k: int) -> None:
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


@pytest.mark.parametrize(("answers", "told"), [(("yes", "no"), True), (("a", "b", "c", "d"), False)])
def test_fewer_responses_than_were_asked_for_are_explained(home: Path, answers: tuple[str, ...], told: bool) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        assert ("2 of 4, the others are identical" in words(app)) == told

    (home / "prompts.txt").write_text("really?\n")
    sampler = FakeSampler()
    sampler.say("tiny:sft", "really?", *answers * 32)
    play(home, script, "tiny:sft", sampler=sampler, k=4, prompts=str(home / "prompts.txt"))


def test_loading_is_shown_until_the_first_pair(home: Path) -> None:
    sampler = FakeSampler()
    held = sampler.hold("tiny:sft")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "sampling responses" in screen_text(app), "what is waited for")
        await pilot.press("1", "0", "x", "space", "f", "e", "K", "n", "r")
        held.set()
        await pair(app, pilot)

    assert play(home, script, sampler=sampler) == []


def test_a_model_that_fails_to_load_is_reported_and_retried(home: Path) -> None:
    sampler = FakeSampler()
    sampler.fail("tiny:sft", f"it is torn {HOSTILE}")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "! it is torn" in screen_text(app), "the reason")
        assert_harmless(app)
        sampler.fail("tiny:sft", None)
        await pilot.press("r")
        await pair(app, pilot)

    play(home, script, sampler=sampler)


def test_a_sampler_that_dies_does_not_end_the_labeling(home: Path) -> None:
    sampler = FakeSampler()

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        sampler.die()
        for judged in range(30):
            await pilot.press("2" if judged % 2 else "1")
            await pair(app, pilot, judged + 1)

    assert len(play(home, script, sampler=sampler)) == 30


def test_a_missing_model_is_reported(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "checkpoint of step 7" in screen_text(app), "the reason")

    play(home, script, "tiny:ppo@7")


@pytest.mark.parametrize(
    ("model", "mended", "said"),
    [("tiny:ppo@7", False, "no ppo checkpoint of step 7"), ("tiny:sft", False, "it is torn"), ("tiny:sft", True, None)],
)
def test_a_screen_that_is_left_with_an_error_on_it_ends_with_that(
    home: Path, model: str, mended: bool, said: str | None
) -> None:
    sampler = FakeSampler()
    sampler.fail("tiny:sft", "it is torn")
    app = Playground(Start(home, "label", models=(model,)), sampler)

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "! " in screen_text(app), "the reason")
        if mended:
            sampler.fail("tiny:sft", None)
            await pilot.press("r")
            await pair(app, pilot)

    played(app, script)
    assert (app.fault is None) == (said is None) and (said or "None") in str(app.fault)


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
        await until(pilot, lambda: "Choose a policy to label" in screen_text(app), "the offer")
        assert [line.strip() for line in screen_text(app).splitlines() if ":" in line] == [
            "Choose a policy to label. (For two at once: slmctl label A B)",
            "other:sft",
            "tiny:ppo",
            "tiny:sft",
        ]
        await pilot.press("down", "enter")
        await pair(app, pilot)
        session = screen_of(app).session
        assert session is not None and session.options.models == ("tiny:ppo",)

    played(Playground(Start(home, "label"), FakeSampler()), script)


def test_in_an_empty_folder_there_is_nothing_to_label(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "There are no policies to label yet" in screen_text(app), "the sentence")

    played(Playground(Start(tmp_path, "label"), FakeSampler()), script)


def test_another_mode_hands_over_other_models(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("1")
        await pair(app, pilot, 1)
        await app.open_mode("label", OpenLabel(("tiny:ppo",)))

        def other() -> bool:
            session = screen_of(app).session
            return session is not None and session.options.models == ("tiny:ppo",) and session.question is not None

        await until(pilot, other, "the other models")
        await pilot.press("2")
        await pair(app, pilot, 2)

    _, second = play(home, script)
    assert {candidate.model for candidate in second.candidates} == {"tiny:ppo"}


def test_other_models_that_fail_are_reported_above_the_pair(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await app.open_mode("label", OpenLabel(("tiny:ppo@7",)))
        await until(pilot, lambda: "no ppo checkpoint of step 7" in screen_text(app), "the reason")
        await pilot.press("1")
        await pair(app, pilot, 1)

    assert len(play(home, script)) == 1


def test_guidelines_and_statistics_can_be_read(home: Path, tmp_path: Path) -> None:
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


class Short(FakeSampler):
    """A model that reads few characters."""

    async def check(self, wanted: SampleRequest) -> None:
        """Raises where a prompt is longer."""
        if any(len(prompt_text(prompt)) > 20 for prompt in wanted.prompts):
            raise DataError(f"the prompt is too long {HOSTILE}")
        await super().check(wanted)


def test_skipped_prompts_are_reported_with_the_reason(home: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("short\nfar too long a prompt to ask\nbrief\n")

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await until(pilot, lambda: "some prompts skipped: press s" in screen_text(app), "the word of it")
        await pilot.press("s")
        await until(pilot, lambda: "skipped: the prompt is too long" in screen_text(app), "the reason")
        assert_harmless(app)

    play(home, script, sampler=Short(), prompts=str(tmp_path / "prompts.txt"))


def test_votes_in_chat_are_shown_beside_the_labels(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("1")
        await pair(app, pilot, 1)
        labels = home / "tiny" / "labels.db"
        (label,) = read_labels(labels)
        with closing(LabelStore(labels)) as store:
            store.add(replace(label, selection=SELECTION))
        await pilot.press("s")
        await until(pilot, lambda: "votes in Chat 1, not counted above" in words(app), "the statistics")
        await pilot.press("escape", "2")
        await pair(app, pilot, 2)
        assert "2 labels +1 from Chat" in words(app), "read with the next label"

    play(home, script)


def test_the_goal_is_shown(home: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        await pilot.press("1")
        await pair(app, pilot, 1)
        assert "1/2 ██████░░░░░░" in screen_text(app)
        await pilot.press("2")
        await until(
            pilot, lambda: "2/2 ████████████ Goal reached. Shift+N starts a new round" in words(app), "the goal"
        )

    play(home, script, goal=2)
