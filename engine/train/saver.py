"""How a stage's loop saves, stops and resumes.

One `Saver` per stage writes `step-NNNNNN/` (the last two are kept) and finally `final/`. `StageLoop` is what the loop
of every stage is given. Which run and which stage is the driver's job.
"""

import math
import re
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.core.errors import DivergedError
from engine.core.events import CheckpointSaved, Event, StageFinished, is_clock
from engine.core.untrusted_files import read_json
from engine.model.checkpoint import (
    TrainingState,
    load_state,
    recover,
    save_model,
    write_directory,
    write_state,
)
from engine.model.heads import ScalarModel
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.rundir.directory import flush

STEPS_KEPT = 2


@dataclass(frozen=True)
class Trained:
    """What a stage trains and saves: a model with its tokenizer and optimizers, and PPO's value network."""

    model: LanguageModel | ScalarModel
    tokenizer: Tokenizer
    optimizers: Mapping[str, torch.optim.Optimizer] = field(default_factory=dict)
    value: ScalarModel | None = None


class Saver:
    """Writes and reads the checkpoints of one stage; `about` (parents, hashes, settings) is in every slmctl.json."""

    def __init__(self, stage: str, directory: Path, every: int, about: Mapping[str, Any] | None = None) -> None:
        self.stage, self.directory, self.every, self.about = stage, directory, every, about or {}
        self._trained: Trained | None = None
        self._numbers: dict[str, Any] = {}
        self._steps = 0

    def resume(self, trained: Trained | None, numbers: dict[str, Any], steps: int) -> int:
        """Puts the newest saved state back into `trained` and `numbers`; returns the steps it had completed, 0 if none.

        Later saves hold these two as they are then; a stage without a model saves its `numbers` (JSON values) alone.
        `steps` is how many the stage will take.
        """
        # Random streams and the data order are derived from seed and step, so weights, moments and a few numbers are
        # all the state there is: a resumed run equals one that was never stopped, bit for bit.
        self._trained, self._numbers, self._steps = trained, numbers, steps
        recover(self.directory / "best")
        saved = self._saved()
        if not saved:
            return 0
        modules = {} if trained is None else {"": trained.model, "value": trained.value}
        held = {name: module for name, module in modules.items() if module is not None}
        numbers.update(load_state(saved[-1][1], held, {} if trained is None else dict(trained.optimizers)))
        return saved[-1][0]

    def latest(self) -> int:
        """The steps that the newest saved state had completed, 0 if there is none."""
        saved = self._saved()
        return saved[-1][0] if saved else 0

    def due(self, step: int) -> bool:
        """Whether to save after completing `step`."""
        return step % self.every == 0

    def save(self, step: int) -> Iterator[Event]:
        """Writes the state after `step` steps and yields that, unless it is saved already; keeps the last two."""
        if step == self.latest():
            return
        name = f"step-{step:06d}"
        if self._trained is None:
            state = TrainingState({}, self._numbers)
            write_directory(self.directory / name, lambda folder: write_state(folder, state))
        else:
            state = TrainingState(dict(self._trained.optimizers), self._numbers)
            self._write(name, step, f"step {step}, to resume from", {}, state)
        self._sweep()
        yield self.saved_event(step)

    def saved_event(self, step: int) -> CheckpointSaved:
        """The event of the state saved after `step` steps."""
        return CheckpointSaved(self.stage, step, f"{self.directory.name}/step-{step:06d}")

    def offer(self, step: int, loss: float, metrics: Mapping[str, float]) -> None:
        """Keeps the model as `best/` if its held-out `loss` is the lowest so far."""
        if loss < self._numbers.get("best_loss", math.inf):
            self._numbers.update(best_loss=loss, best_step=step)
            self._write("best", step, f"step {step}, the lowest held-out loss ({loss:.4f})", metrics)

    def finish_best(self) -> Iterator[Event]:
        """Makes `best/` the final checkpoint; yields the last two events of the stage."""
        # The best by held-out loss, not the last: early stopping without having to know when to stop.
        (self.directory / "best").rename(self.directory / "final")
        flush(self.directory)
        yield from self.final_events()

    def finish(self, step: int, metrics: Mapping[str, float]) -> Iterator[Event]:
        """Makes the model after `step` steps the final checkpoint; yields the last two events of the stage.

        Metrics of the machine's speed are left out, so that the same run always makes the same files.
        """
        self._steps = step
        kept = {name: value for name, value in metrics.items() if not is_clock(name)}
        self._write("final", step, f"step {step}, the last of the stage", kept)
        yield from self.final_events()

    def final_events(self) -> Iterator[Event]:
        """Deletes leftovers of crashes; yields the last two events of a stage whose `final/` is complete."""
        self._sweep()
        about = read_json(self.directory / "final" / "slmctl.json")
        yield CheckpointSaved(self.stage, about["step"], f"{self.directory.name}/final")
        yield StageFinished(self.stage, about["steps"], about["metrics"])

    def describe(self, step: int, chosen: str, metrics: Mapping[str, float]) -> dict[str, Any]:
        """The content of a slmctl.json, without a reward model's bias."""
        about = {"stage": self.stage, "step": step, "steps": self._steps, "chosen": chosen, "metrics": dict(metrics)}
        return about | dict(self.about)

    def _write(
        self, name: str, step: int, chosen: str, metrics: Mapping[str, float], state: TrainingState | None = None
    ) -> None:
        assert self._trained is not None, f"{self.stage} has no model to save"
        model = self._trained.model
        # A loss is checked before each update, but an update itself can overflow; a checkpoint must never hold that.
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            raise DivergedError(
                f"the weights of {self.stage} are not finite after step {step}; the last good checkpoint is kept: "
                "lower the learning rate and start again with --fresh or --run NEW."
            )
        about = self.describe(step, chosen, metrics)
        save_model(self.directory / name, model, self._trained.tokenizer, about, self._trained.value, state)

    def _sweep(self) -> None:
        """Deletes saved steps but the last two, and directories that were being written, replaced or deleted."""
        for _, old in self._saved()[:-STEPS_KEPT]:
            old.rename(old.with_name(f".{old.name}.deleted"))  # one rename, so no half of it keeps its name
        for leftover in self.directory.glob(".*"):
            shutil.rmtree(leftover)

    def _saved(self) -> list[tuple[int, Path]]:
        """Complete saved steps, oldest first."""
        found = [(re.fullmatch(r"step-(\d+)", path.name), path) for path in self.directory.glob("step-*")]
        return sorted((int(match[1]), path) for match, path in found if match)


@dataclass(frozen=True)
class StageLoop:
    """What every stage's loop is given: the seed of its draws, its number of steps, its saver, and when to stop."""

    seed: int
    steps: int
    saver: Saver
    should_stop: Callable[[], bool]

    def resume(self, trained: Trained | None, numbers: dict[str, Any]) -> range:
        """The steps that are left, counted from 1, after putting the newest saved state back in place."""
        return range(self.saver.resume(trained, numbers, self.steps) + 1, self.steps + 1)

    def end_step(self, step: int) -> Generator[Event, None, bool]:
        """Saves after `step` where that is due or the stage is asked to stop; returns whether it stops here.

        The last step is never saved to resume from: the final checkpoint follows at once.
        """
        # Asked once a step, when the step is complete: a pause or stop never cuts an optimizer step in two.
        stop = self.should_stop()
        if step == self.steps:
            return False
        if stop or self.saver.due(step):
            yield from self.saver.save(step)
        return stop
