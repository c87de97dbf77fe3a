"""Runs with a given heartbeat, and their state."""

import json
import os
import socket
from pathlib import Path

from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import RunDir, write_text
from engine.rundir.heartbeat import process_start
from slmctl.runs.overview import Overview, RunSummary

NOW = 1_000_000.0
GONE = 2**22 + 1


def make(home: Path, name: str, state: str = "", *finished: str, **status: object) -> RunDir:
    """A run with this state in its heartbeat; its process is the current one."""
    run = prepare(RunRequest("run", run=name), home, {"OMP_NUM_THREADS": "1"}).rundir
    for stage in finished:
        run.final(stage).mkdir(parents=True)
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": process_start(os.getpid())}
    row = {"stage": "ppo", "step": 3, "steps": 12, "progress": 0.0, "eta_s": 60.0, "at": NOW, "state": state}
    if state:
        write_text(run.status, json.dumps({"schema": 1, **mine, **row, **status}))
    return run


def summaries(home: Path, now: float = NOW) -> dict[str, RunSummary]:
    return {row.run: row for row in Overview(home).rows(now)}
