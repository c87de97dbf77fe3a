"""The stages on a person's own files: the shared instruction data where it lies near the checkout, small ones too."""

import json
import math
from pathlib import Path
from typing import Any, TypeGuard

import pytest

from engine.core.events import AlertRaised, SamplesDrawn, StageStarted, StepCompleted
from engine.rundir.directory import RunDir
from tests.end_to_end.conftest import Kill, Nursery, Reference, arguments, cut_before
from tests.support.label_databases import judged, stored
from tests.support.paths import SHARED

DATA = SHARED / "data"
DEMONSTRATIONS = DATA / "instruction-data.json"
COMPARISONS = DATA / "instruction-data-with-preference.json"
WORDS = ("red", "green", "blue", "round", "square", "soft", "hard", "warm", "cold", "new", "old")


def done(nursery: Nursery, *typed: str) -> dict[str, Any]:
    """The object that a command prints with --json, having ended well."""
    outcome = nursery.run(*typed, "--json")
    assert outcome.code == 0, outcome.err
    result: dict[str, Any] = json.loads(outcome.out)
    return result


def about(run: RunDir, stage: str) -> dict[str, Any]:
    """What a stage said of itself when it began."""
    return next(x.about for x in run.read_events() if isinstance(x, StageStarted) and x.stage == stage)


@pytest.mark.skipif(not COMPARISONS.exists(), reason=f"there is no {COMPARISONS}")
def test_the_shared_instruction_data_goes_through_sft_rm_and_ppo(nursery: Nursery) -> None:
    run = RunDir(nursery.home / "mine")
    room = ("--set", "model.context=256", "--set", "tokenizer.vocab_size=500", "--set", "ppo.steps=2")
    done(nursery, *arguments("mine", "sft", "--data", str(DEMONSTRATIONS), "--max-steps", "6"), *room)
    counted = about(run, "sft")
    assert counted["demonstrations"] + counted["validation"] + counted["too long"] == 1100
    assert counted["demonstrations"] > 900
    result = done(nursery, "rm", "--run", "mine", "--data", str(COMPARISONS), "--max-steps", "5")
    assert result["step"] == 5
    assert 0 < result["metrics"]["rm/validation_accuracy"] < 1
    assert 0.4 < result["metrics"]["rm/longer_baseline"] < 0.65
    assert about(run, "rm")["pretraining_pairs"] == 0
    result = done(nursery, "ppo", "--run", "mine")
    assert math.isfinite(result["metrics"]["ppo/kl_nats"])
    assert about(run, "ppo")["prompts"] > 900
    assert not run.stage_dir("comparisons").exists()


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write a .jsonl file; its path as one types it."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_small_files_of_ones_own_with_no_world_at_all(nursery: Nursery, tmp_path: Path) -> None:
    asked = [f"say {one} and {other}" for one in WORDS for other in WORDS]
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": f"{prompt}: it is said"} for prompt in asked])
    shown = write_rows(tmp_path / "d.jsonl", [{"prompt": p, "completion": p.removeprefix("say ")} for p in asked])
    ranked = write_rows(
        tmp_path / "c.jsonl",
        [{"prompt": p, "responses": ["yes", p, "no"], "ranking": [2, 1, 2]} for p in asked[:40]]
        + [{"prompt": p, "chosen": "good", "rejected": "bad"} for p in asked[40:60]],
    )
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(asked[:30]) + "\n")
    run, bare = RunDir(nursery.home / "own"), ("--set", 'world.name=""')
    done(nursery, *arguments("own", "pretrain", "--data", texts, "--max-steps", "3"), *bare)
    done(nursery, "sft", "--run", "own", "--data", shown)
    result = done(nursery, "rm", "--run", "own", "--data", ranked, "--max-steps", "4")
    wanted = {"validation_accuracy", "longer_baseline", "validation_loss", "calibration_error", "gain", "peak_rss_mb"}
    assert set(result["metrics"]) == {f"rm/{name}" for name in wanted}
    result = done(nursery, "ppo", "--run", "own", "--prompts", str(prompts), "--max-steps", "2")
    assert (result["step"], about(run, "ppo")["prompts"]) == (2, 30)
    outcome = nursery.run("run", "--run", "own", "--quiet")
    assert outcome.code == 3
    assert outcome.err.count("\n") == 1


