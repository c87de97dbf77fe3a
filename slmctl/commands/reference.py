"""`slmctl presets`, `guide` and `doctor`: settings, the manual, and what this machine offers."""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.core.errors import FileError
from engine.rundir.directory import list_runs, runs_home
from slmctl.commands import options
from slmctl.console.printing import print_facts, print_table
from slmctl.console.safe import one_line

PACKAGES = ("slmctl", "torch", "tokenizers", "safetensors", "pydantic", "typer", "rich", "jinja2")
LABEL = 23


@options.takes("json")
def list_presets(**output: Any) -> None:
    """\b
    slmctl presets list

    Lists the presets that come with slmctl."""
    from engine.core import settings

    found = {preset.name: preset.description for preset in settings.list_presets()}
    if output["json"]:
        print(json.dumps(found))
    else:
        print_table(("", ""), list(found.items()))


@options.takes("set_", "json")
def show_preset(preset: str = typer.Argument("tiny", metavar="NAME|FILE.toml"), **given: Any) -> None:
    """\b
    slmctl presets show tiny
    slmctl presets show my.toml --set ppo.steps=10 --json

    Shows every setting with its value, its origin and its meaning."""
    from engine.core.settings import all_settings, flatten, load_preset, parse_assignments, resolve

    resolved = resolve(load_preset(preset), parse_assignments(given["set_"] or []), {}, os.environ)
    values, fields = flatten(resolved.config), all_settings()
    if given["json"]:
        print(json.dumps({name: {"value": value, "origin": resolved.origins[name]} for name, value in values.items()}))
        return
    print_table(
        ("setting", "value", "origin", "meaning"),
        [
            (name, one_line(json.dumps(value)), one_line(resolved.origins[name]), fields[name].description or "")
            for name, value in values.items()
        ],
    )


def guide(
    topic: Annotated[str | None, typer.Argument(metavar="TOPIC", help="Page to show (default: list them).")] = None,
) -> None:
    """\b
    slmctl guide
    slmctl guide tour
    slmctl guide troubleshooting > troubleshooting.md

    Shows a page of the manual, or lists the topics. On a terminal, a page opens in a pager; elsewhere it is printed
    as Markdown."""
    from slmctl.guide.pages import TOPICS, page

    if topic is None:
        width = max(map(len, TOPICS))
        print("\n".join(f"{name:<{width}}  {text}" for name, text in TOPICS.items()))
        print("\nRead one with: slmctl guide TOPIC", file=sys.stderr)
        return
    keys = ""
    if topic == "playground":
        from slmctl.tui.keymap import key_tables

        keys = key_tables()
    text = page(topic, keys)
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    os.environ.setdefault("LESS", "-RFX")  # colors pass through, short pages need no key, the text stays on screen
    console = Console(width=min(100, Console().width))
    with console.pager(styles=not console.no_color):
        console.print(Markdown(text, hyperlinks=False))


@options.takes("threads", "json")
def doctor(**given: Any) -> None:
    """\b
    slmctl doctor
    slmctl doctor --json

    Shows what a run would use on this machine: device, threads, versions and the folder of runs."""
    from engine.core.threads import apply, available_cores, decide

    settings = decide(given["threads"], False, os.environ)
    apply(given["threads"])
    home = runs_home(os.environ)
    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "runs_home": str(home.resolve()),
        "runs": _count(home),
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
