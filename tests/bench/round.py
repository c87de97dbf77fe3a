"""`python -m tests.bench.round RUN:STAGE`: times a whole round by a simulated labeler and its win rate.

Runs the same commands as a user for labels, reward model and PPO; then the new and the old policy answer the test
prompts of the pocket world, and the persona judges without noise. Prints one JSON object.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.data.labels.store import read_labels
from engine.rundir.directory import runs_home
from slmctl.label.rounds import Round, plan_round, run_round

SLMCTL = (sys.executable, "-c", "from slmctl.cli import main; main()")


def slmctl(*words: str) -> dict[str, Any]:
    """The result of a command with --json."""
    done = subprocess.run([*SLMCTL, *words, "--json"], stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


async def do_round(planned: Round, home: Path) -> dict[str, float]:
    """Runs a round and returns the last metrics of both stages."""
    metrics: dict[str, float] = {}
    async for progress in run_round(planned, home, os.environ):
        metrics |= progress.metrics
    return metrics


def cpu_s() -> float:
    """CPU seconds of all ended children of this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(given: argparse.Namespace, home: Path, labels: Path) -> dict[str, Any]:
    """One round from no labels to a new policy, and its win rate against the old one."""
    began, used = time.perf_counter(), cpu_s()
    options = ["--simulate", given.persona, "--max-labels", str(given.labels), "--seed", str(given.seed)]
    said = slmctl("label", given.model, *options, "--db", str(labels))
    labeled_s = time.perf_counter() - began
    planned = plan_round(given.model, "", labels, len(read_labels(labels)), home)
    metrics = asyncio.run(do_round(planned, home))
    seconds, cpu = time.perf_counter() - began, cpu_s() - used
    judged = ["--judge", f"pocket:{given.persona}", "-n", str(given.prompts), "--seed", str(given.seed)]
    compared = slmctl("eval", given.model, planned.models[0], *judged)
    kept = ("win_rate", "win_rate_low", "win_rate_high", "wins", "ties", "losses", "kl_nats", "tokens_a", "tokens_b")
    return {
        "old": given.model,
        "new": planned.models[0],
        "persona": given.persona,
        "labels": given.labels,
        "seed": given.seed,
        "label_s": labeled_s,
        "round_s": seconds,
        "round_cpu_s": cpu,
        "scorer_agreement_before": said["scorer_agreement"],
        "validation_accuracy": metrics.get("rm/validation_accuracy"),
        **{name: compared[name] for name in kept},
    }


def main(typed: Sequence[str] | None = None) -> None:
    """Measures one round."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.round", description=__doc__)
    parser.add_argument("model", help="the policy to label, such as tiny:sft")
    parser.add_argument("--persona", default="concise")
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(typed)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(given, runs_home(os.environ), Path(folder) / "labels.db")))


if __name__ == "__main__":
    main()