def test_the_judge_as_reward_and_a_model_as_start(nursery: Nursery, reference: Reference) -> None:
    judged = ("--reward", "pocket:judge", "--init", "reference:sft", "--max-steps", "2")
    result = done(nursery, *arguments("judged", "ppo", *judged))
    assert result["step"] == 2
    run = RunDir(nursery.home / "judged")
    assert not run.stage_dir("pretrain").exists()
    inputs = json.loads((run.final("ppo") / "slmctl.json").read_text())["inputs"]
    assert inputs["reward"]["reference"] == "pocket:judge" and len(inputs["init"]["sha256"]) == 64
    whole = done(nursery, "run", "--run", "judged")
    assert run.started() == {"pretrain", "ppo", "eval"}, "the evaluation makes the base model, and no reward model"
    assert whole["reward_ppo"] == pytest.approx(whole["utility_ppo"]) and whole["rm_accuracy"] is None


def judge_scores(run: RunDir) -> list[float]:
    """What the judge that watched PPO gave, step by step; none where nobody watched."""
    said = [x.metrics for x in run.read_events() if _is_step(x)]
    return [metrics["ppo/judge_score"] for metrics in said if "ppo/judge_score" in metrics]


def test_ppo_uses_a_judge_that_fits_the_reward_model(nursery: Nursery, reference: Reference, tmp_path: Path) -> None:
    assert len(judge_scores(reference.run)) == 8, "the taste of the world's labelers, at each step"
    start = ("--init", "reference:sft", "--reward", "reference:rm", "--max-steps", "2")
    done(nursery, *arguments("unwatched", "ppo", *start))
    assert judge_scores(RunDir(nursery.home / "unwatched")) == [], "nobody here knows whose taste reference:rm has"
    code = tmp_path / "mine.py"
    code.write_text("def length(prompts, responses): return [float(len(response)) for response in responses]")
    for name, judge in (("model", "reference:rm"), ("world", "pocket:warm"), ("code", f"{code}:length")):
        done(nursery, *arguments(f"watched-{name}", "ppo", *start, "--judge", judge))
    first = next(x for x in RunDir(nursery.home / "watched-code").read_samples() if isinstance(x, SamplesDrawn))
    assert all(row["judge_score"] == len(row["response"]) for row in first.samples)
    scores = [x.metrics["ppo/score"] for x in RunDir(nursery.home / "watched-model").read_events() if _is_step(x)]
    assert judge_scores(RunDir(nursery.home / "watched-model")) == scores, "the same model as reward and as judge"
    assert all(0 < score < 1 for score in judge_scores(RunDir(nursery.home / "watched-world")))
    again = nursery.run("ppo", "--run", "watched-code", "--fresh")
    assert again.code == 2 and f"pass --judge {code}:length again" in again.err


def _is_step(event: object) -> TypeGuard[StepCompleted]:
    return isinstance(event, StepCompleted) and event.stage == "ppo"


