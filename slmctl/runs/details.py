"""Details of one run beside its state: its models, its last alert, why it failed.

Read from those of its events that matter here. The state of a run is overview.py's job.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engine.core.errors import FileError
from engine.core.events import AlertRaised, Event, RunFailed, from_json
from engine.rundir.directory import STAGES, RunDir, effective
from engine.rundir.references import reference_to
from slmctl.runs.overview import RunSummary

RELEVANT = re.compile(rb'^.*"event":"(?:AlertRaised|RunFailed|RunResumed)".*$', re.MULTILINE)
SAVING = ("pretrain", "sft", "rm", "ppo")
LOG_BYTES = 4000
PROGRESS = re.compile(rf"(?:{'|'.join(STAGES)})(?:: | \d+/\d+ )|alert at ")  # start of a line that is no error


@dataclass(frozen=True)
class RunDetails:
    """The names of a run's models, its last alert and the number of alerts, and why it failed."""

    run: str
    models: tuple[str, ...] = ()
    alert: str = ""
    alerts: int = 0
    failure: str = ""


def read_details(run: RunDir, summary: RunSummary) -> RunDetails:
    """The details of a run in the given state."""
    events = effective(_relevant_events(run))
    alerts = [event for event in events if isinstance(event, AlertRaised)]
    failures = [event.error for event in events if isinstance(event, RunFailed)]
    last = alerts[-1] if alerts else None
    failure = summary.error
    if summary.state in ("failed", "dead", "ended"):
        failure = failures[-1] if failures and summary.state == "failed" else _last_log_line(run)
    return RunDetails(
        run.name,
        tuple(_models(run, summary)),
        f"{last.stage} step {last.step}: {last.message}" if last else "",
        len(alerts),
        failure,
    )


def _relevant_events(run: RunDir) -> Iterator[Event]:
    try:
        text = run.events.read_bytes()
    except OSError:
        return
    for match in RELEVANT.finditer(text):
        try:
            event = from_json(match.group().decode(errors="replace"))
        except ValueError:
            continue
        if event is not None:
            yield event


def _models(run: RunDir, summary: RunSummary) -> Iterator[str]:
    """References to the models of a run in the order of stages: final models and saved steps."""
    for stage in SAVING:
        name = reference_to(run.name, stage)
        if stage in summary.models:
            yield name
        try:
            yield from (f"{name}@{step}" for step in run.saved_steps(stage))
        except (OSError, FileError):
            continue


def _last_log_line(run: RunDir) -> str:
    """The last line of log.txt; "" for a line of progress, after which the run ended without a message."""
    try:
        with run.log.open("rb") as file:
            file.seek(max(0, run.log.stat().st_size - LOG_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return "" if PROGRESS.match(last) else last
