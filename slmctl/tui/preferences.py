"""What a person has chosen for the playground: keys and theme, kept in playground.toml.

A file that is damaged, or names what does not exist, is told and otherwise passed over: the playground opens anyway.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.core.errors import did_you_mean, one_line
from engine.rundir.directory import write_text

KNOWN = ("theme", "keys")
KEYS_ARE = 'a key looks like "f7", "ctrl+r", "x" or "slash", and commas part several (the comma itself is "comma")'
_THEME_LINE = re.compile(r"^theme\s*=.*$", re.MULTILINE)
_TABLE = re.compile(r"^\s*\[", re.MULTILINE)


@dataclass(frozen=True)
class Choices:
    """The choices that hold; `problems` is what the file says beside them, a sentence each."""

    theme: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def choices_file(environ: Mapping[str, str]) -> Path:
    """Where the choices lie: $XDG_CONFIG_HOME, else ~/.config, then slmctl/playground.toml."""
    given = environ.get("XDG_CONFIG_HOME", "")
    folder = Path(given) if given.startswith("/") else Path("~/.config").expanduser()
    return folder / "slmctl" / "playground.toml"


def read_choices(
    file: Path, themes: Collection[str], ids: Callable[[], Collection[str]], key_named: Callable[[str], str | None]
) -> Choices:
    """The choices of a file; none where there is none. `ids`, the bindings' names, is asked where keys are given, and
    `key_named` for the name of each key, as keymap.py has them."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Choices()
    except (OSError, ValueError) as error:
        return Choices(problems=(f"it cannot be read, so nothing of it holds: {one_line(error)}",))
    problems = [f"there is no {name!r}{did_you_mean(name, KNOWN)}" for name in table if name not in KNOWN]
    theme = table.get("theme")
    if theme is not None and (not isinstance(theme, str) or theme not in themes):
        problems.append(f"there is no theme {theme!r}{did_you_mean(str(theme), themes)}")
        theme = None
    keys, wrong = _read_keys(table.get("keys", {}), ids, key_named)
    return Choices(theme, keys, (*problems, *wrong))


def _read_keys(
    table: Any, ids: Callable[[], Collection[str]], key_named: Callable[[str], str | None]
) -> tuple[dict[str, str], list[str]]:
    if not isinstance(table, dict):
        return {}, ['keys is a table, such as [keys] with "mode.chat" = "f7"']
    known = ids() if table else ()
    keys, problems = {}, []
    for name, value in _dotted(table).items():
        if name not in known:
            problems.append(f"there is no binding {name!r}{did_you_mean(name, known)}")
        elif not isinstance(value, str) or None in (named := [key_named(key) for key in value.split(",")]):
            problems.append(f"{name} is {value!r}; {KEYS_ARE}")
        else:
            keys[name] = ",".join(filter(None, named))
    return keys, problems


def _dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted names: `mode.chat` without its quotes is a table to TOML."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat.update(_dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


def keep_theme(file: Path, theme: str) -> None:
    """Writes the theme into the file and leaves the rest of it, comments too, as it is.

    Raises: OSError where it cannot be written; ValueError for a file that is no TOML, which is left alone.
    """
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    before = tomllib.loads(text)
    line = f'theme = "{theme}"'
    table = _TABLE.search(text)
    head, tail = (text, "") if table is None else (text[: table.start()], text[table.start() :])
    head = _THEME_LINE.sub(line, head, count=1) if _THEME_LINE.search(head) else f"{line}\n{head}"
    if tomllib.loads(head + tail) != {**before, "theme": theme}:
        raise ValueError("its theme stands where it cannot be replaced")
    write_text(file.resolve(), head + tail)  # the file may be a link into a person's collection of such files