def test_twenty_labels_train_a_reward_model_and_edits_a_policy(
    nursery: Nursery, reference: Reference, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.db"
    edits = [judged("no", "yes", None, prompt=f"say {word}", verdict="edit", edited=word) for word in WORDS[:6]]
    stored(labels, *[judged("yes", "it is said", prompt=f"say {i}", seconds=2.0) for i in range(20)], *edits)
    run = cut_before(reference.run, nursery.home / "labeled", "sft")
    done(nursery, *arguments(run.name, "sft", "--data", str(labels), "--max-steps", "2"))
    assert (about(run, "sft")["demonstrations"], about(run, "sft")["validation"]) == (5, 1)
    stored(labels, judged(ranks=None, verdict="edit", edited="later"))  # what SFT had is still there
    command = arguments(run.name, "rm", "--data", str(labels), "--set", "rm.epochs=9", "--max-steps", "12")
    assert nursery.run(*command, kill=Kill("rename rm/step-")).code < 0
    result = done(nursery, *command)
    assert (about(run, "rm")["rankings"], about(run, "rm")["validation"]) == (17, 3)
    assert 0 <= result["metrics"]["rm/validation_accuracy"] <= 1
    inputs = json.loads((run.final("rm") / "slmctl.json").read_text())["inputs"]
    assert (inputs["data"]["reference"], inputs["data"]["until"]) == (str(labels), 27)
    assert len(inputs["data"]["sha256"]) == 64
    stored(labels, judged(prompt="say more"))
    refused = nursery.run(*command)
    assert refused.code == 2 and "labels.db@28; use --run NEW" in refused.err and refused.err.count("\n") == 1


def test_too_few_updates_on_comparisons_warn_beforehand(nursery: Nursery, reference: Reference, tmp_path: Path) -> None:
    labels = tmp_path / "labels.db"
    stored(labels, *[judged("yes", "it is said", prompt=f"say {i}") for i in range(20)])
    run = RunDir(nursery.home / "few")
    started = nursery.run("rm", "--run", "few", "--from", reference.run.name, "--data", str(labels))
    assert started.code == 0, started.err
    begun, warned = [type(event) for event in run.read_events()][1:3]
    assert (begun, warned) == (StageStarted, AlertRaised)
    command = started.err.partition("to train longer: slmctl ")[2].partition("\n")[0]
    assert command.startswith(f"rm --run few --fresh --init {reference.run.name}:rm --set rm.epochs=10")
    again = nursery.run(*command.split())
    assert again.code == 0 and "too few to learn from" not in again.err
    assert not [event for event in run.read_events() if isinstance(event, AlertRaised)]


@pytest.mark.parametrize(
    ("target", "typed", "words"),
    [
        ("run", ("--set", "eval.prompts=99999"), "eval.prompts is 99999; the test split"),
        ("rm", ("--set", "comparisons.persona=grumpy"), "comparisons.persona = 'grumpy'"),
        ("ppo", ("--reward", "pocket:concize"), "did you mean 'concise'"),
        ("sft", ("--set", "sft.demonstrations=99999"), "sft.demonstrations is 99999"),
    ],
)
def test_what_no_stage_could_have_is_noticed_before_the_first(
    target: str, typed: tuple[str, ...], words: str, nursery: Nursery
) -> None:
    outcome = nursery.run(*arguments("hasty", target, *typed, "--fresh"))
    assert outcome.code == 2, outcome.err
    assert words in outcome.err and outcome.err.count("\n") == 1
    assert not RunDir(nursery.home / "hasty").events.exists()


def test_a_text_too_short_to_validate_is_a_sentence(nursery: Nursery, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("1")
    outcome = nursery.run(*arguments("short", "pretrain", "--data", str(short)))
    assert outcome.code == 3 and "cannot be split into training and validation" in outcome.err


def test_a_row_that_does_not_fit_is_named(nursery: Nursery, reference: Reference, tmp_path: Path) -> None:
    run = cut_before(reference.run, nursery.home / "badrow", "sft")
    data = write_rows(tmp_path / "bad.jsonl", [{"prompt": "a", "completion": "b"}, {"prompt": "c"}])
    outcome = nursery.run(*arguments(run.name, "sft", "--data", data))
    assert outcome.code == 3
    assert "bad.jsonl" in outcome.err
    assert "2" in outcome.err
    assert outcome.err.count("\n") == 1


def test_what_no_memory_holds_is_one_sentence(nursery: Nursery) -> None:
    outcome = nursery.run(*arguments("huge", "pretrain", "--set", "model.width=4000000000"))
    assert outcome.code == 1 and outcome.err.count("\n") == 1
    assert "pretrain does not fit into memory: lower pretrain.batch_tokens, model.width or" in outcome.err


def test_a_function_as_reward_is_only_what_was_typed(nursery: Nursery, reference: Reference, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def score(prompts, responses):\n    return [-len(text) for text in responses]\n")
    run = cut_before(reference.run, nursery.home / "coded", "ppo")
    reward = ("--reward", f"{file}:score")
    kill = Kill("rename ppo/step-000004")
    assert nursery.run(*arguments(run.name, "ppo", *reward), kill=kill).code < 0
    bare = nursery.run(*arguments(run.name, "ppo"))
    assert bare.code == 2 and f"pass --reward {file}:score again" in bare.err
    result = done(nursery, *arguments(run.name, "ppo", *reward))
    assert result["step"] == 8 and result["metrics"]["ppo/score"] < 0
    file.write_text("def score(prompts, responses):\n    return []\n")
    broken = nursery.run(*arguments("coded2", "ppo", "--init", "reference:sft", *reward))
    assert broken.code == 1 and "returned 0 numbers for 8 responses" in broken.err and broken.err.count("\n") == 1
    file.write_text("def score(prompts, responses):\n    return [-len(text) for text in responses]\n")
    mended = nursery.run(*arguments("coded2", "ppo", *reward, "--set", "ppo.lr=1e-4", "--max-steps", "1"))
    assert mended.code == 0, mended.err
