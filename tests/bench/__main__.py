"""`python -m tests.bench WORKLOAD --peer PYTHON --bench DIR`: our rates and those of TRL on one workload, alternating.

Each measurement runs in its own process, for its own peak memory. This process stays small, since the peak of a child
includes the memory of its parent at the fork.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from engine.core import threads

BYTES_A_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # as in engine.run.machine, which would load torch here
STAGES = {"sft": "examples/s", "rm": "pairs/s", "generate": "tokens/s", "ppo": "episodes/s"}
SMALL_STEPS = 8  # timed steps of sft and rm to one of generate and ppo: enough of them to meet long and short batches
HEADER = f"{'stage':9} {'round':>6} {'ours':>9} {'TRL':>9} {'ratio':>6} {'ours MB':>8} {'TRL MB':>7}"


@dataclass(frozen=True)
class Measured:
    """The result of one process: rows per second and peak memory in MB (10^6 bytes)."""

    per_second: float
    peak_mb: float


def measure(command: Sequence[str], environ: Mapping[str, str]) -> Measured:
    """Runs one side, whose last line on stdout is a JSON object with `per_second`.

    Raises: RuntimeError with its output if it fails.
    """
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=said, text=True)
        assert child.stdout is not None
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}: {said.read()[-2000:]}")
    row = json.loads(output.splitlines()[-1])
    return Measured(row["per_second"], usage.ru_maxrss * BYTES_A_RSS_UNIT / 1e6)


def sides(given: argparse.Namespace, stage: str, number: int) -> tuple[Measured, Measured]:
    """One round of one stage: ours, then TRL's."""
    steps = given.steps * (SMALL_STEPS if stage in ("sft", "rm") else 1)
    asked = [given.workload, stage, "--steps", steps, "--threads", given.threads, "--seed", number]
    environ = dict(os.environ)
    threads.apply(given.threads, environ=environ)
    typed = [str(word) for word in asked]
    ours = measure([sys.executable, "-m", "tests.bench.ours", *typed], environ)
    return ours, measure([given.peer, str(given.bench / "peer_trl.py"), *typed], os.environ)


def line(stage: str, number: str, ours: Measured, theirs: Measured, ratio: float) -> str:
    """A row of the table."""
    rates = f"{stage:9} {number:>6} {ours.per_second:9.2f} {theirs.per_second:9.2f} {ratio:6.2f}"
    return f"{rates} {ours.peak_mb:8.0f} {theirs.peak_mb:7.0f}"


def middle(rounds: Sequence[Measured]) -> Measured:
    """The median of rates, and of memory."""
    return Measured(median(one.per_second for one in rounds), median(one.peak_mb for one in rounds))


def main() -> int:
    """Measures, prints the table row by row, and returns 1 if TRL is faster or uses less memory in the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", type=Path, help="output of make_workload.py")
    parser.add_argument("--peer", required=True, help="the Python of an environment that has TRL")
    parser.add_argument("--bench", type=Path, required=True, help="the folder with peer_trl.py")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=5, help=f"timed steps; sft and rm take {SMALL_STEPS} times as many"
    )
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    print(HEADER, flush=True)
    behind = []
    for stage in given.stages:
        rounds = []
        for number in range(given.rounds):
            rounds.append(sides(given, stage, number))
            ours, theirs = rounds[-1]
            print(line(stage, str(number), ours, theirs, ours.per_second / theirs.per_second), flush=True)
        ours, theirs = (middle(side) for side in zip(*rounds, strict=True))
        ratio = median(a.per_second / b.per_second for a, b in rounds)
        print(f"{line(stage, 'median', ours, theirs, ratio)}  {STAGES[stage]}", flush=True)
        if ratio < 1:
            behind.append(f"{stage} is slower")
        if stage == "ppo" and ours.peak_mb >= theirs.peak_mb:
            behind.append("ppo holds more memory")
    print(", ".join(behind) or "as fast as TRL in every stage")
    return int(bool(behind))


if __name__ == "__main__":
    sys.exit(main())
