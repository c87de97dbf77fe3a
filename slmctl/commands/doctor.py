"""`slmctl doctor`: device, threads and versions in use."""

import importlib.metadata
import json as json_module
import os
import platform
from pathlib import Path
from typing import Any

from slmctl.commands import options
from slmctl.console.safe import one_line

HELP = """\b
slmctl doctor
slmctl doctor --json

What this machine offers and what a run would use: device, threads, versions, where runs are kept."""
PACKAGES = ("slmctl", "torch", "tokenizers", "safetensors", "pydantic", "typer", "rich", "jinja2")


def doctor(threads: options.Threads = None, json: options.Json = False) -> None:
    """Prints what a run would use."""
    from engine.core.threads import apply, available_cores, decide

    settings = decide(threads, False, os.environ)
    apply(threads)
    found = _facts()
    found |= {
        "cores": available_cores(),
        "threads": settings.threads,
        "waiting": settings.waiting,
        "kept_from_environment": list(settings.kept),
        **_devices(),
        "versions": {name: _version(name) for name in PACKAGES},
    }
    if json:
        print(json_module.dumps(found))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        shown = ", ".join(value) or "-" if isinstance(value, list) else str(value)
        print(f"{name:<22} {one_line(shown)}")


def _facts() -> dict[str, Any]:
    from engine.rundir.directory import runs_home

    home = runs_home(os.environ)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "runs_home": str(home.resolve()),
        "runs": _count(home),
    }


def _count(home: Path) -> int | str:
    """How many runs there are, or why that cannot be said."""
    from engine.core.errors import FileError
    from engine.rundir.directory import list_runs

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
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
