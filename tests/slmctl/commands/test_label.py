"""`slmctl label` off a terminal: what it refuses, and a simulated labeler with a sampler by heart."""

import json
import signal
from pathlib import Path

import pytest

from engine.data.labels.store import read_labels
from engine.data.records import prompt_text
from engine.pocket.judge import judge
from engine.pocket.labelers import PERSONAS, persona_utility
from engine.run.planning import RunRequest, prepare
from slmctl.worker import client
from slmctl.worker.protocol import OnText, SampleRequest
from tests.slmctl.conftest import Cli
from tests.support.fake_sampler import FakeSampler, FakeSampleTask

ANSWERS = ("No.", "Happy to help! I hope that helps. Let me know if you need more.", "7.", "The answer is 7.")


class Varied(FakeSampler):
    """Gives one of a few answers, by the draw."""

    def sample(self, wanted: SampleRequest, on_text: OnText | None = None) -> FakeSampleTask:
        for prompt in wanted.prompts:
            said = [ANSWERS[(wanted.seed + wanted.step + row * 7) % 4] for row in range(len(wanted.prompts))]
            self.say(wanted.model, prompt_text(prompt), *said)
        return super().sample(wanted, on_text)


@pytest.fixture
def tiny(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run tiny with its models, drawn from by heart."""
    run = prepare(RunRequest("run"), home, {"OMP_NUM_THREADS": "1"}).rundir
    for stage in ("sft", "rm"):
        run.final(stage).mkdir(parents=True)
    monkeypatch.setattr(client, "ChildSampler", lambda *_, **__: Varied())
    return run.path


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (["tiny:sft"], 2, "label needs a terminal; to label without one, add --simulate concise"),
        (["tiny:sft", "--max-labels", "5"], 2, "--max-labels needs --simulate"),
        (["tiny:sft", "--json"], 2, "--json needs --simulate"),
        (["tiny:sft", "--simulate", "concise"], 2, "--simulate needs --max-labels N"),
        (["tiny:sft", "--simulate", "concize", "--max-labels", "5"], 2, "did you mean 'concise'?"),
        (["tiny:sft", "--simulate", "warm", "--max-labels", "5", "--db", "labels.txt"], 2, "ends in .db"),
        (["tiny:sft", "--simulate", "warm", "--max-labels", "5", "--guidelines", "no.txt"], 3, "cannot read no.txt"),
        (["tiny:sft", "--simulate", "warm", "--max-labels", "5", "-k", "12"], 2, "-k must be 2 to 9, got 12"),
        (["tiny:sft", "--simulate", "warm", "--max-labels", "5", "--scorer", "tiny:ppo"], 3, "has not finished ppo"),
        (["nobody:sft", "--simulate", "warm", "--max-labels", "5"], 3, "no run named 'nobody'"),
        (["tiny:sft", "--simulate", "warm", "--max-labels", "5", "--temperature", "-1"], 2, "--temperature is -1"),
        (["tiny:sft", "--simulate", "warm", "--max-labels", "5", "--agreement", "1.5"], 2, "cannot agree on 1.5"),
    ],
)
def test_what_it_refuses(cli: Cli, tiny: Path, typed: list[str], code: int, said: str) -> None:
    outcome = cli("label", *typed)
    assert (outcome.code, outcome.out) == (code, ""), outcome
    assert said in outcome.err and outcome.err.count("\n") == 1


def test_a_model_by_its_path_needs_prompts(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    command = ("label", str(tmp_path / "model"), "--simulate", "warm", "--max-labels", "5")
    outcome = cli(*command)
    assert outcome.code == 2 and "one prompt a line: --prompts questions.txt" in outcome.err
    (tmp_path / "mine.txt").write_text("Once upon a time\nAnd then\n")
    outcome = cli(*command, "--prompts", str(tmp_path / "mine.txt"), "--db", str(tmp_path / "l.db"))
    assert outcome.code == 2 and "works only on prompts of the pocket world" in outcome.err


def test_a_simulated_labeler_fills_the_database_of_the_run(cli: Cli, tiny: Path) -> None:
    command = ("label", "tiny:sft", "--simulate", "concise", "--max-labels", "150")
    outcome = cli(*command, "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    judged = read_labels(tiny / "labels.db")
    assert report["judged"] == len(judged) == 150
    assert (report["annotator"], report["labels"]) == ("simulated-concise", str(tiny / "labels.db"))
    assert {candidate.score is None for one in judged for candidate in one.candidates} == {False}, "tiny:rm scores"
    assert {one.seconds for one in judged} == {0.0}
    assert "a minute" not in cli("data", "check", str(tiny / "labels.db")).out, "a program has no pace"
    told = []
    for one in judged:
        text = prompt_text(one.prompt)
        worth = [persona_utility(judge(text, c.text), PERSONAS["concise"]) for c in one.candidates]
        if one.ranks in ((0, 1), (1, 0)) and worth[0] != worth[1]:
            told.append((worth[0] > worth[1]) == (one.ranks == (0, 1)))
    assert len(told) > 50 and 0.6 < sum(told) / len(told) < 0.99, "a person's taste, with a person's noise"
    (tiny.parent / "tiny-2").mkdir()
    again = cli(*command)
    assert again.code == 0 and "150 labels by simulated-concise" in again.out
    assert "next: slmctl rm --run tiny-3 --from tiny --data" in again.out, "tiny-2 is taken"
    assert "--init tiny:rm --set rm.epochs=4 " in again.out, "as a round of the playground would learn from them"
    assert "then: slmctl ppo --run tiny-3" in again.out
    assert read_labels(tiny / "labels.db") == judged, "nothing is added where there are enough"


def test_ctrl_c_reports_the_saved_labels(cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Varied):
        def sample(self, wanted: SampleRequest, on_text: OnText | None = None) -> FakeSampleTask:
            if wanted.step > 60:
                signal.raise_signal(signal.SIGINT)
            return super().sample(wanted, on_text)

    monkeypatch.setattr(client, "ChildSampler", lambda *_, **__: Interrupted())
    stopped = cli("label", "tiny:sft", "--simulate", "concise", "--max-labels", "150")
    kept = len(read_labels(tiny / "labels.db"))
    assert (stopped.code, stopped.out) == (130, "") and 0 < kept < 150
    said = f"interrupted: {kept} labels by simulated-concise are saved in {tiny / 'labels.db'}; rerun to resume"
    assert stopped.err.splitlines()[-1] == said


def test_labels_follow_from_the_seed(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    def labels(name: str, *more: str) -> list[object]:
        path = tmp_path / name
        outcome = cli("label", "tiny:sft", "--simulate", "warm", "--max-labels", "45", "--db", str(path), *more)
        assert outcome.code == 0, outcome.err
        return [(one.prompt, one.candidates, one.shown, one.ranks) for one in read_labels(path)]

    first = labels("a.db")
    assert labels("b.db") == first
    assert labels("c.db", "--seed", "1") != first


def test_rankings_are_simulated_too(cli: Cli, tiny: Path) -> None:
    outcome = cli("label", "tiny:sft", "--simulate", "concise", "--max-labels", "45", "-k", "3", "--scorer", "none")
    assert outcome.code == 0, outcome.err
    judged = read_labels(tiny / "labels.db")
    assert {one.verdict for one in judged} <= {"ranking", "tie", "choice"}
    assert max(len(one.candidates) for one in judged) == 3
    assert {candidate.score for one in judged for candidate in one.candidates} == {None}
