"""A run directory with events appended as the engine appends them."""

from pathlib import Path
from typing import Any

from engine.core.events import (
    AlertRaised,
    Event,
    RunStarted,
    SamplesDrawn,
    StageStarted,
    StepCompleted,
    to_json,
)
from engine.rundir.directory import RunDir, write_text
from engine.rundir.heartbeat import Heartbeat


def make_run(home: Path, name: str = "tiny", toml: str = "") -> RunDir:
    """An empty run with a run.toml."""
    run = RunDir(home / name)
    write_text(run.run_toml, f'schema = 2\npreset = "tiny"\n{toml}')
    return run


def say(run: RunDir, *events: Event) -> None:
    """Appends events."""
    for event in events:
        run.append(event)


def ppo_step(step: int, at: float | None = None, **metrics: float) -> StepCompleted:
    """A step of PPO, by default with a score of `step` / 10 and a KL of `step` / 20."""
    usual = {
        "score": step / 10, "kl_nats": step / 20, "policy_loss": 0.1, "value_loss": 0.2, "entropy": 0.5,
        "clip_fraction": 0.01, "response_tokens": 12.0, "tokens_per_s": 900.0,
    }  # fmt: skip
    named = {f"ppo/{name}": value for name, value in (usual | metrics).items()}
    return StepCompleted("ppo", step, named, at=100.0 + step if at is None else at)


def sample(prompt: str, response: str, score: float = 1.0, **other: Any) -> dict[str, Any]:
    """A row of samples."""
    return {
        "prompt": prompt,
        "response": response,
        "score": score,
        "kl_nats": 0.5,
        "tokens": 4,
        "finished": True,
    } | other


def drawn(step: int, *rows: dict[str, Any]) -> SamplesDrawn:
    """Samples of one PPO step."""
    return SamplesDrawn("ppo", step, list(rows), at=100.0 + step)


def begin_ppo(run: RunDir, steps: int = 50) -> None:
    """Records the start of the run and of PPO."""
    say(run, RunStarted(run.name, 0, {}, at=99.0), StageStarted("ppo", steps, at=100.0))


def beat(run: RunDir, stage: str = "ppo", step: int = 0, steps: int = 50, state: str = "running") -> None:
    """Writes a status of the current process."""
    pulse = Heartbeat(run)
    pulse.update(stage=stage, step=step, steps=steps, state=state)
    pulse._write()


def alert(step: int, message: str = "KL is 9.0 nats per response, above 8: raise kl_coef or lower lr.") -> AlertRaised:
    """An alert of PPO."""
    return AlertRaised("ppo", step, "kl_runaway", message, at=100.5 + step)


def lines_of(*events: Event) -> bytes:
    """Events as lines of a file."""
    return b"".join(to_json(event).encode() + b"\n" for event in events)
