"""A real pretrained model, of other people's making, through every stage; what comes out opens in transformers."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from engine.data.files import Source
from engine.data.labels.store import LabelStore
from engine.model.pretrained import open_policy, open_scalar
from engine.rundir.directory import RunDir
from engine.train.scoring import RewardModelScorer, score_rows
from slmctl.label.decisions import choice, no_preference
from slmctl.label.questions import Recipe
from slmctl.label.rounds import plan_round
from slmctl.label.session import LabelSession
from slmctl.worker.client import ChildSampler
from tests.end_to_end.conftest import Nursery, arguments
from tests.support.paths import SHARED
from tests.support.tiny import STORIES

hf: Any = transformers
"""Untyped: its annotations do not fit its own calls."""
DATA = SHARED / "data"
LOGIT_TOLERANCE = 1e-4
PROMPT = "Once upon a time"

pytestmark = pytest.mark.skipif(not STORIES.is_dir(), reason=f"there is no {STORIES}")


@pytest.fixture(scope="module")
def run(nursery: Nursery) -> RunDir:
    """sft, rm and ppo from the pretrained model on the shared files, a few steps each."""
    short = ("--max-steps", "3", "--set", "ppo.max_new_tokens=16")
    for target, typed in (
        ("sft", ("--init", str(STORIES), "--data", str(DATA / "instruction-data.json"))),
        ("rm", ("--data", str(DATA / "instruction-data-with-preference.json"))),
        ("ppo", ()),
    ):
        outcome = nursery.run(*arguments("stories", target, *short, *typed))
        assert outcome.code == 0, outcome.err
    return RunDir(nursery.home / "stories")


def test_nothing_but_what_was_asked_for_is_made(run: RunDir) -> None:
    assert run.started() == {"sft", "rm", "ppo"}
    about = json.loads((run.final("sft") / "slmctl.json").read_text())
    assert about["inputs"]["init"]["reference"] == str(STORIES.resolve())
    assert len(about["inputs"]["init"]["sha256"]) == 64


def test_a_policy_keeps_its_rules_and_logits_in_transformers(run: RunDir) -> None:
    model, tokenizer = open_policy(run.final("ppo"))
    assert tokenizer.encode_prompt(PROMPT) == [1, 403, 407, 261, 378]  # BOS comes first, and no template
    ids = torch.tensor([tokenizer.encode_prompt(PROMPT)])
    theirs = hf.AutoModelForCausalLM.from_pretrained(run.final("ppo")).eval()
    with torch.no_grad():
        ours = model.logits(model(ids))
        torch.testing.assert_close(ours, theirs(ids).logits, rtol=0, atol=LOGIT_TOLERANCE)
    base, _ = open_policy(STORIES)
    assert not torch.equal(base.lm_head.weight, model.lm_head.weight[: base.architecture.vocab_size])


def test_a_base_model_trains_on_openings_and_a_reward_function(nursery: Nursery, tmp_path: Path) -> None:
    (tmp_path / "openings.txt").write_text("Once upon a time\nOne day, Lily\nThe sun was\n")
    (tmp_path / "mine.py").write_text("def calm(prompts, responses):\n    return [-r.count('!') for r in responses]\n")
    (tmp_path / "bare.toml").write_text(
        "[ppo]\nsteps = 2\nrollout_batch = 8\nminibatch = 4\nmicrobatch = 4\nmax_new_tokens = 12\n"
    )
    typed = {"--prompts": "openings.txt", "--reward": "mine.py:calm", "--preset": "bare.toml"}
    paths = [word for option, name in typed.items() for word in (option, str(tmp_path / name))]
    outcome = nursery.run("ppo", "--run", "continued", "--threads", "1", "--init", str(STORIES), *paths)
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith("next: slmctl chat continued:ppo\n")
    drawn = RunDir(nursery.home / "continued").read_samples()[0].samples
    assert {row["prompt"] for row in drawn} == {"Once upon a time", "One day, Lily", "The sun was"}
    assert all(row["score"] == -row["response"].count("!") for row in drawn)
    model, tokenizer = open_policy(nursery.home / "continued" / "ppo" / "final")
    assert tokenizer.chat_template is None and model.architecture.vocab_size == tokenizer.size


OPENINGS = ("Once upon a time", "One day, Lily", "The sun was", "Tom had a dog", "Anna saw a bird", "Ben was sad")


async def rank(labels: Path, home: Path, count: int) -> None:
    """Judges pairs of the model's continuations as a person would who likes commas."""
    sampler, news = ChildSampler(home, {"threads": 1}), asyncio.Event()
    recipe = Recipe((str(STORIES),), sampling={"temperature": 1.0, "max_new_tokens": 24})
    session = LabelSession(recipe, OPENINGS, LabelStore(labels), "ann", lambda: sampler, news.set)
    await session.open()
    while len(session.labels) < count:
        news.clear()
        if session.questions.error is not None:
            raise session.questions.error
        if session.question is None:
            await news.wait()
        else:
            commas = [candidate.text.count(",") for candidate in session.question.on_screen]
            await session.answer(
                no_preference("tie", 2) if commas[0] == commas[1] else choice(commas.index(max(commas)), 2)
            )
    await session.close()
    await sampler.close()


def test_its_continuations_are_ranked_taught_and_compared(nursery: Nursery, tmp_path: Path) -> None:
    labels, openings, mine = tmp_path / "labels.db", tmp_path / "openings.txt", tmp_path / "mine.py"
    openings.write_text("\n".join(OPENINGS))
    mine.write_text("def commas(prompts, responses):\n    return [r.count(',') for r in responses]\n")
    asyncio.run(rank(labels, nursery.home, 24))  # six openings are asked more than once
    planned = plan_round(str(STORIES), "", labels, 24, nursery.home, Source(str(openings)), longest=24)
    for words in planned.commands:
        outcome = nursery.run(*words, "--threads", "1", "--max-steps", "2", "--quiet")
        assert outcome.code == 0, outcome.err
    asked = ("--prompts", str(openings), "--judge", f"{mine}:commas", "--max-new-tokens", "24", "--json")
    outcome = nursery.run("eval", str(STORIES), planned.models[0], *asked)
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["wins"] + result["ties"] + result["losses"] == len(OPENINGS)
    assert 0 <= result["win_rate_low"] <= result["win_rate"] <= result["win_rate_high"] <= 1


def test_the_reward_model_scores_the_same_in_transformers(run: RunDir) -> None:
    scorer = RewardModelScorer(*open_scalar(run.final("rm")))
    theirs = hf.AutoModelForSequenceClassification.from_pretrained(run.final("rm")).eval()
    (row,) = score_rows([PROMPT], ["there was a dog."], scorer.tokenizer, 512)
    with torch.no_grad():
        logit = float(theirs(torch.tensor([row])).logits)
    (score,) = scorer.score([PROMPT], ["there was a dog."])
    assert scorer.logit(score) == pytest.approx(logit, abs=LOGIT_TOLERANCE)
