"""Which bindings there are to remap, and what a key may be called."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from textual._keyboard_protocol import FUNCTIONAL_KEYS
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_DISPLAY_ALIASES, KEY_NAME_REPLACEMENTS, Keys, _character_to_key, key_to_character

import slmctl.tui
from slmctl.guide.pages import table

MODIFIERS = {"ctrl", "shift", "alt", "super", "hyper", "meta"}
BEYOND_KEYBOARDS = 0x10000  # the first character of which no keyboard has a key
_NAMED = {str(key.value) for key in Keys} | set(FUNCTIONAL_KEYS.values())
_OTHERWISE = KEY_NAME_REPLACEMENTS | {shown: name for name, shown in KEY_DISPLAY_ALIASES.items()}


def binding_ids() -> set[str]:
    """The ids of every binding of ours, those of screens and widgets that are not shown yet too."""
    for module in pkgutil.walk_packages(slmctl.tui.__path__, "slmctl.tui."):
        importlib.import_module(module.name)
    return {binding.id for kind in _kinds(DOMNode) for binding in _bindings(kind) if binding.id is not None}


def clashes(keys: Mapping[str, str]) -> list[str]:
    """A sentence for each binding that meets another's key in the same place, where it has the keys of a person's own;
    those that share a key anyway are never there at once. A key that holds in every place must be no character."""
    found: dict[str, None] = {}
    for name, own in _everywhere(keys):
        if own not in _NAMED and _is_character(own):
            found[f"{own} is the key of {name} in every mode, so it could not be typed; take one such as f7"] = None
    for kind in _kinds(DOMNode) if keys else ():
        usual = [(binding.id, binding.key) for binding in _bindings(kind) if binding.id is not None]
        now = {(name, own) for name, key in usual for own in keys.get(name, key).split(",")}
        for name, own in sorted(now):
            for other, same in sorted(now):
                ours = name in keys and (other not in keys or name < other)
                if ours and own == same and name != other and not _share(usual, name, other):
                    found[f"{own} is the key of both {name} and {other}; give one of them another"] = None
    return list(found)


def _everywhere(keys: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each key of a person's own for what is heard before anything else, with the binding's id."""
    own = {binding.id for kind in _kinds(App) for binding in _bindings(kind) if binding.priority}
    return ((name, key) for name, typed in keys.items() if name in own for key in typed.split(","))


def _share(usual: Sequence[tuple[str, str]], name: str, other: str) -> bool:
    mine, theirs = ({key for whose, key in usual if whose == which} for which in (name, other))
    return bool(mine & theirs)


def key_named(typed: str) -> str | None:
    """The name by which Textual delivers the key that a person calls so, such as "x", "?", "f7", "ctrl+r", "slash", or
    as help and footer show it, "esc" or "^r"; None where no key is called so."""
    typed = typed.strip()
    if typed in _NAMED:
        return typed
    if len(typed) > 1 and typed.startswith("^"):
        typed = f"ctrl+{typed[1:]}"
    head, mark, key = typed.rpartition("+") if typed[-1:] != "+" else (typed[:-2], typed[-2:-1], "+")
    modifiers = head.lower().split("+") if mark else []
    key = _OTHERWISE.get(key, key) if len(key) == 1 else _OTHERWISE.get(key.lower(), key.lower())
    if not set(modifiers) <= MODIFIERS or not (key in _NAMED or _is_character(key)):
        return None
    if modifiers == ["shift"] and len(key) == 1 and key.isalpha():  # a terminal sends the letter itself
        return key.upper()
    if len(key) == 1:
        key = _character_to_key(key.lower() if modifiers else key)
    return "+".join([*sorted(set(modifiers)), key])


def _is_character(key: str) -> bool:
    """Whether a key is one character, or what Textual makes of the name of one."""
    return key.isprintable() if len(key) == 1 else key in _characters()


@cache
def _characters() -> frozenset[str]:
    """What Textual makes of the names of characters; a hyphen of a name is lost in it, so no look-up leads back."""
    return frozenset(_character_to_key(chr(code)) for code in range(BEYOND_KEYBOARDS))


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
    shown = [f"`{KEY_DISPLAY_ALIASES.get(key) or key_to_character(key) or key}`" for key in names if key != "space"]
    shown += ["`space`"] * ("space" in names)
    return ", ".join(shown), action[0], f"`{action[1]}`"
