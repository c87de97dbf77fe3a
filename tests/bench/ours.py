"""One stage of the workload in this engine, with the shapes of TRL: `python -m tests.bench.ours WORKLOAD STAGE`.

Prints one JSON line; the shapes are those of peer_trl.py. Seconds are measured between StepCompleted events, without
the first. The caller sets the thread variables.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from engine.core.config import PpoConfig, RmConfig, SftConfig
from engine.core.events import Event, StepCompleted
from engine.data.readers import read_demonstrations, read_prompts, read_rankings
from engine.data.records import TrainingRows
from engine.model.batching import demonstration_examples
from engine.model.heads import scalar_from
from engine.model.pretrained import open_policy, open_scalar
from engine.model.sampling import Sampling, generator
from engine.train.ppo import train_ppo
from engine.train.rm import RewardData, train_rm
from engine.train.rollout import Actors, draw_episodes
from engine.train.saver import Saver, StageLoop
from engine.train.scoring import RewardModelScorer
from engine.train.sft import train_sft

LR = 1e-4
NEW_TOKENS = 48
ROWS = {"sft": 32, "rm": 16, "ppo": 64, "generate": 64}
NEVER = 10**9  # steps between evaluations and saves: the other side has none


@dataclass(frozen=True)
class Asked:
    """The stage, its models and the number of steps (the first is not timed); saves to `folder`."""

    workload: Path
    policy: Path
    reward: Path | None
    steps: int
    seed: int
    folder: Path

    def loop(self, stage: str) -> StageLoop:
        return StageLoop(self.seed, self.steps, Saver(stage, self.folder / stage, NEVER), lambda: False)


def sft(asked: Asked) -> Iterator[Event]:
    policy, tokenizer = open_policy(asked.policy)
    rows = read_demonstrations(asked.workload / "sft.jsonl").records
    examples, _ = demonstration_examples(rows, tokenizer, policy.architecture.context)
    config = SftConfig(lr=LR, batch=ROWS["sft"], warmup_steps=0, eval_every=NEVER)
    return train_sft(policy, tokenizer, TrainingRows(examples, examples[:1]), config, asked.loop("sft"))


def rm(asked: Asked) -> Iterator[Event]:
    policy, tokenizer = open_policy(asked.policy)
    rankings = read_rankings(asked.workload / "prefs.jsonl").records
    model = scalar_from(policy.model, generator(asked.seed, "rm/head"))
    demonstrations = read_demonstrations(asked.workload / "sft.jsonl").records[:1]
    config = RmConfig(lr=LR, batch=ROWS["rm"], warmup_steps=0, eval_every=NEVER)
    data = RewardData(TrainingRows(rankings, []), [], demonstrations)
    return train_rm(model, tokenizer, data, config, asked.loop("rm"))


def ppo(asked: Asked) -> Iterator[Event]:
    """PPO of the policy; scorer and value network from the reward model, or both with one fresh head on the policy."""
    policy, tokenizer = open_policy(asked.policy)
    reference = open_policy(asked.policy)[0].requires_grad_(False)
    if asked.reward is None:
        model, value = (scalar_from(policy.model, generator(asked.seed, "rm/head")) for _ in range(2))
        scorer = RewardModelScorer(model.requires_grad_(False), tokenizer)
    else:
        value = open_scalar(asked.reward)[0]
        model, its_tokenizer = open_scalar(asked.reward)
        scorer = RewardModelScorer(model.requires_grad_(False), its_tokenizer)
    config = PpoConfig(
        lr=LR,
        value_lr=LR,
        rollout_batch=ROWS["ppo"],
        minibatch=16,
        microbatch=16,
        epochs=4,
        value_warmup_steps=0,
        warmup_steps=0,
        kl_coef=0.05,
        missing_eos_penalty=1.0,
        max_new_tokens=NEW_TOKENS,
        stop_kl_nats=1e9,
        alert_kl_nats=1e9,
    )
    prompts = [row.prompt for row in read_prompts(asked.workload / "prompts.jsonl").records]
    actors = Actors(policy, reference, value, scorer, tokenizer)
    return train_ppo(actors, prompts, config, asked.loop("ppo"), {})


def generate(asked: Asked) -> Iterator[Event]:
    """Batches of responses of NEW_TOKENS each; no token ends them early."""
    policy, tokenizer = open_policy(asked.policy)
    endless = replace(tokenizer, eos_id=-1)
    prompts = [row.prompt for row in read_prompts(asked.workload / "prompts.jsonl").records]
    rows, sampling = ROWS["generate"], Sampling(max_new_tokens=NEW_TOKENS)
    for step in range(asked.steps):
        first = step * rows % (len(prompts) - rows)
        episodes = draw_episodes(policy, endless, prompts[first : first + rows], sampling, asked.seed, "bench", step)
        assert int(episodes.response_mask.sum()) == rows * NEW_TOKENS, "a response ended early"
        yield StepCompleted("generate", step + 1, {})


STAGES = {"sft": sft, "rm": rm, "ppo": ppo, "generate": generate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", type=Path)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--policy", type=Path, help="checkpoint to start from (default: WORKLOAD/model)")
    parser.add_argument("--reward", type=Path, help="reward model for ppo (default: a fresh head on the policy)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        policy = given.policy or given.workload / "model"
        asked = Asked(given.workload, policy, given.reward, given.steps + 1, given.seed, Path(folder))
        events = STAGES[given.stage](asked)
        arrivals = [time.perf_counter() for event in events if isinstance(event, StepCompleted)]
    seconds = arrivals[-1] - arrivals[0]
    count = given.steps * ROWS[given.stage] * (NEW_TOKENS if given.stage == "generate" else 1)
    row = {"peer": "slmctl", "stage": given.stage, "threads": torch.get_num_threads(), "seconds": round(seconds, 3)}
    print(json.dumps(row | {"count": count, "per_second": round(count / seconds, 2)}))


if __name__ == "__main__":
    main()
