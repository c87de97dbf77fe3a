"""A person's preferences for the playground: keys and theme, kept in playground.toml.

What is wrong in the file is reported and ignored; the playground opens anyway.
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.core.errors import did_you_mean, one_line
from engine.rundir.directory import write_text
from slmctl.tui.keymap import binding_ids, key_name

KNOWN = ("theme", "keys")
KEYS_ARE = 'a key looks like "f7", "ctrl+r", "x" or "slash"; separate several with commas (the comma itself is "comma")'
_THEME_LINE = re.compile(r"^theme\s*=.*$", re.MULTILINE)
_TABLE = re.compile(r"^\s*\[", re.MULTILINE)


@dataclass(frozen=True)
class Preferences:
    """The valid preferences; `problems` has a sentence for each invalid one."""

    theme: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def preferences_file(environ: Mapping[str, str]) -> Path:
    """The path of playground.toml in slmctl/ of $XDG_CONFIG_HOME, else of ~/.config."""
    given = environ.get("XDG_CONFIG_HOME", "")
    folder = Path(given) if given.startswith("/") else Path("~/.config").expanduser()
    return folder / "slmctl" / "playground.toml"


def read_preferences(file: Path, themes: Collection[str]) -> Preferences:
    """The preferences in a file; empty if it does not exist."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Preferences()
    except (OSError, ValueError) as error:
        return Preferences(problems=(f"file ignored, it cannot be read: {one_line(error)}",))
    problems = [f"unknown entry {name!r}{did_you_mean(name, KNOWN)}" for name in table if name not in KNOWN]
    theme = table.get("theme")
    if theme is not None and (not isinstance(theme, str) or theme not in themes):
        problems.append(f"unknown theme {theme!r}{did_you_mean(str(theme), themes)}")
        theme = None
    keys, wrong = _read_keys(table.get("keys", {}))
    return Preferences(theme, keys, (*problems, *wrong))


def _read_keys(table: Any) -> tuple[dict[str, str], list[str]]:
    if not isinstance(table, dict):
        return {}, ['keys is a table, such as [keys] with "mode.chat" = "f7"']
    known = binding_ids() if table else ()  # imports every screen
    keys, problems = {}, []
    for name, value in _dotted(table).items():
        if name not in known:
            problems.append(f"unknown binding {name!r}{did_you_mean(name, known)}")
        elif not isinstance(value, str) or None in (named := [key_name(key) for key in value.split(",")]):
            problems.append(f"{name} is {value!r}; {KEYS_ARE}")
        else:
            keys[name] = ",".join(filter(None, named))
    return keys, problems


def _dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables with dotted names: to TOML, mode.chat without quotes is a table."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat.update(_dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


def save_theme(file: Path, theme: str) -> None:
    """Writes the theme into the file and keeps the rest of it, comments too.

    Raises: OSError if it cannot be written; ValueError for a file that is not TOML, which is left alone.
    """
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    before = tomllib.loads(text)
    line = f'theme = "{theme}"'
    table = _TABLE.search(text)
    head, tail = (text, "") if table is None else (text[: table.start()], text[table.start() :])
    head = _THEME_LINE.sub(line, head, count=1) if _THEME_LINE.search(head) else f"{line}\n{head}"
    if tomllib.loads(head + tail) != {**before, "theme": theme}:
        raise ValueError("its theme is written in a form that cannot be replaced")
    write_text(file.resolve(), head + tail)  # the file may be a link into a collection of such files
