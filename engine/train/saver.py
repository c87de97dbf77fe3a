"""Keeping a stage: what to save, when, and how to go on from the last save.

One Saver a stage. It holds the stage's model and optimisers, writes `step-NNNNNN/` (the last two are kept) and finally
`final/`. Which run and which stage is the driver's business.
"""

import math
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.core.errors import DivergedError
from engine.core.events import CheckpointSaved, Event, StageFinished, is_clock
from engine.core.untrusted_files import read_json
from engine.model.checkpoint import (
    TrainingState,
    flush,
    load_state,
    recover,
    save_model,
    write_directory,
    write_state,
)
from engine.model.heads import ScalarModel
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel

STEPS_KEPT = 2


@dataclass
class Saver:
    """What a stage saves. The stage sets what it trains (`model`, `value`, `optimizers`) before it resumes.

    `numbers` (JSON values) are whatever else it must remember; it changes them in place. `about` goes into every
    slmctl.json: parents, hashes, configuration.
    """

    stage: str
    directory: Path
    every: int
    about: Mapping[str, Any] = field(default_factory=dict)
    model: LanguageModel | ScalarModel | None = None
    tokenizer: Tokenizer | None = None
    value: ScalarModel | None = None
    optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    steps: int = 0  # all that the stage will take

    def resume(self) -> int:
        """Put the newest saved state back, in place; return the steps it had completed, 0 if there is none."""
        recover(self.directory / "best")
        saved = self._saved()
        if not saved:
            return 0
        modules = {"": self.model, "value": self.value}
        held = {name: module for name, module in modules.items() if module is not None}
        self.numbers.update(load_state(saved[-1][1], held, self.optimizers))
        return saved[-1][0]

    def latest(self) -> int:
        """The steps that the newest saved state had completed, 0 if there is none."""
        saved = self._saved()
        return saved[-1][0] if saved else 0

    def due(self, step: int) -> bool:
        """Whether to save after completing `step`."""
        return step % self.every == 0

    def save(self, step: int) -> Iterator[Event]:
        """Write the state after `step` steps and yield that, unless it is done; older ones but the last two go."""
        if step == self.latest():
            return
        name = f"step-{step:06d}"
        state = TrainingState(self.optimizers, self.numbers)
        if self.model is None:
            write_directory(self.directory / name, lambda folder: write_state(folder, state))
        else:
            self._write(name, step, f"step {step}, to resume from", {}, state)
        self._sweep()
        yield self.said_of(step)

    def said_of(self, step: int) -> CheckpointSaved:
        """The event of the state saved after `step` steps."""
        return CheckpointSaved(self.stage, step, f"{self.directory.name}/step-{step:06d}")

    def offer(self, step: int, loss: float, metrics: Mapping[str, float]) -> None:
        """Keep the model as `best/` if its held-out `loss` is the lowest so far."""
        if loss < self.numbers.get("best_loss", math.inf):
            self.numbers.update(best_loss=loss, best_step=step)
            self._write("best", step, f"step {step}, the lowest held-out loss ({loss:.4f})", metrics)

    def finish_best(self) -> Iterator[Event]:
        """Make `best/` the final checkpoint; yields what `ending` says."""
        (self.directory / "best").rename(self.directory / "final")
        flush(self.directory)
        yield from self.ending()

    def finish(self, step: int, metrics: Mapping[str, float]) -> Iterator[Event]:
        """Make the model, as it is after `step`, the final checkpoint; yields what `ending` says.

        Metrics of the machine's speed are left out, so that the same run always makes the same files.
        """
        self.steps = step
        kept = {name: value for name, value in metrics.items() if not is_clock(name)}
        self._write("final", step, f"step {step}, the last of the stage", kept)
        yield from self.ending()

    def ending(self) -> Iterator[Event]:
        """Clear away what crashes left; yields the last two events of a stage whose `final/` is whole, read from it."""
        self._sweep()
        about = read_json(self.directory / "final" / "slmctl.json")
        yield CheckpointSaved(self.stage, about["step"], f"{self.directory.name}/final")
        yield StageFinished(self.stage, about["steps"], about["metrics"])

    def describe(self, step: int, chosen: str, metrics: Mapping[str, float]) -> dict[str, Any]:
        """The content of a slmctl.json, the reward's bias left out."""
        about = {"stage": self.stage, "step": step, "steps": self.steps, "chosen": chosen, "metrics": dict(metrics)}
        return about | dict(self.about)

    def _write(
        self, name: str, step: int, chosen: str, metrics: Mapping[str, float], state: TrainingState | None = None
    ) -> None:
        assert self.model is not None and self.tokenizer is not None, f"{self.stage} has no model to save"
        if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
            raise DivergedError(
                f"the weights of {self.stage} are not finite after step {step}; the last good checkpoint is kept: "
                "lower the learning rate and start again with --fresh or --run NEW."
            )
        about = self.describe(step, chosen, metrics)
        save_model(self.directory / name, self.model, self.tokenizer, about, self.value, state)

    def _sweep(self) -> None:
        """Delete saved steps but the last two, and directories that were being written, replaced or deleted."""
        for _, old in self._saved()[:-STEPS_KEPT]:
            old.rename(old.with_name(f".{old.name}.deleted"))  # in one move: no half of it is left under its name
        for leftover in self.directory.glob(".*"):
            shutil.rmtree(leftover)

    def _saved(self) -> list[tuple[int, Path]]:
        """Whole saved steps, oldest first."""
        found = [(re.fullmatch(r"step-(\d+)", path.name), path) for path in self.directory.glob("step-*")]
        return sorted((int(match[1]), path) for match, path in found if match)
