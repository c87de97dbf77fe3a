"""Measures the speed of the sampler process.

    python -m tests.bench.worker tiny:ppo tiny:sft tiny:base tiny:ppo@40 --scorer tiny:rm --busy

Prints one JSON line per measurement on prompts of the pocket world. Rates are shown beside those of
`engine.run.inference` in this process, with as many threads. With --busy, labeling is measured once more while a run of
the tiny preset trains with its default threads.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.core import threads
from engine.pocket.prompts import all_requests
from engine.rundir.directory import runs_home
from engine.rundir.references import resolve_reference
from slmctl.worker.client import ChildSampler
from slmctl.worker.protocol import SampleRequest

SAMPLING = {"max_new_tokens": 48}
PROMPTS = 40
PAIRS = 128
AHEAD = 16  # pairs that are asked for at once
WARM_UP_S = 5.0


def say(name: str, **numbers: float) -> None:
    print(json.dumps({"measured": name, **{key: round(value, 4) for key, value in numbers.items()}}), flush=True)


def prompts() -> list[str]:
    texts = [request.text for request in all_requests("test")]
    return texts[:: len(texts) // PROMPTS][:PROMPTS]


async def loading(sampler: ChildSampler, models: Sequence[str], scorer: str) -> None:
    started = time.monotonic()
    await sampler.load(models[0])
    say("first load, with the start of the process", seconds=time.monotonic() - started)
    for name in [*models[1:], scorer]:
        started = time.monotonic()
        await sampler.load(name, scorer=name == scorer)
        say(f"load {name}", seconds=time.monotonic() - started)


async def speed(sampler: ChildSampler, models: Sequence[str]) -> None:
    """Tokens per second, streamed from all `models` at once; and the time until each has some text."""
    tokens, first = 0, []
    begun = time.monotonic()
    for step, prompt in enumerate(prompts()):
        started, heard = time.monotonic(), dict[str, float]()

        def hear(name: str, started: float = started, heard: dict[str, float] = heard) -> Any:
            return lambda row, text: heard.setdefault(name, time.monotonic() - started)

        drawings = [sampler.sample(SampleRequest(name, [prompt], SAMPLING, 0, step), hear(name)) for name in models]
        for answers in await asyncio.gather(*(drawing.responses() for drawing in drawings)):
            tokens += answers[0].tokens
        first.append(max(heard.values(), default=0.0))
    rate = tokens / (time.monotonic() - begun)
    say(f"{len(models)} side by side", tokens_a_second=rate, first_text_s=statistics.median(first))


def in_process(models: Sequence[str], home: Path) -> None:
    """Tokens per second of the same draws by respond, one model after the other."""
    from engine.model.sampling import Sampling
    from engine.run.inference import ModelLoader

    policies = [ModelLoader().policy(name, resolve_reference(name, home)) for name in models]
    policies[0].respond(prompts()[:1], Sampling(max_new_tokens=48), 0)
    begun, tokens = time.monotonic(), 0
    for step, prompt in enumerate(prompts()):
        tokens += sum(policy.respond([prompt], Sampling(max_new_tokens=48), 0, step)[0].tokens for policy in policies)
    say(f"{len(models)} by respond", tokens_a_second=tokens / (time.monotonic() - begun))


async def labeling(sampler: ChildSampler, model: str, scorer: str, where: str) -> None:
    """Pairs per second in the background with AHEAD requests at a time, and the wait for the first pair."""
    gate = asyncio.Semaphore(AHEAD)
    arrivals: list[float] = []
    begun = time.monotonic()

    async def pair(step: int, prompt: str) -> None:
        async with gate:
            await sampler.sample(
                SampleRequest(model, [prompt] * 2, SAMPLING, 1, step, scorer=scorer, background=True)
            ).responses()
            arrivals.append(time.monotonic() - begun)

    asked = prompts()
    await asyncio.gather(*(pair(step, asked[step % len(asked)]) for step in range(PAIRS)))
    say(f"labeling {where}", pairs_a_second=PAIRS / arrivals[-1], first_pair_s=arrivals[0])


@contextmanager
def training() -> Iterator[None]:
    """Trains a run of the tiny preset during the block."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        command = [sys.executable, "-c", "from slmctl.cli import main; main()", "run", "--preset", "tiny", "--quiet"]
        process = subprocess.Popen(command, env={**environ, "SLMCTL_RUNS": folder}, stdout=subprocess.DEVNULL)
        events = Path(folder) / "tiny" / "events.jsonl"
        try:
            while not (events.exists() and "StepCompleted" in events.read_text()):
                time.sleep(0.1)
            time.sleep(WARM_UP_S)
            yield
        finally:
            process.kill()
            process.wait()


async def measure(models: Sequence[str], scorer: str, count: int, busy: bool) -> None:
    sampler = ChildSampler(runs_home(os.environ), {"threads": count})
    await loading(sampler, models, scorer)
    for together in (models[:1], models):
        await speed(sampler, together)
        in_process(together, runs_home(os.environ))
    await labeling(sampler, models[0], scorer, "alone")
    if busy:
        with training():
            await labeling(sampler, models[0], scorer, "beside a training run")
            await speed(sampler, models[:1])
    await sampler.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--scorer", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--busy", action="store_true")
    given = parser.parse_args()
    threads.apply(given.threads, shared=True)
    asyncio.run(measure(given.models, given.scorer, given.threads, given.busy))


if __name__ == "__main__":
    main()
