"""`slmctl doctor`: device, threads and versions in use."""

import json
import os
import platform
from pathlib import Path
from typing import Any

from engine.core.errors import FileError
from engine.rundir.directory import list_runs, runs_home
from slmctl.commands import options
from slmctl.console.safe import one_line
from slmctl.console.tables import print_facts

HELP = """\b
slmctl doctor
slmctl doctor --json

Shows what a run would use on this machine: device, threads, versions and the folder of runs."""
PACKAGES = ("slmctl", "torch", "tokenizers", "safetensors", "pydantic", "typer", "rich", "jinja2")
LABEL = 23


@options.takes(threads=options.Threads, json=options.Json)
def doctor(**given: Any) -> None:
    """Prints what a run would use."""
    from engine.core.threads import apply, available_cores, decide

    settings = decide(given["threads"], False, os.environ)
    apply(given["threads"])
    found = _facts()
    found |= {
        "cores": available_cores(),
        "threads": settings.threads,
        "waiting": settings.waiting,
        "kept_from_environment": list(settings.kept),
        **_devices(),
        "versions": {name: _version(name) for name in PACKAGES},
    }
    if given["json"]:
        print(json.dumps(found))
        return
    print_facts(((name.replace("_", " "), one_line(_fact(value))) for name, value in found.items()), LABEL)


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{name} {item}" for name, item in value.items()]
    return ", ".join(value) or "-" if isinstance(value, list) else str(value)


def _facts() -> dict[str, Any]:
    home = runs_home(os.environ)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "runs_home": str(home.resolve()),
        "runs": _count(home),
    }


def _count(home: Path) -> int | str:
    """The number of runs, or why they cannot be counted."""
    try:
        return len(list_runs(home))
    except FileError as error:
        return str(error)


def _devices() -> dict[str, Any]:
    import torch

    from engine.run.machine import choose_device

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "device": choose_device("auto").type,
        "gpus": [torch.cuda.get_device_name(index) for index in range(gpus)],
        "torch_threads": torch.get_num_threads(),
    }


def _version(name: str) -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
