"""A new round: in a new run, the reward model is trained on the labels, then PPO on the policy that was labeled.

A round is two commands that a person could type, run one after the other in separate processes; their progress is read
from the run directory. Torch-free.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

from engine.core.config import EvalConfig
from engine.core.errors import INTERRUPTED, ConfigError, EngineError, FileError
from engine.core.events import StageFinished, StageStarted, StepCompleted
from engine.core.few_comparisons import recommended_epochs, recommended_settings
from engine.core.settings import load_preset, resolve
from engine.data.files import Source, map_text
from engine.run.inputs import NONE
from engine.rundir.directory import RunDir, check_name, list_runs
from engine.rundir.heartbeat import make_request
from engine.rundir.references import is_model, reference_to
from engine.rundir.runtoml import RunRecord, read_run_toml
from slmctl.console.progress import headline_of
from slmctl.label.setup import run_of
from slmctl.runs.launch import command_line, killed_by, launch

MIN_LABELS = 10  # fewer can neither train a reward model nor test it
DEFAULT_PRESET = "slm-25m"  # for models that do not belong to a run
POLL_S = 0.5
RM_HELD_OUT = 0.15  # fraction of labels
PPO_STEPS = 0.6  # fraction of the steps of the run that the round starts from
LENGTH = "ppo/response_tokens"
LENGTH_STEPS = 3  # the first and last steps that response lengths are averaged over; one step is noisy


@dataclass(frozen=True)
class Round:
    """A planned round: the commands that make run `name`, and the models that its policy and reward model start from.

    `seconds` is the estimated time of PPO, by the pace of the run that it starts from; None if unknown. `comparison` is
    the command that compares the new policy with the old one, with intervals.
    """

    name: str
    policy: str
    reward: str
    labels: int
    commands: tuple[tuple[str, ...], ...]
    seconds: float | None = None
    comparison: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The models to label next."""
        return (f"{self.name}:ppo",)

    @property
    def scorer(self) -> str:
        """The reward model of the round."""
        return f"{self.name}:rm"


@dataclass(frozen=True)
class RoundProgress:
    """Progress of a round's current stage, with its main metrics as text in `headline`."""

    stage: str
    step: int = 0
    steps: int = 0
    headline: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    held_out: int = 0  # labels that test the reward model
    done: bool = False
    lengths: tuple[float, float] | None = None  # mean tokens of PPO's responses in its first and last steps


def plan_round(
    policy: str,
    scorer: str,
    labels: Path,
    count: int,
    home: Path,
    prompts: Source | None = None,
    longest: int | None = None,
) -> Round:
    """The round that trains `policy` on `count` labels of a database.

    The reward model starts from `scorer` if that is a model, else from the run's own, else from the policy. `prompts`
    is the user's own prompt file, if any, `longest` the maximum number of tokens a response. Raises: ConfigError for
    too few labels; FileError.
    """
    if count < MIN_LABELS:
        raise ConfigError(
            f"a round needs at least {MIN_LABELS} labels, and there are {count}; about 50 make it worthwhile"
        )
    parent = run_of(policy, home)
    reward = scorer if scorer and is_model(scorer) else ""
    if parent is None:
        name, origin = first_name(home, Path(policy).resolve().name.partition("@")[0]), ["--preset", DEFAULT_PRESET]
        record = RunRecord(DEFAULT_PRESET, resolve(load_preset(DEFAULT_PRESET)).config, {})
    else:
        name, origin, record = next_name(home, parent.name), ["--from", parent.name], read_run_toml(parent)
        reward = reward or (f"{parent.name}:rm" if parent.finished("rm") is not None else "")
    given = record.inputs.get("ppo", {})
    from_sft = parent is not None and policy == reference_to(parent.name, "sft")
    start = [] if from_sft and "init" not in given else ["--init", policy]
    start += ["--reward", NONE] if "reward" in given else []
    start += ["--judge", NONE] if (judge := given.get("judge")) is not None and judge.kind == "function" else []
    if prompts is not None:
        start += ["--prompts", prompts.name, *(["--map", map_text(prompts.fields)] if prompts.fields else [])]
    rm, ppo = settings_for(record, count, warm=bool(reward))
    if longest is not None and longest != record.config.ppo.max_new_tokens:
        ppo["ppo.max_new_tokens"] = longest
    data = ["--data", str(labels), "--init", reward or policy]
    return Round(
        name,
        policy,
        reward,
        count,
        (("rm", "--run", name, *origin, *data, *_set(rm)), ("ppo", "--run", name, *start, *_set(ppo))),
        None if parent is None else _seconds(parent, int(ppo.get("ppo.steps", record.config.ppo.steps))),
        ("eval", policy, f"{name}:ppo", *_comparison(record, prompts, labels, f"{name}:rm", longest)),
    )


def settings_for(record: RunRecord, labels: int, warm: bool) -> tuple[dict[str, float], dict[str, float]]:
    """The settings of the reward model and of PPO that differ from those of the run that the round starts from.

    A `warm` reward model was trained before. The run of an earlier round has these settings already, except for the
    epochs. Measured on `tiny`: tests/bench/round.py.
    """
    config = record.config
    if (data := record.input("rm", "data")) is not None and data.kind == "labels":
        return {"rm.epochs": recommended_epochs(labels)}, {}
    rm = recommended_settings(config.rm, labels, warm) | {"rm.validation_share": RM_HELD_OUT}
    return rm, {"ppo.steps": max(1, round(PPO_STEPS * config.ppo.steps))}


