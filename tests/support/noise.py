"""A playground full of hostile text, for a real terminal: `python -m tests.support.noise HOME SEED`.

Models, prompts, samples, alerts, names and labels are random characters with escape sequences and markup between them.
"""

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from engine.core.events import AlertRaised, RunFailed
from engine.data.labels.store import Candidate, Label, LabelStore
from engine.data.records import Prompt
from slmctl.label.setup import LabelOptions
from slmctl.tui.app import Playground
from slmctl.tui.playground import Start
from slmctl.worker.protocol import SampledResponse
from tests.support.fake_sampler import FakeSampler
from tests.support.recorded_runs import begin_ppo, drawn, make_run, ppo_step, sample, say

ATTACKS = (
    *("\x1b]0;pwned\x07", "\x1b]8;;http://x\x1b\\", "\x1b[31;7m", "\x1b[2J", "\x1b[?1049l", "\x1bPq#\x1b\\", "\x1bc"),
    *("\x9b31m", "\x9d0;pwned\x9c", "\x0e", "\x7f", "\b\b\b", "\r", "\x00", "\u202e", "\u2066", "\t"),
    *("[@click=app.quit()]x[/]", "[/nope]", "[bold", "\\[", "[link=file:///etc]y[/link]", "**b**", "`c`", "<b>"),
)
"""Text that a terminal or a library might interpret."""
MARK = "\x1b[35;44m"
"""A color that no theme has: if it reaches the terminal, some text was not sanitized."""


def noise(rng: random.Random, length: int = 60) -> str:
    """Hostile text of at least this many characters."""
    text = MARK
    while len(text) < length:
        text += rng.choice((*ATTACKS, chr(rng.randrange(0x20)), chr(rng.randrange(0x20, 0x250)), "word ", "東", "\n"))
    return text


@dataclass
class Noisy(FakeSampler):
    """A sampler that answers everything with hostile text."""

    seed: int = 0

    def _scripted(self, row: int, prompt: Prompt) -> SampledResponse:
        text = noise(random.Random(f"{self.seed} {row} {len(self.draws)}"), 90)
        return SampledResponse(text, tokens=9, finished=True, seconds=0.1)


def main() -> None:
    """Makes the runs and opens the playground on them."""
    home, rng = Path(sys.argv[1]), random.Random(sys.argv[2])
    run = make_run(home, "noise")
    begin_ppo(run)
    for step in range(1, 6):
        rows = [sample(noise(rng), noise(rng)) for _ in range(5)]
        say(run, ppo_step(step), drawn(step, *rows), AlertRaised("ppo", step, noise(rng), noise(rng)))
    say(run, RunFailed("ppo", noise(rng)))
    for stage in ("sft", "ppo"):
        run.final(stage).mkdir(parents=True)
    (home / noise(rng, 40).replace("/", "").replace("\x00", "")).mkdir()
    prompts = home / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": noise(rng)}) + "\n" for _ in range(50)))
    with LabelStore(run.path / "labels.db") as store:
        pair = (Candidate(noise(rng), model=noise(rng)), Candidate(noise(rng), model=noise(rng)))
        store.add(Label(noise(rng), noise(rng), pair, "choice", ranks=(0, 1), note=noise(rng)))
    models = ("noise:sft", "noise:ppo")
    options = LabelOptions(models[:1], prompts=str(prompts), annotator=noise(rng))
    start = Start(home, models=models, runs=("noise",), options={"annotator": noise(rng), "label": options})
    Playground(start, sampler=Noisy(seed=rng.randrange(2**32))).run()


if __name__ == "__main__":
    main()
