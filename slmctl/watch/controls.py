"""What may be asked of a run that is watched, and in words how far a request has come.

The request itself is written by engine.rundir.heartbeat.make_request; the run acknowledges it by an event.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.rundir.heartbeat import NOT_BEGUN
from slmctl.watch.follower import WORKING
from slmctl.watch.history import RunHistory

TOLD_FOR_S = 6.0
RESUMABLE = ("dead", "failed", "stopped", "ended", NOT_BEGUN)  # there is no process, and more to do
REASONS = {
    "running": "it is at work",
    "slow": "it is at work",
    "starting": "its process is loading",
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
    """A request that was written: its number, what it is, when."""

    number: int
    request: str
    at: float


def nothing_to_do(request: str, run: str, state: str) -> str:
    """Why a run in a state has nothing to pause, to stop, to go on with."""
    return f"nothing to {request} in {run}: {REASONS.get(state, state)}"


def refusal(story: RunHistory, request: str) -> str:
    """Why a request would change nothing; nothing where it would."""
    word = story.pulse.word
    if word not in WORKING:
        return nothing_to_do(request, story.name, word)
    if request == "save" and story.current == "eval":
        return f"nothing to save in {story.name}: the evaluation keeps nothing before its end"
    return ""


class SentRequests:
    """The last request of each run that there is still something to say of."""

    def __init__(self) -> None:
        self._asked: dict[str, SentRequest] = {}

    def note(self, run: str, asked: SentRequest) -> None:
        """Remembers a request that was written."""
        self._asked[run] = asked

    def told(self, stories: Iterable[RunHistory], now: float) -> list[str]:
        """How far each has come; what nothing is said of is forgotten."""
        told = {
            story.name: progress(story, self._asked[story.name], now) for story in stories if story.name in self._asked
        }
        self._asked = {name: self._asked[name] for name, words in told.items() if words}
        return [words for words in told.values() if words]


def progress(story: RunHistory, asked: SentRequest, now: float) -> str:
    """How far a request has come; nothing once there is no more to say."""
    request, stage = asked.request, story.stage(story.current)
    if asked.number not in story.heard:
        if story.pulse.word not in WORKING:
            return ""
        if not 0 < story.steps_of(stage.name) <= stage.step + 1:
            return f"{request} asked: it is heard when {stage.name} step {stage.step + 1} ends"
        if stage.name == story.pulse.last:
            return f"{request} asked too late: {stage.name} is at its last step, and saves and ends by itself"
        return f"{request} asked: it is heard when the first step of the next stage ends"
    if request == "save":
        saves = [save for save in stage.saves if save.at >= asked.at or save.step == stage.step]
        if not saves:
            return "save heard: saving" if story.pulse.word in WORKING else ""
        told = f"saved: {saves[0].path}, kept until two more saves have come"
        return told if now - max(saves[0].at, asked.at) < TOLD_FOR_S else ""
    if request == "stop":
        return "stop heard: it saves and ends" if story.pulse.word in WORKING else ""
    if request == "resume":
        return "" if story.pulse.word != "paused" else "resume heard: it goes on"
    return "" if story.pulse.word == "paused" else "pause heard"