def first_name(home: Path, name: str) -> str:
    """The name if no run has it, else the next free one."""
    return next_name(home, name) if (home / name).exists() else check_name(name)


def next_name(home: Path, name: str) -> str:
    """The next free name: tiny-2 after tiny, tiny-3 after tiny-2."""
    stem, _, number = name.rpartition("-")
    if not (stem and number.isdigit()):
        stem, number = name, "1"
    following = int(number) + 1
    while (home / f"{stem}-{following}").exists():
        following += 1
    return check_name(f"{stem}-{following}")


def newest_round(labels: Path, home: Path) -> RunDir | None:
    """The newest run whose reward model was trained on a label database; None if there is none."""
    found = [run for run in list_runs(home) if _trained_on(run, labels)]
    return max(found, key=lambda run: run.run_toml.stat().st_mtime, default=None)


def _trained_on(run: RunDir, labels: Path) -> bool:
    try:
        data = read_run_toml(run).input("rm", "data")
    except FileError:
        return False
    return data is not None and data.kind == "labels" and Path(data.reference) == labels.resolve()


async def run_round(planned: Round, home: Path, environ: Mapping[str, str]) -> AsyncIterator[RoundProgress]:
    """Runs the commands one after the other; yields the progress whenever it changes.

    Both commands run on if the caller stops iterating. Raises: EngineError with the last line of a failed command.
    """
    run, left = RunDir(home / planned.name), list(planned.commands)
    started = await asyncio.to_thread(launch, left[0], run, environ, left[1:])
    last = RoundProgress(left[0][0])
    yield last
    while True:
        code = await asyncio.to_thread(started.ended)
        await asyncio.to_thread(started.settle)
        now = await asyncio.to_thread(progress_of, run, left[0][0])
        if now != last:
            last = now
            yield now
        if now.done and len(left) > 1:
            del left[0]
            last = RoundProgress(left[0][0])
            yield last
        elif code is not None:
            break
        else:
            await asyncio.sleep(POLL_S)
    if code == INTERRUPTED:
        raise EngineError(f"{planned.name} was stopped and saved; to resume: {command_line(left[0])}")
    if code != 0:
        raise EngineError(f"{command_line(left[0])}: {_reason(code, started.output())}")


def _reason(code: int, output: str) -> str:
    """Why a command failed: the signal that killed it, else the last line of its output."""
    if signal := killed_by(code):
        return f"it was killed (signal {signal})"
    return (output.splitlines() or [f"it ended with code {code}"])[-1].removeprefix("error: ")


def progress_of(run: RunDir, stage: str) -> RoundProgress:
    """The progress of a stage of a run."""
    events = [event for event in run.read_events() if getattr(event, "stage", None) == stage] if run.exists() else []
    tokens = []
    steps, held_out, step, done = 0, 0, 0, False
    metrics: dict[str, float] = {}
    for event in events:
        if isinstance(event, StageStarted):
            steps, held_out = event.steps, int(event.about.get("validation", 0))
        elif isinstance(event, StepCompleted):
            step = event.step
            tokens += [event.metrics[LENGTH]] if LENGTH in event.metrics else []
        done |= isinstance(event, StageFinished)
        metrics |= getattr(event, "metrics", {})
    ends = [fmean(some) for some in (tokens[:LENGTH_STEPS], tokens[-LENGTH_STEPS:]) if some]
    lengths = (ends[0], ends[1]) if ends else None
    return RoundProgress(stage, step, steps, headline_of(stage, metrics), metrics, held_out, done, lengths)


def stop_round(planned: Round, home: Path) -> None:
    """Asks the round's process to finish its step, save and exit. Raises: FileError if it has not started."""
    make_request(RunDir(home / planned.name), "stop")


def _comparison(
    record: RunRecord, prompts: Source | None, labels: Path, scorer: str, longest: int | None
) -> tuple[str, ...]:
    """Options of `eval` to compare two policies of such a run with the round's reward model as the judge: on the pocket
    world's test prompts, else on the prompts that were labeled."""
    own = record.input("ppo", "prompts") or record.input("sft", "data") or prompts is not None
    where: tuple[str, ...] = ("--judge", scorer)
    if own or not record.config.world.name:
        where = ("--prompts", str(labels), *where)
    length = longest or record.config.ppo.max_new_tokens
    return (*where, "--max-new-tokens", str(length)) if length != EvalConfig().max_new_tokens else where


def _set(settings: Mapping[str, float]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value:g}")]


def _seconds(run: RunDir, steps: int) -> float | None:
    """The estimated time of so many PPO steps, by the run or by the run whose PPO it shares."""
    done = run.finished("ppo")
    trained = run if done is None else RunDir(done.parents[1])
    paces = [
        event.metrics["ppo/step_s"]
        for event in trained.read_events()
        if isinstance(event, StepCompleted) and event.stage == "ppo" and "ppo/step_s" in event.metrics
    ]
    return median(paces) * steps if paces else None
