"""`slmctl presets`: what presets there are, and every value of one with where it came from."""

import json as json_module
import os

import typer

from slmctl.commands import options
from slmctl.console.safe import one_line

LIST_HELP = """\b
slmctl presets list

The presets that come with slmctl."""
SHOW_HELP = """\b
slmctl presets show tiny
slmctl presets show my.toml --set ppo.steps=10 --json

Every setting with its value, where the value came from and what it means."""


def list_presets(json: options.Json = False) -> None:
    """Prints the names and descriptions of the presets."""
    from engine.core.settings import list_presets as found

    presets = found()
    if json:
        print(json_module.dumps({preset.name: preset.description for preset in presets}))
        return
    for preset in presets:
        print(f"{preset.name:<12} {preset.description}")


def show(
    preset: str = typer.Argument("tiny", metavar="NAME|FILE.toml"),
    set_: options.Set = None,
    json: options.Json = False,
) -> None:
    """Prints every setting that a preset leads to here and now."""
    from engine.core.settings import all_settings, flatten, load_preset, parse_assignments, resolve

    resolved = resolve(load_preset(preset), parse_assignments(set_ or []), {}, os.environ)
    values = flatten(resolved.config)
    if json:
        rows = {name: {"value": value, "origin": resolved.origins[name]} for name, value in values.items()}
        print(json_module.dumps(rows))
        return
    described = all_settings()
    for name, value in values.items():
        shown = one_line(json_module.dumps(value))
        print(f"{name:<28} {shown:<12} {resolved.origins[name]:<14} {described[name].description}")
