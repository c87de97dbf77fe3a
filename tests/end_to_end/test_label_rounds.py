"""Labeling with real sampler children, killed and side by side, and a round from labels to a new policy."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core.events import RunFinished
from engine.data.labels.store import LabelStore, read_labels
from engine.rundir.directory import RunDir
from engine.rundir.runtoml import read_run_toml
from slmctl.label.rounds import Round, RoundProgress, plan_round, run_round
from tests.end_to_end.conftest import Reference, ended, environ, kill_nine, slmctl, wait_for

MODEL, LABELS = "reference:sft", 24


def label(annotator: str, labels: Path, most: int) -> tuple[str, ...]:
    """The command by which a simulated labeler answers."""
    persona = ("--simulate", "helpful", "--max-labels", str(most), "--json")
    return ("label", MODEL, *persona, "--annotator", annotator, "--db", str(labels))


@pytest.fixture(scope="module")
def labels(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that two labelers have filled at the same time."""
    path = tmp_path_factory.mktemp("labels") / "labels.db"
    home = reference.run.path.parent
    both = [slmctl(home, *label(name, path, LABELS)) for name in ("ann", "bob")]
    for outcome in map(ended, both):
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)["judged"] == LABELS
    return path


def test_two_labelers_at_once_lose_nothing_and_see_the_same(labels: Path) -> None:
    judged = read_labels(labels)
    ann, bob = ([one for one in judged if one.annotator == name] for name in ("ann", "bob"))
    assert len(ann) == len(bob) == LABELS
    fresh = [[one for one in own if one.repeats is None] for own in (ann, bob)]
    shared = min(map(len, fresh))
    assert [one.candidates for one in fresh[0][:shared]] == [one.candidates for one in fresh[1][:shared]]
    assert all(
        candidate.model == MODEL and candidate.score is not None for one in judged for candidate in one.candidates
    )


def test_a_labeler_that_is_killed_goes_on_where_it_was(reference: Reference, tmp_path: Path) -> None:
    path, home = tmp_path / "labels.db", reference.run.path.parent
    child = slmctl(home, *label("ann", path, 100_000))
    with LabelStore(path) as store:
        wait_for(lambda: len(store.standing()) >= 5, "labels")
    kill_nine(child.pid)
    child.communicate()
    before = read_labels(path)
    outcome = ended(slmctl(home, *label("ann", path, len(before) + 5)))
    assert outcome.code == 0, outcome.err
    after = read_labels(path)
    assert after[: len(before)] == before and len(after) == len(before) + 5
    fresh = [one.prompt for one in after if one.repeats is None]
    assert len(set(fresh)) == len(fresh), "no prompt is asked twice"


def done(planned: Round, home: Path) -> list[RoundProgress]:
    """What a round said of itself."""

    async def main() -> list[RoundProgress]:
        return [progress async for progress in run_round(planned, home, environ(home))]

    return asyncio.run(main())


def test_a_round_finishes_when_its_starter_is_killed(reference: Reference, labels: Path, tmp_path: Path) -> None:
    shutil.copytree(reference.run.path, tmp_path / reference.run.name)  # no other test's process writes there
    code = "import sys; from tests.end_to_end.test_label_rounds import begin; begin(*sys.argv[1:])"
    watcher = subprocess.Popen([sys.executable, "-c", code, str(labels), str(tmp_path)], env=environ(tmp_path))
    run = RunDir(tmp_path / "reference-2")
    wait_for(lambda: "rm" in run.started(), "the reward model")
    assert run.finished("rm") is None, "the second command has not begun"
    kill_nine(watcher.pid)
    watcher.wait()
    wait_for(lambda: isinstance(run.read_events()[-1], RunFinished) and run.finished("ppo") is not None, "the policy")


def begin(labels: str, home: str) -> None:
    """Does the round of these labels, for as long as this process lives."""
    done(plan_round(MODEL, "reference:rm", Path(labels), 2 * LABELS, Path(home)), Path(home))


def test_labels_make_a_policy_that_the_next_round_starts_from(reference: Reference, labels: Path) -> None:
    home = reference.run.path.parent
    planned = plan_round(MODEL, "reference:rm", labels, 2 * LABELS, home)
    assert planned.name == "reference-2"
    said = done(planned, home)
    assert list(dict.fromkeys(progress.stage for progress in said if progress.done)) == ["rm", "ppo"]
    rm = next(progress for progress in said if progress.done)
    assert 0 <= rm.metrics["rm/validation_accuracy"] <= 1 and rm.held_out > 0
    record = read_run_toml(RunDir(home / "reference-2"))
    assert record.inputs["rm"]["init"].reference == "reference:rm"
    assert record.config.rm.lr == pytest.approx(0.3 * read_run_toml(reference.run).config.rm.lr)
    following = plan_round("reference-2:ppo", "reference-2:rm", labels, 2 * LABELS, home)
    assert following.name == "reference-3"
    words = " ".join(following.commands[0] + following.commands[1])
    assert "--init reference-2:rm" in words and "--init reference-2:ppo" in words
    assert "rm.lr" not in words and "ppo.steps" not in words, "a round's settings are not taken down twice"
