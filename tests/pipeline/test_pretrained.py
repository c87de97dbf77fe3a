"""A real pretrained model, of other people's making, through every stage; what comes out opens in transformers."""

import json
from typing import Any

import pytest
import torch
import transformers

from engine.pretrained import open_policy, open_scalar
from engine.rundir import RunDir
from engine.scoring import RewardModelScorer, score_rows
from tests.pipeline.conftest import Nursery, arguments
from tests.tiny import STORIES

hf: Any = transformers
"""Untyped: its annotations do not fit its own calls."""
DATA = STORIES.parents[1] / "data"
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
    assert about["inputs"]["init"] == str(STORIES.resolve()) and len(about["inputs"]["init_sha256"]) == 64


def test_the_policy_has_its_parents_rules_and_the_same_logits_in_transformers(run: RunDir) -> None:
    model, tokenizer = open_policy(run.final("ppo"))
    assert tokenizer.encode_prompt(PROMPT) == [1, 403, 407, 261, 378]  # BOS comes first, and no template
    ids = torch.tensor([tokenizer.encode_prompt(PROMPT)])
    theirs = hf.AutoModelForCausalLM.from_pretrained(run.final("ppo")).eval()
    with torch.no_grad():
        ours = model.logits(model(ids))
        torch.testing.assert_close(ours, theirs(ids).logits, rtol=0, atol=LOGIT_TOLERANCE)
    base, _ = open_policy(STORIES)
    assert not torch.equal(base.lm_head.weight, model.lm_head.weight[: base.architecture.vocab_size])


def test_the_reward_model_scores_the_same_in_transformers(run: RunDir) -> None:
    scorer = RewardModelScorer(*open_scalar(run.final("rm")))
    theirs = hf.AutoModelForSequenceClassification.from_pretrained(run.final("rm")).eval()
    (row,) = score_rows([PROMPT], ["there was a dog."], scorer.tokenizer, 512)
    with torch.no_grad():
        logit = float(theirs(torch.tensor([row])).logits)
    (score,) = scorer.score([PROMPT], ["there was a dog."])
    assert scorer.logit(score) == pytest.approx(logit, abs=LOGIT_TOLERANCE)
