"""`slmctl presets`: the presets, and every setting of one with its origin."""

import json
import os
from typing import Any

import typer

from slmctl.commands import options
from slmctl.console.safe import one_line
from slmctl.console.tables import print_table

LIST_HELP = """\b
slmctl presets list

Lists the presets that come with slmctl."""
SHOW_HELP = """\b
slmctl presets show tiny
slmctl presets show my.toml --set ppo.steps=10 --json

Shows every setting with its value, its origin and its meaning."""


@options.takes(json=options.Json)
def list_presets(**output: Any) -> None:
    """Prints the names and descriptions of the presets."""
    from engine.core import settings

    found = {preset.name: preset.description for preset in settings.list_presets()}
    if output["json"]:
        print(json.dumps(found))
    else:
        print_table(("", ""), list(found.items()))


@options.takes(set_=options.Set, json=options.Json)
def show_preset(preset: str = typer.Argument("tiny", metavar="NAME|FILE.toml"), **given: Any) -> None:
    """Prints every setting of a preset, as resolved here and now."""
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
