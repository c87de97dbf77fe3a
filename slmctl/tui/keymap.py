"""The bindings that a person can remap, clashes between them, and the names of keys."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

from textual._keyboard_protocol import FUNCTIONAL_KEYS
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_DISPLAY_ALIASES, KEY_NAME_REPLACEMENTS, Keys, _character_to_key, key_to_character

import slmctl.tui
from slmctl.guide.pages import table

MODIFIERS = {"ctrl", "shift", "alt", "super", "hyper", "meta"}
_NAMES = {str(key.value) for key in Keys} | set(FUNCTIONAL_KEYS.values())
_UNICODE_NAMES = {name: unicode for unicode, name in KEY_NAME_REPLACEMENTS.items()}
_ALIASES = KEY_NAME_REPLACEMENTS | {shown: name for name, shown in KEY_DISPLAY_ALIASES.items()}


def binding_ids() -> set[str]:
    """The ids of all bindings, also of screens and widgets that have not been shown yet."""
    for module in pkgutil.walk_packages(slmctl.tui.__path__, "slmctl.tui."):
        importlib.import_module(module.name)
    return {binding.id for kind in _kinds(DOMNode) for binding in _bindings(kind) if binding.id is not None}


def clashes(keys: Mapping[str, str]) -> list[str]:
    """A sentence for each customized key that another binding of the same widget has, too, or that text fields need.

    Bindings that share a key by default are never active at once. Textual itself reports a clash only when it meets
    one on the screen, without the binding that caused it (App.handle_bindings_clash).
    """
    found: dict[str, None] = {}
    everywhere = {binding.id for kind in _kinds(App) for binding in _bindings(kind) if binding.priority}
    for name in filter(everywhere.__contains__, keys):
        for key in keys[name].split(","):
            if key not in _NAMES and _is_character(key):
                found[f"{key} is the key of {name} in every mode, so it could not be typed; use one such as f7"] = None
    for kind in _kinds(DOMNode) if keys else ():
        default: dict[str, set[str]] = {}
        for binding in _bindings(kind):
            if binding.id is not None:
                default.setdefault(binding.id, set()).add(binding.key)
        now = {name: set(keys[name].split(",")) if name in keys else default[name] for name in default}
        for name, other in combinations(sorted(now, key=lambda name: (name not in keys, name)), 2):
            if name in keys and not default[name] & default[other]:
                for key in sorted(now[name] & now[other]):
                    found[f"{key} is the key of both {name} and {other}; give one of them another"] = None
    return list(found)


def key_name(typed: str) -> str | None:
    """Textual's name of a key that a person calls "x", "?", "f7", "ctrl+r" or "slash", or as help shows it, "esc" or
    "^r"; None if there is no such key."""
    typed = typed.strip()
    if typed in _NAMES:
        return typed
    if len(typed) > 1 and typed.startswith("^"):
        typed = f"ctrl+{typed[1:]}"
    head, mark, key = typed.rpartition("+") if typed[-1:] != "+" else (typed[:-2], typed[-2:-1], "+")
    modifiers = head.lower().split("+") if mark else []
    key = _ALIASES.get(key, key) if len(key) == 1 else _ALIASES.get(key.lower(), key.lower())
    if not set(modifiers) <= MODIFIERS or not (key in _NAMES or _is_character(key)):
        return None
    if modifiers == ["shift"] and len(key) == 1 and key.isalpha():  # a terminal sends the letter itself
        return key.upper()
    if len(key) == 1:
        key = _character_to_key(key.lower() if modifiers else key)
    return "+".join([*sorted(set(modifiers)), key])


def _is_character(key: str) -> bool:
    """Whether a key is one character, or Textual's name of one."""
    named = key in KEY_NAME_REPLACEMENTS.values() or key_to_character(key) is not None
    return key.isprintable() if len(key) == 1 else named


def _kinds(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _kinds(inner)


def _bindings(kind: type[DOMNode]) -> Iterable[Binding]:
    return Binding.make_bindings(vars(kind).get("BINDINGS", ()))


def key_tables() -> str:
    """All bindings that have an id, as one Markdown table a mode: keys, what they do, and the id to remap them by."""
    binding_ids()  # imports every screen and widget
    sections = {"everywhere": "Everywhere", "runs": "Runs (F2)", "watch": "Train (F3)", "chat": "Chat (F5)"}
    sections |= {"label": "Label (F6)", "widgets": "Lists and dialogs"}
    rows: dict[str, dict[tuple[str, str], list[str]]] = {name: {} for name in sections}
    for kind in _kinds(DOMNode):
        package = kind.__module__.removeprefix("slmctl.tui.").split(".")
        section = package[0] if len(package) > 1 and package[0] in sections else "everywhere"
        for binding in _bindings(kind) if kind.__module__.startswith("slmctl.tui.") else ():
            if binding.id is not None and binding.description:
                rows[section].setdefault((binding.description, binding.id), []).append(binding.key)
    return "\n\n".join(
        f"## {sections[name]}\n\n{table(('keys', 'action', 'id'), [_key_row(*row) for row in found.items()])}"
        for name, found in rows.items()
        if found
    )


def _key_row(action: tuple[str, str], keys: list[str]) -> tuple[str, str, str]:
    names = dict.fromkeys(key for typed in keys for key in typed.split(","))
    shown = [f"`{_shown(key)}`" for key in names if key != "space"]
    shown += ["`space`"] * ("space" in names)
    return ", ".join(shown), action[0], f"`{action[1]}`"


def _shown(key: str) -> str:
    """The name of a key in the manual: "/" for slash, "shift+n" for N, "tab" for a key without a visible character."""
    if len(key) == 1 and key.isupper():
        return f"shift+{key.lower()}"
    character = key_to_character(_UNICODE_NAMES.get(key, key))
    return KEY_DISPLAY_ALIASES.get(key) or (character if character and character.isprintable() else key)
