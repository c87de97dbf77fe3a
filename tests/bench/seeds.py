"""`python -m tests.bench.seeds`: the whole `tiny` pipeline on ten seeds, with a table and missed targets.

Takes most of an hour. Each seed is its own run, started with the same command as a user; finished runs are only read.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

LOWEST_WIN_RATE = 0.65  # what the lower end of the 95% interval must pass
CORRECTNESS_LOST = 0.03  # how far the share of right answers may fall below SFT's
COLUMNS = (
    ("seed", "seed", "{}"),
    ("wins", "win_rate", "{:.3f}"),
    ("low", "win_rate_low", "{:.3f}"),
    ("high", "win_rate_high", "{:.3f}"),
    ("right sft", "correct_sft", "{:.3f}"),
    ("right ppo", "correct_ppo", "{:.3f}"),
    ("KL", "kl_nats", "{:.2f}"),
    ("length", "length_ratio", "{:.2f}"),
    ("rm", "rm_accuracy", "{:.3f}"),
    ("ceiling", "rm_ceiling", "{:.3f}"),
    ("alerts", "alerts", "{}"),
    ("seconds", "elapsed_s", "{:.0f}"),
    ("MB", "peak_rss_mb", "{:.0f}"),
)


def run_seed(seed: int, folder: Path, preset: str, threads: int) -> dict[str, Any]:
    """The result of the run of one seed in `folder`. Raises: RuntimeError with the output of a failed command."""
    arguments = ("run", "--preset", preset, "--run", f"seed{seed}", "--seed", str(seed), "--threads", str(threads))
    command = [sys.executable, "-c", "from slmctl.cli import main; main()", *arguments, "--quiet", "--json"]
    environ = {**os.environ, "SLMCTL_RUNS": str(folder)}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"seed {seed} ended with {ended.returncode}: {ended.stderr.strip()}")
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def shortcomings(result: Mapping[str, Any]) -> Iterator[str]:
    """The targets that a result misses, one sentence each."""
    if result["win_rate_low"] <= LOWEST_WIN_RATE:
        yield f"seed {result['seed']}: the lower end of the win rate is {result['win_rate_low']:.3f}"
    if result["correct_ppo"] < result["correct_sft"] - CORRECTNESS_LOST:
        yield f"seed {result['seed']}: right {result['correct_ppo']:.3f} after {result['correct_sft']:.3f}"


def line(result: Mapping[str, Any]) -> str:
    """A result as a row of the table."""
    return " | ".join(form.format(result[name]) for _, name, form in COLUMNS)


def main() -> int:
    """Runs the seeds, prints the table, and returns 1 if a seed misses a target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=2, help="runs at once")
    parser.add_argument("--threads", type=int, default=1, help="threads of each run")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="folder of the runs")
    given = parser.parse_args()
    print(" | ".join(title for title, _, _ in COLUMNS), flush=True)
    lacking: list[str] = []
    with ThreadPoolExecutor(given.at_once) as pool:
        one = partial(run_seed, folder=given.folder.resolve(), preset=given.preset, threads=given.threads)
        for result in pool.map(one, range(given.seeds)):
            print(line(result), flush=True)
            lacking += shortcomings(result)
    print("\n".join(lacking) or f"all {given.seeds} seeds reached the targets")
    return int(bool(lacking))


if __name__ == "__main__":
    sys.exit(main())
