"""The state of a new round in the Label mode, and its text."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.core.intervals import Share
from slmctl.console.progress import duration
from slmctl.label.rounds import Round, RoundProgress
from slmctl.runs.launch import command_line

NO_VOTES = Share(0, 0)
FEW = 10  # held-out labels; fewer say little about accuracy
STAGES = {"rm": "reward model", "ppo": "PPO"}


@dataclass
class RoundState:
    """A planned round and its progress. `accuracy_before` describes the old scorer's accuracy on the labels; `longer`
    is how often the longer response won in them."""

    planned: Round
    start_reason: str = ""
    accuracy_before: str = ""
    longer: Share = NO_VOTES
    running: bool = False
    done: bool = False
    error: str = ""
    stages: dict[str, RoundProgress] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The round in one line with the key that opens it; "" if it has not started."""
        name = self.planned.name
        if self.done:
            return f"{name} is ready: Shift+N{self._accuracy}"
        if self.error:
            return f"{name} failed: Shift+N for details"
        if not self.running:
            return ""
        now = list(self.stages.values())[-1:] or [RoundProgress("rm")]
        return f"{name}: {STAGES.get(now[0].stage, now[0].stage)} {_steps(now[0])} · Shift+N{self._accuracy}"

    @property
    def command(self) -> str:
        """The command that compares the new policy with the old one."""
        return command_line(self.planned.comparison)

    @property
    def _accuracy(self) -> str:
        """The accuracy of the new reward model, once known."""
        progress = self.stages.get("rm", RoundProgress("rm"))
        accuracy = progress.metrics.get("rm/validation_accuracy")
        if accuracy is None or not progress.done:
            return ""
        return f" · reward model predicts {accuracy:.0%} of the {progress.held_out} newest labels"

    def lines(self) -> Iterator[str]:
        """The text of the dialog."""
        yield from self._plan()
        for stage, progress in self.stages.items():
            yield f"{STAGES.get(stage, stage):<13} {self._progress(stage, progress)}"
        if self.error:
            yield ""
            yield f"! {self.error}"
        if self.done:
            yield from self._lengths()
            yield ""
            yield "To compare the policies, with confidence intervals (y copies the command):"
            yield self.command
            yield ""
            if "--prompts" in self.planned.comparison:
                yield "Its judge is the reward model that PPO was trained on. For an independent result, pass your own"
                yield "--judge and --prompts."
            else:
                yield "Its judge is the reward model that PPO was trained on. Without --judge, the pocket judge also"
                yield "shows what else has changed."

    def _lengths(self) -> Iterator[str]:
        """Response lengths before and after, and which length the labels preferred."""
        if (lengths := self.stages.get("ppo", RoundProgress("ppo")).lengths) is not None:
            won = self.longer
            votes = f" (the longer response won {won.rate:.0%} of {won.cases} labels)" if won.rate is not None else ""
            before, now = self.planned.policy, self.planned.models[0]
            yield f"{'length':<13} {lengths[0]:.1f} tokens from {before}, {lengths[1]:.1f} from {now}{votes}"

    def _plan(self) -> Iterator[str]:
        planned = self.planned
        reward = f"{planned.reward} is trained further" if planned.reward else "a reward model is trained"
        policy = f"{planned.policy}{self.start_reason}"
        yield f"New run {planned.name}: {reward} on {planned.labels} labels, then PPO starts from {policy}."
        if not (self.running or self.done or self.error):
            yield ""
            yield from (command_line(words) for words in planned.commands)
            yield ""
            yield self._cost
        else:
            yield ""

    @property
    def _cost(self) -> str:
        seconds = self.planned.seconds
        takes = "" if seconds is None else f"PPO takes about {duration(seconds)}. "
        return f"{takes}You can keep labeling or leave: the round runs to its end."

    def _progress(self, stage: str, progress: RoundProgress) -> str:
        if stage != "rm" or not progress.done:
            return f"{'done' if progress.done else _steps(progress)}  {progress.headline}"
        accuracy = progress.metrics.get("rm/validation_accuracy")
        if accuracy is None:
            return "done"
        return (
            f"done  predicts {accuracy:.0%} of the {progress.held_out} newest labels, which were held out"
            f"{'; too few for a reliable estimate' if progress.held_out < FEW else ''}{self.accuracy_before}"
        )


def _steps(progress: RoundProgress) -> str:
    return f"{progress.step}/{progress.steps}" if progress.steps else "starting"
