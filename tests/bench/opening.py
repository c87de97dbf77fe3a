"""How fast the Train mode opens a long run: `python -m tests.bench.opening [--steps 10000] [--rounds 5]`.

Writes a run with this many PPO steps, opens it in a real pseudo-terminal, and prints the milliseconds from the first
read until the charts are painted, at 80x24 and 140x45, without start-up.
"""

import argparse
import math
import os
import random
import select
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from engine.core.events import (
    Event,
    RunFinished,
    RunStarted,
    SamplesDrawn,
    StageFinished,
    StageStarted,
    StepCompleted,
    rounded,
)
from engine.rundir.directory import RunDir
from slmctl.tui.opening import open_playground
from slmctl.tui.playground import Start
from slmctl.watch.follower import Follower, Update
from tests.bench.terminal import in_terminal
from tests.support.recorded_runs import make_run, sample, say

SIZES = {(80, 24): "KL to the reference", (140, 45): "throughput"}
"""Each size with the title of the last panel on its first page."""
SAMPLES_EVERY, SAMPLES_SHOWN = 5, 16
STEP_S = 3.0
TOO_LONG_S = 60.0


def metrics_of(step: int, rng: random.Random) -> dict[str, float]:
    """The metrics of a PPO step: every name, with trends and noise."""
    rise, shake = 1 - math.exp(-step / 800), rng.gauss(0, 0.05)
    numbers = {
        "score": 1.6 * rise + shake, "score_std": 0.7, "reward": 1.2 * rise + shake, "kl_nats": 6 * rise + shake,
        "kl_coef": 0.05, "entropy": 0.6 - 0.3 * rise + shake, "response_tokens": 12 + 3 * rise + shake,
        "finished": 1.0, "value": 0.4 * rise, "explained_variance": 0.5 + shake, "policy_loss": shake / 9,
        "value_loss": 0.4 * math.exp(-step / 300) + 0.02 + abs(shake), "approx_kl": abs(shake) / 40,
        "clip_fraction": abs(shake), "value_clip_fraction": abs(shake), "ratio": 1 + shake / 90,
        "ratio_max": 2 + shake, "grad_norm": 1 + shake, "value_grad_norm": 2 + shake, "lr": 1e-4 * (1.001 - rise),
        "judge_score": 0.7 + 0.2 * rise + shake, "step_s": STEP_S + shake, "tokens_per_s": 900 + 400 * shake,
    }  # fmt: skip
    return {f"ppo/{name}": value for name, value in numbers.items()}


def write_run(home: Path, steps: int) -> RunDir:
    """A finished run with this many PPO steps."""
    run, rng = make_run(home, "long"), random.Random(0)
    said: list[Event] = [RunStarted(run.name, 0, {}, at=0.0), StageStarted("ppo", steps, at=1.0)]
    for step in range(1, steps + 1):
        at = 1.0 + STEP_S * step
        said.append(rounded(StepCompleted("ppo", step, metrics_of(step, rng), at)))
        if step % SAMPLES_EVERY == 0:
            rows = [sample(f"What is {step} and {n}?", f"The sum is {step + n}.") for n in range(SAMPLES_SHOWN)]
            said.append(SamplesDrawn("ppo", step, rows, at))
    end = StageFinished("ppo", steps, metrics_of(steps, rng), at)
    say(run, *said, end, RunFinished("ppo", at))
    return run


class Opened:
    """The Train mode on a run in its own pseudo-terminal, with the pipe for the time of its first read."""

    def __init__(self, home: Path, columns: int, rows: int) -> None:
        self._notes, theirs = os.pipe()
        os.set_inheritable(theirs, True)
        words = ("tests.bench.opening", "--child", str(theirs), str(home))
        self._pid, self._screen = in_terminal(columns, rows, *words)
        os.close(theirs)

    def painted_s(self, title: str) -> float:
        """Seconds from the first read until the panel with this title is painted."""
        seen, until = b"", time.monotonic() + TOO_LONG_S
        while title.encode() not in seen:
            ready, _, _ = select.select([self._screen], [], [], TOO_LONG_S)
            assert ready and time.monotonic() < until, "the charts never came"
            seen += os.read(self._screen, 2**16)
        (began,) = struct.unpack("d", os.read(self._notes, 8))
        return time.monotonic() - float(began)

    def close(self) -> None:
        """Ends the playground."""
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        os.close(self._screen)
        os.close(self._notes)


def show(notes: int, home: Path) -> None:
    """Runs the playground; writes to a pipe when it first reads the run."""
    poll = Follower.poll

    def noted(follower: Follower) -> Update:
        os.write(notes, struct.pack("d", time.monotonic()))
        return poll(follower)

    with patch.object(Follower, "poll", noted):
        open_playground(Start(home, "train"))


def main() -> None:
    """Writes the run and prints the time of each opening."""
    if sys.argv[1:2] == ["--child"]:
        show(int(sys.argv[2]), Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(prog="python -m tests.bench.opening", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder), given.steps)
        for (columns, rows), title in SIZES.items():
            took = []
            for _ in range(given.rounds):
                opened = Opened(Path(folder), columns, rows)
                took.append(1000 * opened.painted_s(title))
                opened.close()
            each = "  ".join(f"{ms:.0f}" for ms in took)
            print(
                f"{given.steps} steps, {columns}x{rows}: median {statistics.median(took):.0f} ms  ({each})", flush=True
            )


if __name__ == "__main__":
    main()
