"""A new round as the Label screen holds it, and what of it stands in words."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from slmctl.labelling.rounds import Progress, Round
from slmctl.report import duration
from slmctl.runs.launch import shown

STAGES = {"rm": "reward model", "ppo": "PPO"}


@dataclass
class RoundState:
    """What is planned and how far it is; `model_before` is how often the old scorer says what the labels say."""

    planned: Round
    chosen_because: str = ""
    model_before: str = ""
    running: bool = False
    done: bool = False
    error: str = ""
    stages: dict[str, Progress] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The round in the status line; nothing where none is on its way."""
        if self.done:
            return f"{self.planned.name} is ready: shift+n"
        if self.error:
            return f"{self.planned.name} failed: shift+n"
        if not self.running:
            return ""
        now = list(self.stages.values())[-1:] or [Progress("rm")]
        return f"{self.planned.name}: {now[0].stage} {now[0].step}/{now[0].steps or '?'}"

    def lines(self) -> Iterator[str]:
        """What the round's own screen says."""
        yield from self._plan()
        for stage, progress in self.stages.items():
            yield f"{STAGES.get(stage, stage):<13} {self._progress(stage, progress)}"
        if self.error:
            yield ""
            yield f"! {self.error}"
        if self.done:
            yield ""
            yield f"The new policy is {self.planned.models[0]}."

    def _plan(self) -> Iterator[str]:
        planned = self.planned
        start = f"{planned.policy}{self.chosen_because}"
        yield f"A new run, {planned.name}: {planned.labels} labels teach {self._teaches}, and PPO goes on from {start}."
        if not (self.running or self.done or self.error):
            yield ""
            yield from (shown(words) for words in planned.commands)
            yield ""
            yield self._cost
        else:
            yield ""

    @property
    def _teaches(self) -> str:
        return f"{self.planned.reward} your taste" if self.planned.reward else "a reward model"

    @property
    def _cost(self) -> str:
        seconds = self.planned.seconds
        takes = "" if seconds is None else f"PPO takes about {duration(seconds)}. "
        return f"{takes}You can label on meanwhile, and leave: what has begun runs on."

    def _progress(self, stage: str, progress: Progress) -> str:
        if stage != "rm" or not progress.done:
            state = "done" if progress.done else f"{progress.step}/{progress.steps or '?'}"
            return f"{state}  {progress.numbers}"
        right = progress.metrics.get("rm/validation_accuracy")
        if right is None:
            return "done"
        return (
            f"done  right on {right:.0%} of the {progress.held_out} newest labels, not learnt from{self.model_before}"
        )
