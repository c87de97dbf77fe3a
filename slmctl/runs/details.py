"""What is worth knowing of one run beside how it stands: the models it offers, its last alarm, why it ended.

Read from its events, of which only those that matter are looked at. How it stands is overview.py's business.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engine.core.errors import FileError
from engine.core.events import AlarmRaised, Event, RunFailed, from_json
from engine.rundir.directory import STAGES, RunDir, effective
from engine.rundir.references import reference_to
from slmctl.runs.overview import RunSummary

TELLING = re.compile(rb'^.*"event":"(?:AlarmRaised|RunFailed|RunResumed)".*$', re.MULTILINE)
SAVING = ("pretrain", "sft", "rm", "ppo")
LOG_BYTES = 4000
PROGRESS = re.compile(rf"(?:{'|'.join(STAGES)})(?:: | \d+/\d+ )|alert at ")  # begins a line of a run that is well


@dataclass(frozen=True)
class RunDetails:
    """Of one run: models as they are named, the last alarm that holds and how many there are, why it ended badly."""

    run: str
    models: tuple[str, ...] = ()
    alarm: str = ""
    alarms: int = 0
    failure: str = ""


def read_details(run: RunDir, summary: RunSummary) -> RunDetails:
    """What there is to say of a run that stands so."""
    said = effective(_telling(run))
    alarms = [event for event in said if isinstance(event, AlarmRaised)]
    failures = [event.error for event in said if isinstance(event, RunFailed)]
    last = alarms[-1] if alarms else None
    failure = summary.error
    if summary.state in ("failed", "dead", "ended"):
        failure = failures[-1] if failures and summary.state == "failed" else _last_words(run)
    return RunDetails(
        run.name,
        tuple(_models(run, summary)),
        f"{last.stage} step {last.step}: {last.message}" if last else "",
        len(alarms),
        failure,
    )


def _telling(run: RunDir) -> Iterator[Event]:
    try:
        text = run.events.read_bytes()
    except OSError:
        return
    for match in TELLING.finditer(text):
        try:
            event = from_json(match.group().decode(errors="replace"))
        except ValueError:
            continue
        if event is not None:
            yield event


def _models(run: RunDir, summary: RunSummary) -> Iterator[str]:
    """References to the models of a run, in the order of work: what is final, and the steps that are kept."""
    for stage in SAVING:
        name = reference_to(run.name, stage)
        if stage in summary.models:
            yield name
        try:
            yield from (f"{name}@{step}" for step in run.saved_steps(stage))
        except (OSError, FileError):
            continue


def _last_words(run: RunDir) -> str:
    """The last line of log.txt; nothing where that tells of progress, since what ended the run had no words."""
    try:
        with run.log.open("rb") as file:
            file.seek(max(0, run.log.stat().st_size - LOG_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return "" if PROGRESS.match(last) else last
