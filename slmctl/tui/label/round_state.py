"""A new round as the Label screen holds it, and what of it stands in words."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.core.intervals import Share
from slmctl.console.progress import duration
from slmctl.label.rounds import Progress, Round
from slmctl.runs.launch import command_line

NO_VOTES = Share(0, 0)
FEW = 10  # held-out labels, of which a share says little
STAGES = {"rm": "reward model", "ppo": "PPO"}


@dataclass
class RoundState:
    """What is planned and how far it is; `model_before` is how often the old scorer says what the labels say, `longer`
    how often the longer response won in them."""

    planned: Round
    chosen_because: str = ""
    model_before: str = ""
    longer: Share = NO_VOTES
    running: bool = False
    done: bool = False
    error: str = ""
    stages: dict[str, Progress] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The round in one line, the key that leads to it first; nothing where none is on its way."""
        name = self.planned.name
        if self.done:
            return f"{name} is ready: shift+n{self._right}"
        if self.error:
            return f"{name} failed: shift+n says why"
        if not self.running:
            return ""
        now = list(self.stages.values())[-1:] or [Progress("rm")]
        return f"{name}: {STAGES.get(now[0].stage, now[0].stage)} {_steps(now[0])} · shift+n{self._right}"

    @property
    def command(self) -> str:
        """What measures how the new policy differs."""
        return command_line(self.planned.comparison)

    @property
    def _right(self) -> str:
        """How good the new reward model is, once that is known."""
        learnt = self.stages.get("rm", Progress("rm"))
        right = learnt.metrics.get("rm/validation_accuracy")
        if right is None or not learnt.done:
            return ""
        return f" · reward model: {right:.0%} of the {learnt.held_out} newest labels right"

    def lines(self) -> Iterator[str]:
        """What the round's own screen says."""
        yield from self._plan()
        for stage, progress in self.stages.items():
            yield f"{STAGES.get(stage, stage):<13} {self._progress(stage, progress)}"
        if self.error:
            yield ""
            yield f"! {self.error}"
        if self.done:
            yield from self._lengths()
            yield ""
            yield "How sure is that? This command gives intervals (y copies it):"
            yield self.command
            yield ""
            if "--prompts" in self.planned.comparison:
                yield "Its judge is what PPO was taught by: a --judge and --prompts of your own say more."
            else:
                yield "Its judge is what PPO was taught by; without --judge, the world's says what else has changed."

    def _lengths(self) -> Iterator[str]:
        """How long responses were and are, and which way the labels went."""
        if (lengths := self.stages.get("ppo", Progress("ppo")).lengths) is not None:
            won = self.longer
            votes = f" (the longer one won {won.rate:.0%} of {won.cases} labels)" if won.rate is not None else ""
            before, now = self.planned.policy, self.planned.models[0]
            yield f"{'length':<13} {lengths[0]:.1f} tokens from {before}, {lengths[1]:.1f} from {now}{votes}"

    def _plan(self) -> Iterator[str]:
        planned = self.planned
        start = f"{planned.policy}{self.chosen_because}"
        yield f"A new run, {planned.name}: {planned.labels} labels teach {self._teaches}, and PPO goes on from {start}."
        if not (self.running or self.done or self.error):
            yield ""
            yield from (command_line(words) for words in planned.commands)
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
        return f"{takes}You can label on meanwhile, and leave: it goes on to its end."

    def _progress(self, stage: str, progress: Progress) -> str:
        if stage != "rm" or not progress.done:
            return f"{'done' if progress.done else _steps(progress)}  {progress.numbers}"
        right = progress.metrics.get("rm/validation_accuracy")
        if right is None:
            return "done"
        return (
            f"done  right on {right:.0%} of the {progress.held_out} newest labels, not learnt from"
            f"{', too few to say much' if progress.held_out < FEW else ''}{self.model_before}"
        )


def _steps(progress: Progress) -> str:
    return f"{progress.step}/{progress.steps}" if progress.steps else "begins"
