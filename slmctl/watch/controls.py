"""Requests to a run that is watched: why one would change nothing, and how far one has come.

The request itself is written by engine.rundir.heartbeat.make_request; the run acknowledges it with an event.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.rundir.heartbeat import ACTIVE, NOT_BEGUN
from slmctl.watch.history import RunHistory

SHOWN_FOR_S = 6.0
RESUMABLE = ("dead", "failed", "stopped", "ended", NOT_BEGUN)  # no process, and work left
REASONS = {
    "running": "it is running",
    "slow": "it is running",
    "starting": "its process is starting",
    "damaged": "its run.toml cannot be read",
    "dead": "its process is gone",
    "finished": "it is finished",
    "failed": "it has failed",
    "stopped": "it is stopped",
    "ended": "it has ended",
    NOT_BEGUN: "it has not begun",
    "gone": "its folder is gone",
}


@dataclass(frozen=True)
class SentRequest:
    """A request that was written: its number, its name and the time."""

    number: int
    request: str
    at: float


def nothing_to_do(request: str, run: str, state: str) -> str:
    """Why a request makes no sense for a run in this state."""
    return f"nothing to {request} in {run}: {REASONS.get(state, state)}"


def refusal(run: RunHistory, request: str) -> str:
    """Why a request would change nothing, or "" if it would."""
    if run.process.state not in ACTIVE:
        return nothing_to_do(request, run.name, run.process.state)
    if request == "save" and run.current == "eval":
        return f"nothing to save in {run.name}: the evaluation saves only at its end"
    return ""


class SentRequests:
    """The last request to each run, for as long as there is something to report about it."""

    def __init__(self) -> None:
        self._sent: dict[str, SentRequest] = {}

    def add(self, run: str, sent: SentRequest) -> None:
        """Remembers a request that was written."""
        self._sent[run] = sent

    def report(self, runs: Iterable[RunHistory], now: float) -> list[str]:
        """How far each request has come; those with nothing left to report are forgotten."""
        found = {run.name: progress(run, self._sent[run.name], now) for run in runs if run.name in self._sent}
        self._sent = {name: self._sent[name] for name, text in found.items() if text}
        return [text for text in found.values() if text]


def progress(run: RunHistory, sent: SentRequest, now: float) -> str:
    """How far a request has come, or "" once there is nothing left to report."""
    request, stage, active = sent.request, run.stage(run.current), run.process.state in ACTIVE
    if sent.number not in run.acknowledged:
        if not active:
            return ""
        if not 0 < run.steps_of(stage.name) <= stage.step + 1:
            return f"{request} requested: takes effect when {stage.name} step {stage.step + 1} ends"
        if stage.name == run.process.last_stage:
            return f"{request} requested too late: {stage.name} is at its last step, then it saves and ends"
        return f"{request} requested: takes effect when the first step of the next stage ends"
    if request == "save":
        saved = [item for item in stage.checkpoints if item.at >= sent.at or item.step == stage.step]
        if not saved:
            return "saving" if active else ""
        text = f"saved {saved[0].path}; kept until two more checkpoints are saved"
        return text if now - max(saved[0].at, sent.at) < SHOWN_FOR_S else ""
    if request == "stop":
        return "stopping: saves, then ends" if active else ""
    if request == "resume":
        return "resuming" if run.process.state == "paused" else ""
    return "" if run.process.state == "paused" else "pausing"
