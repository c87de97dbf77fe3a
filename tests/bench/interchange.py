"""`python -m tests.bench.interchange --peer PYTHON --bench DIR`: exchanges models with TRL.

TRL continues to train the policy and reward model of a run; its checkpoints must open here, give the same numbers as
in transformers, generate, and train with `slmctl ppo`. Prints one line per check and stops at the first failure.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from engine.model.pretrained import open_policy, open_scalar
from engine.model.tokenizer import Tokenizer
from engine.pocket.prompts import draw_requests
from engine.train.comparisons import TRAIN_FILE, read_drawn
from engine.train.scoring import RewardModelScorer, score_rows
from tests.support.paths import SMALL_PRESET

hf: Any = transformers
"""Untyped, because its annotations do not match its calls."""
LOGIT_TOLERANCE = 1e-4
PROMPTS = 96  # one batch of the peer's PPO and some
PRESET = SMALL_PRESET
SLMCTL = (sys.executable, "-c", "from slmctl.cli import main; main()")
NOISE = ("it/s]", "examples/s]", "MISSING", "LOAD REPORT", "training_args.py", "modeling_utils.py")


def ran(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The output of a command. Raises: RuntimeError with the output if it fails."""
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-3000:]}")
    return done


def rows_of(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes JSON rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_workload(folder: Path, run: Path) -> None:
    """Prompts rendered by the template (the peer takes raw text), plain prompts, and comparisons."""
    tokenizer = open_policy(run / "sft" / "final")[1]
    plain = [request.text for request in draw_requests("train", PROMPTS, 0, "interchange")]
    rows_of(folder / "plain.jsonl", [{"prompt": prompt} for prompt in plain])
    rows_of(folder / "prompts.jsonl", [{"prompt": tokenizer.render(prompt)} for prompt in plain])
    rankings = read_drawn(run / "comparisons" / "final" / TRAIN_FILE)[0]
    pairs = [(ranking, *pair) for ranking in rankings for pair in list(ranking.pairs())[:1]]
    rows_of(
        folder / "prefs.jsonl",
        [
            {"prompt": tokenizer.render(r.prompt), "chosen": r.responses[a], "rejected": r.responses[b]}
            for r, a, b in pairs
        ],
    )


def check_tokenizer(ours: Tokenizer, directory: Path, text: str) -> None:
    """Checks that a prompt has the same ids here and in transformers, and that PAD and EOS are unchanged."""
    theirs = hf.AutoTokenizer.from_pretrained(directory)
    turns = [{"role": "user", "content": text}]
    rendered = theirs.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert theirs(rendered)["input_ids"] == ours.encode_prompt(text), f"{directory}: the prompt's ids differ"
    assert (theirs.pad_token_id, theirs.eos_token_id) == (ours.pad_id, ours.eos_id), f"{directory}: PAD or EOS differ"


@torch.no_grad()
def policy_difference(directory: Path, text: str) -> float:
    """The largest difference between our logits and those of transformers."""
    model, tokenizer = open_policy(directory)
    ids = torch.tensor([tokenizer.encode_prompt(text)])
    theirs: Tensor = hf.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()(ids).logits
    return float((model.logits(model(ids)) - theirs).abs().max())


@torch.no_grad()
def reward_difference(directory: Path, text: str, response: str) -> float:
    """The difference between our reward logit of a response and that of transformers."""
    scorer = RewardModelScorer(*open_scalar(directory))
    (row,) = score_rows([text], [response], scorer.tokenizer, scorer.model.architecture.context)
    theirs = hf.AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    return abs(scorer.logit(scorer.score([text], [response])[0]) - float(theirs(torch.tensor([row])).logits))


def moved(before: Path, after: Path) -> float:
    """The largest change of a weight of the embedding."""
    old, new = (open_policy(directory)[0].model.embed_tokens.weight for directory in (before, after))
    return float((old - new).detach().abs().max())


def said(title: str, number: float, limit: float = LOGIT_TOLERANCE) -> None:
    """Prints a difference. Raises: AssertionError if it exceeds the limit."""
    print(f"{title}: {number:.1e}", flush=True)
    assert number <= limit, f"{title}: {number} is above {limit}"


def peer_trains(given: argparse.Namespace, folder: Path, stage: str, words: Mapping[str, Path]) -> None:
    """One timed step of a stage in TRL; prints its warnings without progress bars."""
    typed = [str(word) for option, path in words.items() for word in (f"--{option}", path)]
    command = [given.peer, str(given.bench / "peer_trl.py"), str(folder), stage, "--steps", "1", *typed]
    done = ran([*command, "--threads", str(torch.get_num_threads())], os.environ)
    print(f"TRL {stage} from {', '.join(words)}: {done.stdout.splitlines()[-1]}", flush=True)
    for one in done.stderr.splitlines():
        if ("[transformers]" in one or "Warning: " in one) and not any(noise in one for noise in NOISE):
            print(f"  it says: {one[:150]}")


def exchange(given: argparse.Namespace, folder: Path) -> None:
    """Runs all checks in `folder`."""
    environ = {**os.environ, "SLMCTL_RUNS": str(folder / "runs")}
    run = given.run or folder / "runs" / "own"
    if given.run is None:
        ran([*SLMCTL, "run", "--preset", str(PRESET), "--run", "own", "--quiet"], environ)
    sft, reward = run / "sft" / "final", run / "rm" / "final"
    write_workload(folder, run)
    first = json.loads((folder / "plain.jsonl").read_text().splitlines()[0])["prompt"]
    check_tokenizer(open_policy(sft)[1], sft, first)
    policy_out, reward_out = folder / "trl-policy", folder / "trl-reward"
    peer_trains(given, folder, "rm", {"policy": sft, "save": reward_out})
    peer_trains(given, folder, "ppo", {"policy": sft, "reward": reward, "save": policy_out})
    print(f"TRL's PPO moved the embedding by {moved(sft, policy_out):.1e}")
    assert moved(sft, policy_out) > 0, "TRL's PPO trained nothing"
    ours, its = open_policy(policy_out)[1], open_scalar(reward_out)[1]
    check_tokenizer(ours, policy_out, first)
    assert ours.same_ids(its) and ours.same_ids(open_policy(sft)[1]), "a tokenizer came back changed"
    said("TRL's policy, logits here and in transformers", policy_difference(policy_out, first))
    said("TRL's reward model, logits here and in transformers", reward_difference(reward_out, first, "It is red."))
    said("our reward model, logits here and in transformers", reward_difference(reward, first, "It is red."))
    drawn = ran([*SLMCTL, "sample", str(policy_out), "--prompts", str(folder / "plain.jsonl"), "--jsonl"], environ)
    row = json.loads(drawn.stdout.splitlines()[0])
    print(f"slmctl sample of TRL's policy: {row['response'][:60]!r}, {row['tokens']} tokens")
    assert len(drawn.stdout.splitlines()) == PROMPTS and row["response"], "no text"
    models = ["--init", str(policy_out), "--reward", str(reward_out), "--prompts", str(folder / "plain.jsonl")]
    ran([*SLMCTL, "ppo", "--run", "back", *models, "--max-steps", "1", "--quiet", "--preset", str(PRESET)], environ)
    back = folder / "runs" / "back" / "ppo" / "final"
    said("slmctl ppo of both, logits here and in transformers", policy_difference(back, first))
    value = open_scalar(back / "value")[0].model.embed_tokens.weight
    started = open_scalar(reward_out)[0].model.embed_tokens.weight
    said("its value network from TRL's reward model", float((value - started).detach().abs().max()), 0.1)


def main() -> None:
    """Exchanges models and prints one line per check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True, help="the Python of an environment that has TRL")
    parser.add_argument("--bench", type=Path, required=True, help="the folder with peer_trl.py")
    parser.add_argument("--run", type=Path, help="a finished run (default: a new short one)")
    given = parser.parse_args()
    hf.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        exchange(given, Path(folder))
    print("all checks passed")


if __name__ == "__main__":
    main()
