"""The Label mode obeys nothing that models or people say."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from engine.data.records import prompt_text
from slmctl.tui.app import Playground
from slmctl.worker.protocol import OnText, SampleRequest
from tests.support.fake_sampler import FakeSampler, FakeSampleTask
from tests.support.label_mode import HOSTILE, assert_harmless, make_run, pair, play, screen_of


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a run named tiny."""
    make_run(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_hostile_text_has_no_effect(home: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"{HOSTILE} {number}"}) + "\n" for number in range(20)))

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pair(app, pilot)
        assert_harmless(app)
        session = screen_of(app).session
        assert session is not None
        session.core.note = HOSTILE
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

        def sample(self, wanted: SampleRequest, on_text: OnText | None = None) -> FakeSampleTask:
            two = answers[len(self.draws) % len(answers)]
            for prompt in wanted.prompts:
                self.say(wanted.model, prompt_text(prompt), *two * len(wanted.prompts))
            return super().sample(wanted, on_text)

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
